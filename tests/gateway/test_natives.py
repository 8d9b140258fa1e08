"""Native tables of every schema, and never the wrong rows."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import Client, client

LAKE = (
    "lake",
    "CREATE TABLE t AS SELECT range AS i FROM range(10)",
    "CREATE SCHEMA demo",
    "CREATE TABLE demo.events AS SELECT range AS i, 'e' || range AS s FROM range(100)",
    "CREATE VIEW demo.twice AS SELECT i * 2 AS k FROM demo.events",
    'CREATE TABLE demo."Odd ""name" AS SELECT 5 AS five',
    "CREATE SCHEMA sa",
    "CREATE SCHEMA sb",
    "CREATE TABLE sa.same AS SELECT 'sa' AS x",
    "CREATE TABLE sb.same AS SELECT 'sb' AS x",
)


@pytest.fixture
def gateway_port(start_node: StartNode, start_gateway: StartGateway) -> int:
    """A gateway before a node whose first database is a lake."""
    return start_gateway(start_node("n1", *LAKE)).port


@pytest.fixture
def ann(gateway_port: int) -> Iterator[Client]:
    with client(gateway_port) as each:
        yield each


def test_tables_and_views_of_every_schema_are_read_natively(ann: Client) -> None:
    assert ann.rows("SELECT count(*), sum(i) FROM r.demo.events") == [(100, 4950)]
    assert ann.rows("SELECT s FROM r.demo.events WHERE i = 3") == [("e3",)]
    assert ann.rows("SELECT count(*) FROM r.demo.events") == [(100,)]
    assert ann.rows("SELECT max(k) FROM r.demo.twice") == [(198,)]
    assert ann.rows("SELECT sum(i) FROM r.t") == [(45,)]


def test_a_name_that_needs_quotes_is_read_natively(ann: Client) -> None:
    assert ann.rows('FROM r.demo."Odd ""name"') == [(5,)]


def test_tables_are_made_filled_and_dropped_natively_in_every_schema(ann: Client) -> None:
    ann.rows("CREATE TABLE r.demo.made (a INTEGER)")
    ann.rows("INSERT INTO r.demo.made VALUES (1), (2)")
    assert ann.rows("FROM r.demo.made") == [(1,), (2,)]
    ann.rows("CREATE TABLE r.sa.copied AS SELECT 3 AS b")
    assert ann.rows("FROM r.sa.copied") == [(3,)]
    ann.rows("DROP TABLE r.demo.made")
    assert ann.there("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'made'") == [(0,)]


@pytest.mark.parametrize("schema", ["sa", "sb"])
def test_a_name_in_two_schemas_is_refused_and_the_sentence_names_the_way(ann: Client, schema: str) -> None:
    with pytest.raises(duckdb.Error, match=r"schemas sa, sb.*r\.query"):
        ann.rows(f"FROM r.{schema}.same")
    assert ann.there(f"FROM {schema}.same") == [(schema,)]


def test_an_insert_into_a_name_in_two_schemas_goes_to_the_schema_that_was_named(ann: Client) -> None:
    ann.rows("INSERT INTO r.sb.same VALUES ('new')")
    assert ann.there("SELECT count(*) FROM sa.same") == [(1,)]
    assert ann.there("SELECT count(*) FROM sb.same") == [(2,)]


def test_a_second_table_of_the_name_made_later_ends_native_reads_of_it(ann: Client) -> None:
    assert ann.rows("SELECT count(*) FROM r.demo.events") == [(100,)]
    ann.there("CREATE TABLE main.events AS SELECT 'wrong' AS x")
    with pytest.raises(duckdb.Error, match="schemas demo, main"):
        ann.rows("SELECT count(*) FROM r.demo.events")
    ann.there("DROP TABLE main.events")
    assert ann.rows("SELECT count(*) FROM r.demo.events") == [(100,)]


def test_a_table_that_moved_to_another_schema_does_not_give_its_rows_under_the_old_name(ann: Client) -> None:
    ann.there("DROP TABLE demo.events")
    ann.there("CREATE TABLE sa.events AS SELECT 1 AS i, 'other' AS s")
    with pytest.raises(duckdb.Error, match="schemas demo, sa"):
        ann.rows("FROM r.demo.events")


def test_a_natively_made_table_that_moved_does_not_give_other_rows(ann: Client) -> None:
    ann.rows("CREATE TABLE r.demo.fresh (a INTEGER)")
    ann.there("DROP TABLE demo.fresh")
    ann.there("CREATE TABLE sa.fresh AS SELECT 1 AS a")
    with pytest.raises(duckdb.Error, match="schemas demo, sa"):
        ann.rows("FROM r.demo.fresh")


def test_what_a_client_was_shown_holds_at_every_gateway(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node("n1", *LAKE)
    first = start_gateway(node)
    with client(first.port) as ann:
        first.kill()
        start_gateway(node, port=first.port)
        ann.there("DROP TABLE demo.events")
        ann.there("CREATE TABLE sb.events AS SELECT 1 AS i, 'other' AS s")
        with pytest.raises(duckdb.Error, match="schemas demo, sb"):
            ann.rows("FROM r.demo.events")


def test_the_metadata_catalog_behind_the_lake_is_not_listed(ann: Client) -> None:
    with pytest.raises(duckdb.Error, match="does not exist"):
        ann.rows("FROM r.ducklake_snapshot")
