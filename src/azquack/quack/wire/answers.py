"""Whether there is more to fetch of a result, from the first bytes of an answer."""

from __future__ import annotations

from azquack.errors import WireError
from azquack.quack.wire.fields import Reader
from azquack.quack.wire.messages import MessageType, parse_header
from azquack.quack.wire.types import read_type

# The mark for more, then the first chunks: for answers whose types are not known here.
MARK = b"\x03\x00\x01\x04\x00"


def has_more(answer: bytes) -> bool:
    """Whether the result that begins with `answer` (a prefix is enough) has chunks that are still at the node.

    True for a prefix that ends too early to tell; False for what is no result.
    """
    try:
        header = parse_header(answer)
        read = Reader(answer, header.end)
        if header.type is MessageType.FETCH_RESPONSE:
            return read.field(1)
        if header.type is not MessageType.PREPARE_RESPONSE or not read.field(1):
            return False
        for _ in range(read.varint()):
            read_type(read)
        read.need(2)
        for _ in range(read.varint()):
            read.string()
        return bool(read.number_field(3))
    except WireError:
        return MARK in answer
