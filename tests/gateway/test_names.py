"""The node runs what the policy has read, with each name in full, and its own faults stay with it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import duckdb
import pytest

from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import Client, client

LAKE = (
    "lake",
    "CREATE SCHEMA s",
    "CREATE TABLE main.secret AS SELECT 'main' AS x",
    "CREATE TABLE s.secret AS SELECT 's' AS x",
    "CREATE TABLE main.t AS SELECT 1 AS i",
    "CREATE TABLE s.only AS SELECT 2 AS i",
    "CREATE MACRO main.m(a) AS a + 1",
)


@pytest.fixture(params=[True, False], ids=["the only gateway", "one of several"])
def ann(
    request: pytest.FixtureRequest, start_node: StartNode, start_gateway: StartGateway
) -> Iterator[Client]:
    gateway = start_gateway(start_node("n1", *LAKE), policy=True, only_gateway=request.param)
    with client(gateway.port) as each:
        yield each


def test_a_view_reads_what_was_read_when_it_was_made(ann: Client) -> None:
    ann.there("CREATE VIEW s.v AS FROM secret")
    ann.there("CREATE VIEW s.w AS FROM t")
    assert ann.there("FROM s.v") == [("s",)]
    ann.there("CREATE TABLE s.t AS SELECT 99 AS i")
    assert ann.there("FROM s.w") == [(1,)]


def test_what_a_session_has_for_itself_is_found_first_and_only_there(ann: Client) -> None:
    ann.there("CREATE TEMP TABLE t AS SELECT 7 AS i")
    assert ann.there("FROM t") == [(7,)]
    assert ann.there("FROM lake.t") == [(1,)]
    ann.there("DROP TABLE t")
    assert ann.there("FROM t") == [(1,)]
    ann.there("BEGIN")
    ann.there("CREATE TEMP TABLE t AS SELECT 8 AS i")
    assert ann.there("FROM t") == [(8,)]
    ann.there("ROLLBACK")
    assert ann.there("SELECT m(i) FROM t") == [(2,)]


def test_use_changes_where_bare_names_are_found(ann: Client) -> None:
    ann.there("USE s")
    assert ann.there("FROM secret") == [("s",)]
    assert ann.there('SELECT m(a.i) FROM t a, "only" b') == [(2,)]
    ann.there("CREATE TABLE made AS SELECT 3 AS i")
    assert ann.there("FROM lake.s.made") == [(3,)]
    ann.there("USE lake.main")
    assert ann.there("FROM secret") == [("main",)]


def test_columns_keep_their_names(ann: Client) -> None:
    made = ann.db.execute("FROM r.query('SELECT m(i), (SELECT max(i) FROM t), t.i FROM t')")
    assert [each[0] for each in made.description or []] == ["m(i)", "(SELECT max(i) FROM t)", "i"]


INNARDS = re.compile(r"INTERNAL|Stack Trace|0x[0-9a-f]{6}|(?<![\w:])/(?:tmp|home|usr|var|root|work)/|\+0x")


@pytest.mark.parametrize(
    "sql",
    [
        "FROM t AT (VERSION => NULL)",
        "FROM t AT (TIMESTAMP => NULL)",
        "SELECT * FROM t AT (VERSION => NULL::BIGINT), t AT (VERSION => 1)",
        "FROM t AT (VERSION => -1)",
        "FROM t AT (VERSION => 'x')",
        "FROM lake.table_changes('t', NULL, NULL)",
        "SELECT * FROM nothing",
        "SELECT error('no')",
    ],
)
def test_no_error_shows_the_inside_of_the_server(ann: Client, sql: str) -> None:
    with pytest.raises(duckdb.Error) as caught:
        ann.there(sql)
    assert not INNARDS.search(str(caught.value)), str(caught.value)
    assert ann.there("FROM t") == [(1,)]
