"""DuckDB 1.5.3, 1.5.4 and 1.5.5 as clients: the right rows or a sentence, whatever shape they ask in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from azquack.gateway.quack import native_names
from azquack.quack import wire
from azquack.sql import identifier
from tests.gateway.parts import ANN, GatewayProcess, NodeProcess, post
from tests.gateway.versions import VERSIONS, ClientError, StockClient

LAKE = (
    "lake",
    "CREATE TABLE t AS SELECT range AS i, range % 2 = 0 AS b FROM range(10)",
    "CREATE SCHEMA two",
    "CREATE TABLE dup AS SELECT range AS i FROM range(100)",
    "CREATE TABLE two.dup AS SELECT range AS i FROM range(3)",
    "CREATE TABLE two.alone AS SELECT range AS i, {'k': range} AS s FROM range(7)",
    "CREATE VIEW two.seen AS SELECT i FROM two.alone WHERE i > 2",
    "CREATE VIEW seen AS SELECT i FROM t",
)
# Every form in which a client may ask for a table that needs no column, one, or a filter.
QUERIES = (
    "SELECT count(*) FROM {}",
    "SELECT count(*) FROM (FROM {} LIMIT 1000)",
    "SELECT 1 FROM {}",
    "SELECT i FROM {}",
    "SELECT count(*) FROM {} WHERE i >= 0",
    "SELECT max(i), min(i) FROM {}",
    "SELECT count(*) FROM {} AS one, range(1)",
)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """A gateway before a node with the lake."""
    node = NodeProcess("n1", *LAKE)
    gateway = GatewayProcess(node)
    yield gateway.port
    gateway.stop()
    node.stop()


@pytest.fixture(scope="module", params=VERSIONS)
def ann(request: pytest.FixtureRequest, port: int) -> Iterator[StockClient]:
    client = StockClient(request.param, port)
    yield client
    client.close()


def test_a_table_and_a_view_of_any_schema_give_their_own_rows(ann: StockClient) -> None:
    for table, rows in (("two.alone", 7), ("t", 10), ("two.seen", 4), ("seen", 10)):
        for query in QUERIES:
            expected = ann.there(query.format(f"main.{table}" if "." not in table else table))
            assert ann.rows(query.format(f"r.{table}")) == expected, (table, query)
        assert ann.rows(f"SELECT count(*) FROM r.{table}") == [(rows,)]


@pytest.mark.parametrize("table", ["r.dup", "r.main.dup", "r.two.dup"])
def test_no_form_reads_a_name_that_stands_in_two_schemas(ann: StockClient, table: str) -> None:
    for query in QUERIES:
        with pytest.raises(ClientError, match=r"schemas main, two.*r\.query"):
            ann.rows(query.format(table))


def test_a_query_that_the_user_wrote_means_what_duckdb_means_by_it(ann: StockClient) -> None:
    assert ann.there("SELECT count(*) FROM dup") == [(100,)]
    assert ann.there("SELECT count(*) FROM two.dup") == [(3,)]


def test_tables_are_made_filled_and_dropped_in_a_schema(ann: StockClient) -> None:
    ann.rows("CREATE TABLE r.two.made AS SELECT range AS i FROM range(3000)")
    ann.rows("INSERT INTO r.two.made VALUES (1)")
    assert ann.rows("SELECT count(*), sum(i)::BIGINT FROM r.two.made") == [(3001, 4498501)]
    ann.rows("DROP TABLE r.two.made")
    assert ann.there("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'made'") == [(0,)]


@pytest.fixture(scope="module")
def stranger(port: int) -> str:
    """The session of a client of a version that nobody has tried."""
    answer = post(port, wire.connection_request(wire.ConnectionRequest(ANN, "v1.5.9")))
    return wire.parse_connection_response(answer.content).connection_id


SHAPES = (
    "FROM {}",
    'SELECT "i" FROM {}',
    "SELECT NULL::INTEGER FROM {}",
    "SELECT #1 AS x FROM {}",
    "SELECT #1 FROM {} WHERE (#1 = 2)",
    "/* scan */ select i from {} limit 2",
    "WITH x AS (FROM {}) FROM x",
    "SELECT 1 WHERE EXISTS (FROM {})",
    "INSERT INTO {} VALUES (1)",
    "SELECT (SELECT count(*) FROM t, {})",
)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_client_that_is_not_known_gets_no_name_that_stands_in_two_schemas(
    port: int, stranger: str, shape: str
) -> None:
    for name in ("dup", "DUP", '"dup"', "'dup'"):
        answer = post(port, wire.prepare(stranger, shape.format(name))).content
        assert "'dup' stands in the schemas main, two" in wire.parse_error(answer).lower()
    answer = post(port, wire.prepare(stranger, shape.format("two.dup"))).content
    assert wire.parse_header(answer).type is wire.MessageType.PREPARE_RESPONSE or "#1" in shape


@pytest.mark.parametrize("shape", [each for each in SHAPES if "#" in each or "NULL" in each])
def test_what_begins_like_a_scan_and_is_none_that_is_known_is_refused_too(port: int, shape: str) -> None:
    answer = post(port, wire.connection_request(wire.ConnectionRequest(ANN, f"v{VERSIONS[-1]}")))
    session = wire.parse_connection_response(answer.content).connection_id
    answer = post(port, wire.prepare(session, shape.format(identifier("dup"))))
    assert "stands in the schemas main, two" in wire.parse_error(answer.content)


def test_every_client_that_counts_as_known_is_tried_here() -> None:
    assert {f"v{version}" for version in VERSIONS} == native_names.KNOWN
