"""Quack 3 and Quack 1, one put into the other: what a client of the one and a node of the other tell each other.

Types, vectors and chunks are the same bytes in both, but for strings, of which a reader takes either layout
(`wire/columns.py`) and a writer writes the older one, as the Rust crate does. So a result goes through as it is, in
other frames; what a client sends is read strictly and written anew. Downwards (3 to 1) stand requests, upwards
(1 to 3) answers; the other direction, for a node of Quack 3, would be the same functions the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from azquack.errors import WireError
from azquack.quack import exceptions, wire, wire3
from azquack.quack.wire.chunks import Chunk, read_chunk, write_chunk
from azquack.quack.wire.fields import END, Reader, field, text_field
from azquack.quack.wire.messages import header as header_of
from azquack.quack.wire.types import read_type

# Behind the chunk before: its end and its wrapper's. Before a chunk: a pointer that is there, and the wrapper.
_BEFORE = b"\x01\x2c\x01"
_BETWEEN = b"\xff\xff\xff\xff\x01\x2c\x01d\0"


@dataclass(frozen=True, slots=True)
class Result:
    """A node's answer to a PREPARE: the fields of its columns, its chunks, and whether there is `more` to fetch.

    `uuid` is the node's name for it.
    """

    columns: bytes
    chunks: list[bytes]
    more: bool
    uuid: tuple[int, int]


# From 3 to 1.


def login(request: wire3.Login, token: str) -> bytes:
    """A login at a node, with the node's own `token`."""
    return wire.connection_request(wire.ConnectionRequest(token, request.version, request.platform))


def append(connection_id: str, schema: str, table: str, chunk: Chunk, query_id: int | None = None) -> bytes:
    """The APPEND of `chunk`, written from what was read."""
    return b"".join(
        [
            header_of(wire.MessageType.APPEND, connection_id, query_id),
            text_field(1, schema),
            text_field(2, table),
            field(3, b"\x01"),
            field(300, b""),
            *write_chunk(chunk),
            END,
            END,
        ]
    )


# From 1 to 3.


def result(answer: bytes) -> Result:
    """What a PREPARE_RESPONSE of Quack 1 holds. Raises `WireError`."""
    head = wire.parse_header(answer)
    if head.type is not wire.MessageType.PREPARE_RESPONSE:
        raise WireError("This is no result")
    read = Reader(answer, head.end)
    types = b""
    if read.field(1):
        start = read.at
        for _ in range(read.varint()):
            read_type(read)
        types = answer[start : read.at]
    if read.field(2):
        for _ in range(read.varint()):
            read.string()
    columns = answer[head.end : read.at]
    more = bool(read.number_field(3))
    chunks: list[bytes] = []
    if read.field(4):
        last = _last(answer, b"\xff\xff\x05\0", lambda read: (read.signed(), read.varint()))
        chunks = list(_chunks(read, types, last))
        read.at = last
    read.need(5)
    uuid = (read.signed(), read.varint())
    read.end()
    return Result(columns, chunks, more, uuid)


def batch(answer: bytes) -> list[bytes]:
    """The chunks of a FETCH_RESPONSE of Quack 1; none at the end of a result. Raises `WireError`."""
    head = wire.parse_header(answer)
    if head.type is not wire.MessageType.FETCH_RESPONSE:
        raise WireError("This is no batch of a result")
    read = Reader(answer, head.end)
    if not read.field(1):
        return []
    last = _last(answer, b"\xff\xff\x02\0", lambda read: (read.varint(),))
    return list(_chunks(read, _types(answer, read.at), last))


def error(sentence: str, reason: str = "", *, fatal: bool = False) -> bytes:
    """The ERROR that says `sentence`; `reason` is that of a refusal, where the gateway itself speaks."""
    kind, text = exceptions.exception_type(sentence, reason)
    return wire3.error(text, kind, fatal=fatal)


def rows_of(chunk: bytes) -> int:
    """How many rows `chunk` has."""
    read = Reader(chunk)
    read.need(100)
    return read.varint()


def _types(answer: bytes, at: int) -> bytes:
    """The types of the first chunk of a list, as they stand there."""
    read = Reader(answer, at)
    read.varint()
    read.take(len(_BEFORE))
    read.need(100)
    read.varint()
    read.need(101)
    start = read.at
    for _ in range(read.varint()):
        read_type(read)
    return answer[start : read.at]


def _last(answer: bytes, begins: bytes, reader: Callable[[Reader], object]) -> int:
    at = len(answer)
    while (at := answer.rfind(begins, max(0, at - 40), at)) >= 0:
        read = Reader(answer, at + len(begins))
        try:
            reader(read)
            read.end()
        except WireError:
            continue
        if read.at == len(answer):
            return at + 2
    raise WireError("The last field of the answer is missing")


def _chunks(read: Reader, types: bytes, last: int) -> Iterator[bytes]:
    """The chunks of the list that comes next and ends at `last`, of the columns' `types`.

    Where a chunk ends only its last column tells, of which a walk over every string is slow. What stands between two
    chunks is known, though: if it is found as often as there must be such a place, each of them is one. If it stands
    in somebody's data as well, the chunks are walked over.
    """
    answer, count = read.data, read.varint()
    if answer[read.at : read.at + 3] != _BEFORE:
        raise WireError("A chunk of the result is missing")
    starts = [read.at + len(_BEFORE)]
    at = read.at
    while (at := answer.find(_BETWEEN, at, last)) >= 0:
        rows = Reader(answer, at + len(_BETWEEN))
        rows.varint()
        if answer.startswith(b"e\0" + types, rows.at):
            starts.append(at + 7)
        at += 1
    if len(starts) == count:
        ends = [each - 5 for each in starts[1:]] + [last - 2]
        yield from (answer[start:end] for start, end in zip(starts, ends, strict=True))
        return
    for _ in range(count):
        read.take(len(_BEFORE))
        start = read.at
        read_chunk(read)
        yield answer[start : read.at]
        read.end()
