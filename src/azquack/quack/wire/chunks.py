"""A chunk of rows, and the APPEND that brings one: read strictly, held neutrally, written anew.

Nothing of what a client sent reaches a node but what was understood: `clean_append` reads a message to its last
byte and writes it again from what it has read.
"""

from __future__ import annotations

from dataclasses import dataclass

from azquack.errors import WireError
from azquack.quack.wire.columns import read_vector, write_vector
from azquack.quack.wire.fields import END, ROOM, Reader, field, text_field, varint
from azquack.quack.wire.messages import Header, append_target
from azquack.quack.wire.messages import header as written_header
from azquack.quack.wire.types import VECTOR_ROWS, read_type, write_type
from azquack.quack.wire.vectors import Room, Vector

COLUMNS = 10_000
ROWS = 122_880


@dataclass(frozen=True, slots=True)
class Chunk:
    """`rows` rows: a vector for each column."""

    rows: int
    columns: list[Vector]


def read_chunk(read: Reader, limit: int = ROOM) -> Chunk:
    """The chunk that comes next, of at most `limit` bytes once it is flat. Raises `WireError`."""
    read.need(100)
    rows = read.varint()
    if not 1 <= rows <= ROWS:
        raise WireError(f"A chunk has 1 to {ROWS} rows")
    read.need(101)
    count = read.varint()
    if not 1 <= count <= COLUMNS:
        raise WireError(f"A chunk has 1 to {COLUMNS} columns")
    kinds = []
    room = Room(limit)
    for _ in range(count):
        kinds.append(read_type(read))
        room.take(kinds[-1].room * max(rows, VECTOR_ROWS))
    read.need(102)
    if read.varint() != count:
        raise WireError("A chunk has another number of columns than types")
    room = Room(limit)
    columns = []
    for kind in kinds:
        columns.append(read_vector(read, kind, rows, room))
        read.end()
    read.end()
    return Chunk(rows, columns)


def write_chunk(chunk: Chunk) -> list[bytes]:
    """`chunk` with its end, in pieces, every column flat."""
    count = varint(len(chunk.columns))
    parts = [field(100, varint(chunk.rows)), field(101, count)]
    parts += [write_type(each.type) for each in chunk.columns]
    parts.append(field(102, count))
    for each in chunk.columns:
        write_vector(parts, each)
    parts.append(END)
    return parts


def clean_append(message: bytes, header: Header, connection_id: str, limit: int = ROOM) -> bytes:
    """The APPEND `message` anew, for the session `connection_id`. Raises `WireError` for one that is not whole."""
    read, target = append_target(message, header)
    chunk = read_chunk(read, limit)
    read.end()
    read.end()
    if read.at != len(message):
        raise WireError("The message goes on behind its end")
    return b"".join(
        [
            written_header(header.type, connection_id, header.query_id),
            text_field(1, target.schema),
            text_field(2, target.table),
            field(3, b"\x01"),
            field(300, b""),
            *write_chunk(chunk),
            END,
            END,
        ]
    )
