"""Reads the messages of a client of Quack 3, to their last byte.

The layouts are those of the Rust crate quack_protocol 0.5.0, whose author held them against DuckDB 2.0.0, and of the
stored sources of duckdb-quack of summer 2026. Everything that is not such a message raises `WireError`.
"""

from __future__ import annotations

from collections.abc import Callable

from azquack.errors import WireError
from azquack.quack.wire.fields import NONE, ROOM, Reader
from azquack.quack.wire.messages import MAX_ID
from azquack.quack.wire3.messages import (
    Acknowledgement,
    Batch,
    Cancel,
    Disconnect,
    Fetch,
    Finalize,
    Header,
    Heartbeat,
    Kind,
    Login,
    Message,
    Prepare,
    Rows,
)

# Chunks of one SEND_DATA. DuckDB sends about a hundred.
CHUNKS = 4096
MAX_STREAM = 512
# Of the chunk's object behind a pointer that is there: what tells the first form of SEND_DATA from the second.
_POINTER = b"\x03\x00\x01\x2c\x01"
_KINDS = {int(kind): kind for kind in Kind}


def parse_header(message: bytes) -> Header:
    """The header of `message`, of which a prefix that holds the header is enough."""
    read = Reader(message)
    if not read.field(1):
        raise WireError("This is not a Quack message")
    kind = _KINDS.get(read.take(1)[0])
    if kind is None:
        raise WireError("This is no message type of Quack 3")
    connection_id = read.text_field(2)
    if len(connection_id) > MAX_ID:
        raise WireError("The connection id is too long")
    query_id = read.varint() if read.field(3) else NONE
    read.end()
    return Header(kind, connection_id, None if query_id == NONE else query_id, read.at)


def parse_login(message: bytes) -> Login:
    """The login in `message`, of any version: a later Quack may add fields, so that its client can be told."""
    header = parse_header(message)
    if header.type is not Kind.CONNECTION_REQUEST:
        raise WireError(f"This is no CONNECTION_REQUEST but a {header.type.name}")
    read = Reader(message, header.end)
    login = Login(
        read.text_field(1), read.text_field(2), read.text_field(3), read.number_field(4), read.number_field(5),
        read.text_field(6), read.number_field(7),
    )  # fmt: skip
    if login.speaks_quack_3:
        _finish(read)
    return login


def parse(message: bytes, header: Header, limit: int = ROOM) -> Message:
    """What `message` says within a session; its chunks take at most `limit` bytes once they are flat."""
    reader = _READERS.get(header.type)
    if reader is None:
        raise WireError(f"A client of Quack 3 does not send {header.type.name}")
    read = Reader(message, header.end)
    said = reader(read, limit)
    if read.at != len(message):
        raise WireError("The message goes on behind its end")
    return said


def hugeint(read: Reader) -> int:
    """A number of 128 bits: its upper half with a sign, then its lower half."""
    upper = read.signed()
    return upper << 64 | read.varint()


def _prepare(read: Reader, limit: int) -> Prepare:
    sql = read.text_field(1)
    read.need(2)
    query = hugeint(read)
    rows = read.varint() if read.field(3) else NONE
    read.end()
    return Prepare(sql, query, None if rows == NONE else rows)


def _fetch(read: Reader, limit: int) -> Fetch:
    read.need(1)
    query = hugeint(read)
    index, acknowledged = read.number_field(2), read.number_field(3)
    read.end()
    if acknowledged >= max(index, 1):
        raise WireError("A FETCH asks for a batch that it acknowledges")
    return Fetch(query, index, acknowledged)


def _send_data(read: Reader, limit: int) -> Rows | Batch:
    start = read.at
    try:
        read.name_field(1)
        table = read.name_field(2)
        named = bool(table) and read.data.startswith(_POINTER, read.at)
    except WireError:
        named = False
    read.at = start
    return _rows(read, limit) if named else _batch(read, limit)


def _rows(read: Reader, limit: int) -> Rows:
    schema, table = read.name_field(1), read.name_field(2)
    read.take(len(_POINTER))
    # With it comes numpy, 21 MB that a gateway without such inserts need not hold.
    from azquack.quack.wire.chunks import read_chunk

    chunk = read_chunk(read, limit)
    read.end()
    read.need(4)
    query = hugeint(read)
    read.end()
    return Rows(schema, table, query, chunk)


def _batch(read: Reader, limit: int) -> Batch:
    read.need(1)
    stream = read.string()
    if not 0 < len(stream) <= MAX_STREAM:
        raise WireError("A stream of rows has no name, or one that is too long")
    count = _number(read) if read.field(2) else 0
    total = _number(read) if read.field(3) else NONE
    index = _number(read) if read.field(4) else NONE
    read.end()
    if count > CHUNKS:
        raise WireError(f"A message brings at most {CHUNKS} chunks")
    if (count > 0) != (index != NONE) or (count == 0 and total == NONE) or index == 0:
        raise WireError("A SEND_DATA brings chunks with their index, from 1, or ends its stream")
    from azquack.quack.wire.chunks import read_chunk

    chunks = []
    left = limit
    for _ in range(count):
        chunks.append(read_chunk(read, left))
        left -= sum(each.type.room for each in chunks[-1].columns) * chunks[-1].rows
    return Batch(stream, tuple(chunks), *(None if each == NONE else each for each in (index, total)))


def _number(read: Reader) -> int:
    """A number that may be longer than it needs to be: DuckDB 2.0 leaves room for an index and fills it in later."""
    number = 0
    for at, byte in enumerate(read.data[read.at : read.at + 10]):
        number |= (byte & 0x7F) << 7 * at
        if byte < 0x80:
            if number > NONE:
                break
            read.at += at + 1
            return number
    raise WireError("A number of the message is too large, or ends early")


def _query(make: Callable[[int], Message]) -> Callable[[Reader, int], Message]:
    def reader(read: Reader, limit: int) -> Message:
        read.need(1)
        query = hugeint(read)
        read.end()
        return make(query)

    return reader


def _empty(make: Callable[[], Message]) -> Callable[[Reader, int], Message]:
    def reader(read: Reader, limit: int) -> Message:
        read.end()
        return make()

    return reader


def _finish(read: Reader) -> None:
    read.end()
    if read.at != len(read.data):
        raise WireError("The message goes on behind its end")


_READERS: dict[Kind, Callable[[Reader, int], Message]] = {
    Kind.PREPARE: _prepare,
    Kind.FETCH: _fetch,
    Kind.SEND_DATA: _send_data,
    Kind.FINALIZE: _query(Finalize),
    Kind.CANCEL: _query(Cancel),
    Kind.ACKNOWLEDGEMENT: _query(Acknowledgement),
    Kind.HEARTBEAT: _empty(Heartbeat),
    Kind.DISCONNECT: _empty(Disconnect),
}
