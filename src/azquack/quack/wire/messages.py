"""Quack 1 messages: what the gateway and the link read, replace and write.

Results, chunks and plans stay opaque bytes. The layout was read off recorded traffic of DuckDB 1.5.5
(`tests/wire/recorded.py`). Every parser raises `WireError` for bytes that are not such a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from azquack.errors import WireError
from azquack.quack.wire.fields import END, NONE, Reader, field, signed_varint, string, text_field, varint

QUACK_VERSION = 1
MAX_ID = 2048
MAX_COLUMNS = 127


class MessageType(IntEnum):
    """The third byte of a message."""

    CONNECTION_REQUEST = 1
    CONNECTION_RESPONSE = 2
    PREPARE = 3
    PREPARE_RESPONSE = 4
    FETCH = 7
    FETCH_RESPONSE = 8
    APPEND = 9
    SUCCESS = 10
    DISCONNECT = 11
    ERROR = 100


# Up to the number itself: one BIGINT column with the name Count, nothing left to fetch, one chunk of one row.
_COUNT_ANSWER = (
    b"\x01\x00\x04\x03\x00" + b"\xff" * 9 + b"\x01\xff\xff"
    b"\x01\x00\x01d\x00\x0e\xff\xff\x02\x00\x01\x05Count\x04\x00\x01\x01\x2c\x01d\x00\x01e\x00\x01d\x00\x0e\xff\xff"
    b"f\x00\x01d\x00\x00f\x00\x08"
)
_TYPES = {int(kind): kind for kind in MessageType}


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the body of every message.

    `query_id` is the client's number of the statement, None when it sent none. `id_end` and `end` are offsets
    into the message: behind the connection id, and behind the header.
    """

    type: MessageType
    connection_id: str
    query_id: int | None
    id_end: int
    end: int


def parse_header(message: bytes) -> Header:
    """The header of `message`, of which a prefix that holds the header is enough."""
    read = Reader(message)
    if not read.field(1):
        raise WireError("This is not a Quack message")
    kind = _TYPES.get(read.take(1)[0])
    if kind is None:
        raise WireError("This is no message type of Quack 1")
    connection_id = read.text_field(2)
    if len(connection_id) > MAX_ID:
        raise WireError("The connection id is too long")
    id_end = read.at
    query_id = read.varint() if read.field(3) else NONE
    read.end()
    return Header(kind, connection_id, None if query_id == NONE else query_id, id_end, read.at)


def header(kind: MessageType, connection_id: str = "", query_id: int | None = None) -> bytes:
    """The header of a message."""
    number = NONE if query_id is None else query_id
    return field(1, bytes([kind])) + text_field(2, connection_id) + field(3, varint(number)) + END


def with_connection_id(message: bytes, header: Header, connection_id: str) -> bytes:
    """`message`, or the prefix of it that was parsed, with another connection id; all else stays as it is."""
    return field(1, bytes([header.type])) + text_field(2, connection_id) + message[header.id_end :]


@dataclass(frozen=True, slots=True)
class ConnectionRequest:
    """A login. `lowest` and `highest` are the Quack versions that the client speaks."""

    token: str
    version: str = ""
    platform: str = ""
    lowest: int = QUACK_VERSION
    highest: int = QUACK_VERSION

    def __repr__(self) -> str:
        return f"ConnectionRequest(version={self.version!r}, platform={self.platform!r})"

    @property
    def speaks_quack_1(self) -> bool:
        """Whether the client can talk with a DuckDB 1.5 server."""
        return self.lowest <= QUACK_VERSION <= self.highest


def parse_connection_request(message: bytes) -> ConnectionRequest:
    """The login in `message`. A later Quack may add fields: they are let pass so that its client is told."""
    read = _body(message, MessageType.CONNECTION_REQUEST)
    request = ConnectionRequest(
        read.text_field(1), read.text_field(2), read.text_field(3), read.number_field(4), read.number_field(5)
    )
    if request.speaks_quack_1:
        _finish(read)
    return request


def connection_request(request: ConnectionRequest, query_id: int | None = None) -> bytes:
    """The message of a login."""
    return (
        header(MessageType.CONNECTION_REQUEST, query_id=query_id)
        + text_field(1, request.token)
        + text_field(2, request.version)
        + text_field(3, request.platform)
        + field(4, varint(request.lowest))
        + field(5, varint(request.highest))
        + END
    )


@dataclass(frozen=True, slots=True)
class ConnectionResponse:
    """The server's answer to a login that it took."""

    connection_id: str
    version: str
    platform: str
    quack_version: int


def parse_connection_response(message: bytes) -> ConnectionResponse:
    """The answer to a login."""
    connection_id = parse_header(message).connection_id
    read = _body(message, MessageType.CONNECTION_RESPONSE)
    response = ConnectionResponse(connection_id, read.text_field(1), read.text_field(2), read.number_field(3))
    if not connection_id:
        raise WireError("The answer to a login holds no connection id")
    _finish(read)
    return response


def parse_prepare(message: bytes, header: Header | None = None) -> str:
    """The SQL of a PREPARE; `header` is its header, where that was parsed before."""
    read = _body(message, MessageType.PREPARE, header)
    sql = read.text_field(1)
    _finish(read)
    return sql


def prepare(connection_id: str, sql: str, query_id: int | None = None) -> bytes:
    """A PREPARE: the server runs `sql` and answers with the first chunks of its result."""
    return header(MessageType.PREPARE, connection_id, query_id) + text_field(1, sql) + END


@dataclass(frozen=True, slots=True)
class AppendTarget:
    """The table that an APPEND adds a chunk to, and the chunk's rows."""

    schema: str
    table: str
    rows: int


