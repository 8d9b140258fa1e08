"""A client of Quack 3 in frames of our own: what the Rust crate does not send, and what no client should."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from azquack.quack.wire import types
from azquack.quack.wire.chunks import Chunk, read_chunk, write_chunk
from azquack.quack.wire.fields import END, NONE, Reader, signed_varint, text_field, varint
from azquack.quack.wire.fields import field as a_field
from azquack.quack.wire.types import Type, read_type
from azquack.quack.wire.vectors import Packed, Vector
from azquack.quack.wire3.messages import Kind

BIGINT, VARCHAR = Type(types.BIGINT), Type(types.VARCHAR)


def hugeint(number: int) -> bytes:
    return signed_varint(number >> 64) + varint(number & NONE)


def header(kind: int, connection_id: str = "") -> bytes:
    return a_field(1, bytes([kind])) + text_field(2, connection_id) + a_field(3, varint(NONE)) + END


def login(token: str, lowest: int = 3, highest: int = 3, heartbeat: int = 60) -> bytes:
    numbers = a_field(4, varint(lowest)) + a_field(5, varint(highest)) + text_field(6, "tests")
    last = a_field(7, varint(heartbeat)) if heartbeat else b""
    names = text_field(1, token) + text_field(2, "v2.0.0") + text_field(3, "linux_amd64")
    return header(Kind.CONNECTION_REQUEST) + names + numbers + last + END


def prepare(session: str, sql: str, query: int, inline_rows: int | None = None) -> bytes:
    rows = b"" if inline_rows is None else a_field(3, varint(inline_rows))
    return header(Kind.PREPARE, session) + text_field(1, sql) + a_field(2, hugeint(query)) + rows + END


def fetch(session: str, query: int, index: int, acknowledged: int = 0) -> bytes:
    numbers = [a_field(at, varint(each)) for at, each in ((2, index), (3, acknowledged)) if each]
    return header(Kind.FETCH, session) + a_field(1, hugeint(query)) + b"".join(numbers) + END


def of_query(kind: Kind, session: str, query: int) -> bytes:
    return header(kind, session) + a_field(1, hugeint(query)) + END


def empty(kind: Kind, session: str) -> bytes:
    return header(kind, session) + END


def batch(
    session: str,
    stream: str,
    chunks: Sequence[bytes] = (),
    index: int | None = None,
    total: int | None = None,
) -> bytes:
    """A SEND_DATA of DuckDB 2.0, whose index has room for eight bytes and is filled in later."""
    padded = (
        b""
        if index is None
        else a_field(4, bytes([index & 0x7F | 0x80, index >> 7 | 0x80] + [0x80] * 5 + [0]))
    )
    return b"".join(
        [
            header(Kind.SEND_DATA, session),
            text_field(1, stream),
            a_field(2, varint(len(chunks))) if chunks else b"",
            b"" if total is None else a_field(3, varint(total)),
            padded,
            END,
            *chunks,
        ]
    )


def rows(session: str, schema: str, table: str, chunk: bytes, query: int) -> bytes:
    """A SEND_DATA as of June 2026."""
    named = text_field(1, schema) + text_field(2, table)
    return (
        header(Kind.SEND_DATA, session)
        + named
        + b"\x03\0\x01\x2c\x01"
        + chunk
        + END
        + a_field(4, hugeint(query))
        + END
    )


def chunk(
    numbers: Iterable[int], texts: Iterable[str | None] | None = None, *, joined: bool = False
) -> bytes:
    """A chunk of a BIGINT and, maybe, a VARCHAR; `joined`: its strings in the layout of DuckDB 2.x."""
    values = np.array(list(numbers), "<i8")
    columns = [Vector(BIGINT, len(values), None, values)]
    if texts is not None:
        words = [None if each is None else each.encode() for each in texts]
        valid = None if None not in words else np.array([each is not None for each in words])
        columns.append(Vector(VARCHAR, len(values), valid, [each or b"" for each in words]))
    written = b"".join(write_chunk(Chunk(len(values), columns)))
    if not joined:
        return written
    assert texts is not None
    strings: list[bytes] = columns[1].data
    old = a_field(102, varint(len(strings))) + b"".join(varint(len(each)) + each for each in strings)
    data = b"".join(strings)
    lengths = struct.pack(f"<{len(strings)}I", *map(len, strings))
    new = (
        a_field(107, varint(len(data)))
        + a_field(108, varint(len(lengths)) + lengths)
        + a_field(109, varint(len(data)) + data)
    )
    assert written.count(old) == 1
    return written.replace(old, new)


@dataclass
class Answer:
    """What came back. `rows` are those of the chunks, `error` the sentence and type of an ERROR."""

    kind: Kind
    connection_id: str = ""
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    more: bool = False
    query: int = 0
    index: int | None = None
    total: int | None = None
    error: str = ""
    exception: str = ""
    fatal: bool = False
    version: int = 0
    heartbeat: int = 0
    raw: bytes = b""


def parse(raw: bytes) -> Answer:
    """An answer of a Quack 3 server, read to its last byte."""
    read = Reader(raw)
    read.need(1)
    answer = Answer(Kind(read.take(1)[0]), read.text_field(2), raw=raw)
    read.need(3)
    assert read.varint() == NONE
    read.end()
    match answer.kind:
        case Kind.CONNECTION_RESPONSE:
            read.text_field(1), read.text_field(2)
            answer.version, answer.heartbeat = read.number_field(3), read.number_field(4)
            read.end()
        case Kind.PREPARE_RESPONSE:
            read.need(1)
            for _ in range(read.varint()):
                read_type(read)
            read.need(2)
            answer.names = [read.string() for _ in range(read.varint())]
            answer.more = bool(read.number_field(3))
            for _ in range(read.number_field(4)):
                assert read.take(3) == b"\x01\x2c\x01"
                answer.rows += values(read_chunk(read))
                read.end()
            read.need(5)
            answer.query = read.signed() << 64 | read.varint()
            read.end()
        case Kind.FETCH_RESPONSE:
            count = read.number_field(1)
            answer.total = read.varint() if read.field(2) else None
            answer.index = read.varint() if read.field(3) else None
            read.end()
            for _ in range(count):
                answer.rows += values(read_chunk(read))
        case Kind.ERROR:
            answer.error, answer.exception = read.text_field(1), read.text_field(2)
            assert not read.field(3)
            answer.fatal = bool(read.number_field(4))
            read.end()
        case Kind.SEND_DATA_RESPONSE | Kind.SUCCESS:
            read.end()
        case _:
            raise AssertionError(answer)
    assert read.at == len(raw)
    return answer


def values(part: Chunk) -> list[tuple[Any, ...]]:
    """The rows of a chunk of numbers, strings and lists of strings."""
    return list(zip(*(_column(each) for each in part.columns), strict=True))


def _column(vector: Vector) -> list[Any]:
    found: list[Any]
    if vector.type.id in types.LISTS:
        inner, at, found = _column(vector.children[0]), 0, []
        for length in vector.data.tolist():
            found.append(inner[at : at + length])
            at += length
    elif isinstance(vector.data, Packed):
        found = [each.decode() for each in vector.data.strings(vector.rows)]
    elif isinstance(vector.data, list):
        found = [each.decode() for each in vector.data]
    else:
        found = vector.data.tolist()
    if vector.valid is None:
        return found
    return [each if there else None for each, there in zip(found, vector.valid.tolist(), strict=True)]


class Quack3:
    """A session: `ask` posts a message, whose answer may be an error; `run` and `all` are of statements that work."""

    def __init__(self, uri: str, token: str, heartbeat: int = 60) -> None:
        self.http = httpx.Client(base_url=uri, trust_env=False, timeout=60)
        self._numbers = itertools.count(1)
        answer = self.ask(login(token, heartbeat=heartbeat))
        assert answer.kind is Kind.CONNECTION_RESPONSE, answer.error
        self.id, self.heartbeat = answer.connection_id, answer.heartbeat
        assert answer.version == 3

    @contextmanager
    def beside(self) -> Iterator[Quack3]:
        """The same session on a socket of its own, for another thread."""
        other = Quack3.__new__(Quack3)
        other.id, other.heartbeat, other._numbers = self.id, self.heartbeat, self._numbers
        with httpx.Client(base_url=self.http.base_url, trust_env=False, timeout=60) as other.http:
            yield other

    def ask(self, message: bytes) -> Answer:
        response = self.http.post("/quack", content=message, headers={"content-type": "application/duckdb"})
        assert response.status_code == 200, response.content
        return parse(response.content)

    def number(self) -> int:
        return next(self._numbers)

    def prepare(self, sql: str, query: int | None = None, inline_rows: int | None = None) -> Answer:
        return self.ask(prepare(self.id, sql, self.number() if query is None else query, inline_rows))

    def fetch(self, query: int, index: int, acknowledged: int = 0) -> Answer:
        return self.ask(fetch(self.id, query, index, acknowledged))

    def run(self, sql: str) -> Answer:
        answer = self.prepare(sql)
        assert answer.kind is Kind.PREPARE_RESPONSE, answer.error
        return answer

    def all(self, sql: str) -> list[tuple[Any, ...]]:
        """Every row of `sql`."""
        answer = self.run(sql)
        rows, index = list(answer.rows), 1
        while answer.more:
            part = self.fetch(answer.query, index, index - 1)
            assert part.kind is Kind.FETCH_RESPONSE, part.error
            if part.index is None:
                assert part.total == index - 1
                break
            rows += part.rows
            index += 1
        return rows

    def close(self) -> None:
        self.ask(empty(Kind.DISCONNECT, self.id))
        self.http.close()
