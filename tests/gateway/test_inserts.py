"""Native inserts through a real gateway to a real node: what is whole arrives as it was sent, and nothing else arrives.

`AZQUACK_TEST_FUZZ_ROUNDS` sets how many chunks are changed and tried; the slow form tries a million.
"""

from __future__ import annotations

import http.client
import os
import select
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import pytest

from azquack.errors import WireError
from azquack.quack import wire
from azquack.quack.wire import types
from azquack.quack.wire.chunks import Chunk, clean_append, read_chunk, write_chunk
from azquack.quack.wire.messages import append_target
from azquack.quack.wire.results import parse_result
from azquack.quack.wire.types import VECTOR_ROWS, Type
from azquack.quack.wire.vectors import Room, take
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import ANN, client
from tests.wire.test_chunks import BIGINT, append, dictionary, of_bigints
from tests.wire.tokens import Maker, Mutator, written

NAMES = {
    types.BOOLEAN: "BOOLEAN", types.TINYINT: "TINYINT", types.UTINYINT: "UTINYINT", types.SMALLINT: "SMALLINT",
    types.USMALLINT: "USMALLINT", types.INTEGER: "INTEGER", types.UINTEGER: "UINTEGER", types.DATE: "DATE",
    types.FLOAT: "FLOAT", types.BIGINT: "BIGINT", types.UBIGINT: "UBIGINT", types.DOUBLE: "DOUBLE",
    types.TIME: "TIME", types.TIME_TZ: "TIMETZ", types.TIMESTAMP: "TIMESTAMP", types.TIMESTAMP_TZ: "TIMESTAMPTZ",
    types.TIMESTAMP_S: "TIMESTAMP_S", types.TIMESTAMP_MS: "TIMESTAMP_MS", types.TIMESTAMP_NS: "TIMESTAMP_NS",
    types.INTERVAL: "INTERVAL", types.HUGEINT: "HUGEINT", types.UHUGEINT: "UHUGEINT", types.UUID: "UUID",
    types.VARCHAR: "VARCHAR", types.BLOB: "BLOB", types.BIT: "BIT", types.BIGNUM: "BIGNUM",
    types.GEOMETRY: "GEOMETRY",
}  # fmt: skip
# TIME_NS ends a node that shows it; the gateway's policy refuses such columns.
LEFT_OUT = frozenset((types.TIME_NS,))


def readable(sock: socket.socket) -> bool:
    """Whether the other side has sent something, or has closed."""
    return bool(select.select([sock], [], [], 0)[0])


