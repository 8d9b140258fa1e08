"""The answer to a PREPARE: the columns of a result and its first chunks."""

from __future__ import annotations

from dataclasses import dataclass

from azquack.errors import WireError
from azquack.quack.wire.chunks import Chunk, read_chunk
from azquack.quack.wire.fields import Reader
from azquack.quack.wire.messages import MessageType, parse_header
from azquack.quack.wire.types import Type, read_type


@dataclass(frozen=True, slots=True)
class Result:
    """The types and names of the columns, whether there is `more` to fetch, and the chunks that are here."""

    types: list[Type]
    names: list[str]
    more: bool
    chunks: list[Chunk]


def parse_result(message: bytes) -> Result:
    """The result in `message`. Raises `WireError` for what is none, and for types that no table can have."""
    header = parse_header(message)
    if header.type is not MessageType.PREPARE_RESPONSE:
        raise WireError("This is no result")
    read = Reader(message, header.end)
    read.need(1)
    types = [read_type(read) for _ in range(read.varint())]
    read.need(2)
    names = [read.string() for _ in range(read.varint())]
    more = bool(read.number_field(3))
    chunks = []
    for _ in range(read.number_field(4)):
        if read.take(1) != b"\x01":
            raise WireError("A chunk of the result is missing")
        read.need(300)
        chunks.append(read_chunk(read))
        read.end()
    return Result(types, names, more, chunks)