def parse_append_target(message: bytes, header: Header | None = None) -> AppendTarget:
    """The target of an APPEND, of which a prefix up to the chunk's columns is enough; those are not read.

    `header` is its header, where that was parsed before.
    """
    return append_target(message, header)[1]


def append_target(message: bytes, header: Header | None = None) -> tuple[Reader, AppendTarget]:
    """As `parse_append_target`, and a reader that stands before the chunk."""
    read = _body(message, MessageType.APPEND, header)
    schema, table = read.text_field(1), read.text_field(2)
    # A pointer that is there, and the chunk within it.
    if not table or not read.field(3) or read.take(1) != b"\x01" or not read.field(300):
        raise WireError("An APPEND needs a table and a chunk")
    return read, AppendTarget(schema, table, Reader(message, read.at).number_field(100))


def parse_text(message: bytes) -> str:
    """The value of a result that is one row of one VARCHAR, not NULL.

    Of DuckDB's serialized types and vectors only this one shape is known here; all else is `WireError`.
    """
    read = _body(message, MessageType.PREPARE_RESPONSE)
    varchar = b"\x01d\x00\x19\xff\xff"
    if not read.field(1) or read.take(len(varchar)) != varchar or not read.field(2) or read.varint() != 1:
        raise WireError("The result is not one VARCHAR")
    read.string()
    read.number_field(3)
    # One chunk, present, inside field 300: one row, the types again, one vector without a validity mask.
    chunk = b"\x04\x00\x01\x01\x2c\x01d\x00\x01e\x00" + varchar + b"f\x00\x01"
    if read.take(len(chunk)) != chunk:
        raise WireError("The result is not one row")
    read.number_field(90)
    if not read.field(100) or read.take(1) != b"\x00" or not read.field(102) or read.varint() != 1:
        raise WireError("The result is not one VARCHAR")
    return read.string()


def count_of(answer: bytes) -> int | None:
    """The rows that an INSERT, UPDATE or DELETE changed, from the answer to it; None for any other answer."""
    if not answer.startswith(_COUNT_ANSWER):
        return None
    return int.from_bytes(answer[len(_COUNT_ANSWER) :][:8], "little")


def with_count(answer: bytes, count: int) -> bytes:
    """An answer for which `count_of` is not None, with another count."""
    return _COUNT_ANSWER + count.to_bytes(8, "little") + answer[len(_COUNT_ANSWER) + 8 :]


def parse_bigints(message: bytes) -> list[int]:
    """The values of a result that is one row of BIGINTs, none NULL; as `parse_text`, all else is `WireError`."""
    read = _body(message, MessageType.PREPARE_RESPONSE)
    if not read.field(1):
        raise WireError("The result has no columns")
    columns = read.varint()
    types = b"d\x00\x0e\xff\xff" * columns
    if (
        columns > MAX_COLUMNS
        or read.take(len(types)) != types
        or not read.field(2)
        or read.varint() != columns
    ):
        raise WireError("The result is not BIGINTs")
    for _ in range(columns):
        read.string()
    read.number_field(3)
    chunk = b"\x04\x00\x01\x01\x2c\x01d\x00\x01e\x00%c%bf\x00%c" % (columns, types, columns)
    if read.take(len(chunk)) != chunk:
        raise WireError("The result is not one row")
    values = []
    for _ in range(columns):
        if read.take(6) != b"d\x00\x00f\x00\x08":
            raise WireError("The result is not BIGINTs")
        values.append(int.from_bytes(read.take(8), "little", signed=True))
        read.end()
    return values


def parse_fetch(message: bytes, header: Header | None = None) -> tuple[int, int]:
    """The number of the result that a FETCH asks on: its upper and lower 64 bits."""
    read = _body(message, MessageType.FETCH, header)
    read.need(1)
    number = read.signed(), read.varint()
    _finish(read)
    return number


def fetch(connection_id: str, number: tuple[int, int], query_id: int | None = None) -> bytes:
    """A FETCH: the server answers with the next chunks of result `number`."""
    upper, lower = number
    body = field(1, signed_varint(upper) + varint(lower)) + END
    return header(MessageType.FETCH, connection_id, query_id) + body


def parse_disconnect(message: bytes, header: Header | None = None) -> None:
    """Holds `message` to be a DISCONNECT and nothing more."""
    _finish(_body(message, MessageType.DISCONNECT, header))


def disconnect(connection_id: str) -> bytes:
    """A DISCONNECT: the server ends the session and rolls its transaction back."""
    return header(MessageType.DISCONNECT, connection_id) + END


def success() -> bytes:
    """A SUCCESS."""
    return header(MessageType.SUCCESS) + END


def error(sentence: str) -> bytes:
    """An ERROR that shows `sentence` to the user."""
    return header(MessageType.ERROR) + field(1, string(sentence)) + END


def parse_error(message: bytes) -> str:
    """The sentence of an ERROR. What is not UTF-8 in it, as where DuckDB cuts an excerpt, is replaced."""
    read = _body(message, MessageType.ERROR)
    sentence = read.take(read.varint()).decode(errors="replace") if read.field(1) else ""
    _finish(read)
    return sentence


def _body(message: bytes, kind: MessageType, header: Header | None = None) -> Reader:
    header = header or parse_header(message)
    if header.type is not kind:
        raise WireError(f"This is no {kind.name} but a {header.type.name}")
    return Reader(message, header.end)


def _finish(read: Reader) -> None:
    read.end()
    if read.at != len(read.data):
        raise WireError("The message goes on behind its end")