class Session:
    """A session at a Quack server over one socket."""

    def __init__(self, port: int, token: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        answer = self.post(wire.connection_request(wire.ConnectionRequest(token)))
        self.id = wire.parse_connection_response(answer).connection_id

    def post(self, message: bytes) -> bytes:
        """The answer to `message`, over a new socket where the server has closed the old one, idle for 5 s."""
        if self._connection.sock is not None and readable(self._connection.sock):
            self._connection.close()
        self._connection.request("POST", "/quack", message)
        return self._connection.getresponse().read()

    def close(self) -> None:
        self._connection.close()

    def run(self, sql: str) -> bytes:
        """The answer to `sql`, which must not be an error."""
        answer = self.post(wire.prepare(self.id, sql))
        assert wire.parse_header(answer).type is wire.MessageType.PREPARE_RESPONSE, wire.parse_error(answer)
        return answer

    def append(self, message: bytes) -> str:
        """Sends an APPEND, with this session's id; the sentence of its error, empty when it was taken."""
        answer = self.post(wire.with_connection_id(message, wire.parse_header(message), self.id))
        return "" if wire.parse_header(answer).type is wire.MessageType.SUCCESS else wire.parse_error(answer)


@contextmanager
def session(port: int, token: str) -> Iterator[Session]:
    """A `Session`, whose socket is closed at the end."""
    each = Session(port, token)
    try:
        yield each
    finally:
        each.close()


def sql_type(kind: Type) -> str:
    """How SQL writes `kind`."""
    match kind.id:
        case types.DECIMAL:
            return f"DECIMAL({kind.width},{kind.scale})"
        case types.ENUM:
            return "ENUM('" + "', '".join(kind.values) + "')"
        case types.LIST:
            return f"{sql_type(kind.children[0][1])}[]"
        case types.ARRAY:
            return f"{sql_type(kind.children[0][1])}[{kind.size}]"
        case types.MAP:
            (_, key), (_, value) = kind.children[0][1].children
            return f"MAP({sql_type(key)}, {sql_type(value)})"
        case types.STRUCT | types.UNION:
            fields = kind.children[1:] if kind.id == types.UNION else kind.children
            inner = ", ".join(f'"{name}" {sql_type(child)}' for name, child in fields)
            return f"{'UNION' if kind.id == types.UNION else 'STRUCT'}({inner})"
        case _:
            return NAMES[kind.id]


def test_an_index_beyond_its_dictionary_reaches_no_node(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node("n1", "CREATE TABLE t (a BIGINT)")
    gateway = start_gateway(node)
    with session(gateway.port, ANN) as ann:
        for index in (1, 1000, 0x7FFFFFFF, 0xFFFFFFF0):
            message = append(64, [BIGINT], [dictionary([index] * 64, 1, of_bigints(31))])
            assert "outside of its dictionary" in ann.append(message)
        assert ann.append(append(2, [BIGINT], [of_bigints(7, 8)])) == "", "the session does not live on"
        (chunk,) = parse_result(ann.run("FROM t")).chunks
        assert chunk.columns[0].data.tolist() == [7, 8]
        rows = 100_000
        assert ann.append(append(rows, [BIGINT], [of_bigints(*range(rows))])) == "", (
            "a large one is not taken"
        )
        (chunk,) = parse_result(ann.run("SELECT count(*), sum(a)::BIGINT FROM t")).chunks
        sums = [each.data.tolist() for each in chunk.columns]
        assert sums == [[rows + 2], [rows * (rows - 1) // 2 + 15]]
    assert node.process.poll() is None


def test_a_node_takes_an_index_beyond_its_dictionary(start_node: StartNode) -> None:
    """Pins the fault of DuckDB 1.5.5 for which the gateway reads every chunk: a node stores what lies behind."""
    node = start_node("n1", "CREATE TABLE t (a BIGINT)")
    with session(node.port, node.token) as inside:
        assert inside.append(append(64, [BIGINT], [dictionary(list(range(64)), 1, of_bigints(31))])) == ""


# An expression over i for each type; some are NULL now and then, so that every form has them.
STOCK = {
    "BOOLEAN": "i % 2 = 0", "TINYINT": "i % 100", "SMALLINT": "i", "INTEGER": "i", "BIGINT": "i * 1000000007::BIGINT",
    "HUGEINT": "i::HUGEINT * 10000000000000000000000", "UTINYINT": "i % 200", "USMALLINT": "i", "UINTEGER": "i",
    "UBIGINT": "i", "UHUGEINT": "i", "FLOAT": "i / 3", "DOUBLE": "i / 3", "DECIMAL(4,1)": "(i % 100) / 10",
    "DECIMAL(9,2)": "-i / 10", "DECIMAL(18,3)": "i", "DECIMAL(38,10)": "i * -1000000007::BIGINT",
    "DATE": "DATE '2020-01-01' + i::INTEGER", "TIME": "TIME '00:00:00' + i * INTERVAL 1 SECOND",
    "TIMETZ": "'12:00:00+02:00'", "TIMESTAMP": "TIMESTAMP '2020-01-01' + i * INTERVAL 1 MINUTE",
    "TIMESTAMP_S": "TIMESTAMP '2020-01-01'", "TIMESTAMP_MS": "TIMESTAMP '2020-01-01'",
    "TIMESTAMP_NS": "TIMESTAMP '2020-01-01'", "TIMESTAMPTZ": "TIMESTAMPTZ '2020-01-01 00:00:00+00'",
    "INTERVAL": "i * INTERVAL 1 DAY", "UUID": "md5(i::VARCHAR)::UUID", "VARCHAR": "'Zeile ü ' || i",
    "BLOB": "'\\xff\\x00a'::BLOB", "BIT": "'0101010111'", "BIGNUM": "(i - 5)::BIGNUM",
    "ENUM('a', 'bü', 'c')": "['a', 'bü', 'c'][i % 3 + 1]", "INTEGER[]": "range(i % 5)", "JSON": "'{\"a\": 1}'",
    "VARCHAR[][]": "[['a', NULL], [], NULL, ['b' || i]]", "STRUCT(a INTEGER, b VARCHAR)": "{'a': i, 'b': 'x' || i}",
    "MAP(VARCHAR, INTEGER)": "MAP {'k' || i: i, 'j': NULL}", "INTEGER[3]": "[i, NULL, 3]",
    "UNION(n INTEGER, s VARCHAR)": "CASE WHEN i % 2 = 0 THEN i::INTEGER::UNION(n INTEGER, s VARCHAR) "
    "ELSE 'x'::UNION(n INTEGER, s VARCHAR) END",
    "STRUCT(x INTEGER[], y STRUCT(z DATE)[])[]": "[{'x': [1, i], 'y': [{'z': DATE '2020-02-02'}]}, NULL]",
    "GEOMETRY": "('POINT(1 ' || i || ')')::GEOMETRY", "VARIANT": "{'a': i, 'b': [{'c': 'x'}, {'c': NULL}]}",
}  # fmt: skip
# Flat, one value for all rows, and few values in a dictionary.
SOURCES = {
    "flat": "FROM (SELECT {0} AS v, i FROM range(3000) _(i)) SELECT CASE WHEN i % 7 < 6 THEN v END AS v",
    "constant": "SELECT v FROM (SELECT {0} AS v FROM (SELECT 4 AS i)), range(20)",
    "dictionary": "FROM (SELECT {0} AS v, i FROM range(3) _(i)) AS few, range(400) AS many(j) "
    "SELECT CASE WHEN i = 1 THEN NULL ELSE v END AS v",
}


@pytest.mark.timeout(300)
def test_what_a_stock_client_inserts_arrives_as_it_was(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    kinds = [kind for kind in STOCK if kind != "INTEGER[3]"]
    tables = [f"CREATE TABLE t{at} (form VARCHAR, v {kind})" for at, kind in enumerate(kinds)]
    node = start_node("n1", *tables)
    with client(start_gateway(node).port) as ann:
        ann.db.execute("SET TimeZone = 'UTC'")
        wrong = []
        for at, kind in enumerate(kinds):
            for form, source in SOURCES.items():
                query = source.format(f"({STOCK[kind]})::{kind}")
                ann.db.execute(
                    f"CREATE OR REPLACE TEMP TABLE local AS SELECT '{form}' AS form, v FROM ({query})"
                )
                ann.db.execute(f"INSERT INTO r.t{at} FROM local")
                here = ann.rows(
                    "SELECT count(*), md5(string_agg(v::VARCHAR, '|' ORDER BY v::VARCHAR)) FROM local"
                )
                there = ann.there(
                    "SELECT count(*), md5(string_agg(v::VARCHAR, '|' ORDER BY v::VARCHAR)) "
                    f"FROM t{at} WHERE form = '{form}'"
                )
                if here != there:
                    wrong.append((kind, form, here, there))
        assert wrong == []


def tried(rounds: int) -> Iterator[tuple[int, list[Type], bytes]]:
    """For each seed: the types of the table and an APPEND that passes, made by chance and mostly changed."""
    for seed in range(rounds):
        maker = Maker(seed, leave_out=LEFT_OUT)
        kinds = maker.append("", "main", "t")
        tokens = maker.tokens if seed % 50 == 0 else Mutator(seed).change(maker.tokens)
        message = written(tokens)
        try:
            header = wire.parse_header(message)
            if header.type is wire.MessageType.APPEND:
                yield seed, kinds, clean_append(message, header, "", 16 << 20)
        except WireError:
            continue


def parts(chunk: Chunk) -> list[bytes]:
    """`chunk` as a node gives it back: in chunks of at most 2,048 rows."""
    found = []
    for first in range(0, chunk.rows, VECTOR_ROWS):
        rows = np.arange(first, min(first + VECTOR_ROWS, chunk.rows))
        columns = [take(each, rows, Room(1 << 30)) for each in chunk.columns]
        found.append(b"".join(write_chunk(Chunk(len(rows), columns))))
    return found


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(int(os.environ.get("AZQUACK_TEST_FUZZ_ROUNDS", "800")), id="quick"),
        pytest.param(
            int(os.environ.get("AZQUACK_TEST_FUZZ_ROUNDS", "1000000")),
            id="full",
            marks=[pytest.mark.slow, pytest.mark.timeout(0)],
        ),
    ],
)
def test_a_node_shows_what_passes_and_no_byte_that_was_not_sent(start_node: StartNode, rounds: int) -> None:
    """Every chunk is checked; those that pass go to a node, whose table must then hold their very values."""
    node = start_node("n1")
    process = psutil.Process(node.process.pid)
    before = shown = 0
    with session(node.port, node.token) as inside:
        for seed, kinds, message in tried(rounds):
            reader, _ = append_target(message)
            sent = read_chunk(reader)
            columns = ", ".join(f"c{at} {sql_type(kind)}" for at, kind in enumerate(kinds))
            inside.run(f"CREATE OR REPLACE TABLE t ({columns})")
            refused = inside.append(message)
            assert node.process.poll() is None, f"seed {seed} has ended the node"
            assert "INTERNAL" not in refused, f"seed {seed}: {refused}"
            if refused or [each.type for each in sent.columns] != kinds:
                continue
            result = parse_result(inside.run("FROM t"))
            shown_first = [b"".join(write_chunk(each)) for each in result.chunks]
            # A node's first answer has twelve chunks at most.
            assert shown_first == parts(sent)[:12], f"seed {seed}"
            shown += 1
            if shown == 200:
                before = process.memory_info().rss
    print(f"{rounds} chunks, of which {shown} were stored and shown as they were sent")
    assert shown > rounds // 100
    assert not before or process.memory_info().rss - before < 200 << 20
