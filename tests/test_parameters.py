"""Values from a client to the SQL of the node: parameters of the client's own, which its DuckDB quotes."""

from __future__ import annotations

import math
import random
import string
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest

from tests.cluster import Pair, attached, remote

QUOTED = (
    "CREATE TEMP MACRO quoted(value) AS CASE WHEN value IS NULL THEN 'NULL' "
    "ELSE '''' || replace(value::VARCHAR, '''', '''''') || '''::' || typeof(value) END"
)
"""As docs/loading.md gives it."""
ODD = (
    "", "'", "''", "\\", "\\'", '"', "'; DROP TABLE victims; --", "' OR '1'='1", "$1", "$$", "{}", "{0}", "%s", "?",
    "/*", "*/ --", "\n\r\t", "🦆", "\u00a0", "\u202e", "NULL", "'::INTEGER", "E'\\''", "U&'\\0027'", "x" * 5000,
)  # fmt: skip


def values(seed: int) -> list[Any]:
    """Odd ones of each type that clients hand over."""
    chosen = random.Random(seed)
    signs = string.printable + "'\"\\';-äß🦆"
    made: list[Any] = ["".join(chosen.choices(signs, k=chosen.randrange(40))) for _ in range(20)]
    made += [bytes(chosen.choices(range(256), k=chosen.randrange(20))) for _ in range(10)]
    made += [
        None,
        True,
        0,
        -1,
        2**63 - 1,
        -(2**63),
        1.5,
        1e300,
        math.inf,
        Decimal("-12.340"),
        date(2026, 11, 29),
    ]
    made += [datetime(2026, 11, 29, 1, 2, 3, 4), time(1, 2, 3), timedelta(days=-1, seconds=3), UUID(int=7)]
    made += [datetime(2026, 11, 29, tzinfo=UTC), ["a'b", None, "]", "', '"], [1, 2], [b"'\x00"]]
    made += [{"k": "v'", "n": [1]}, {"'; DROP TABLE victims; --": 1}, {'a" INTEGER)': "x"}, [[], ["'"]]]
    return [*ODD, *made]


@pytest.fixture
def client(pair: Pair, home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A client that knows `quoted`, and a table that must not go."""
    with attached(pair, home) as opened:
        opened.execute(remote("CREATE OR REPLACE TABLE victims AS SELECT 1 AS i")).fetchall()
        opened.execute(QUOTED)
        yield opened


def test_a_value_comes_out_as_it_went_in_whatever_it_is(client: duckdb.DuckDBPyConnection) -> None:
    for value in values(7):
        [(same,)] = client.execute("SELECT ?", [value]).fetchall()
        [(told,)] = client.execute("FROM r.query('SELECT ' || quoted(?) || ' AS told')", [value]).fetchall()
        assert told == same, value
    assert client.execute(remote("FROM victims")).fetchall() == [(1,)]


def test_many_rows_go_into_one_statement_and_one_snapshot(client: duckdb.DuckDBPyConnection) -> None:
    """What clients with 1,000 single rows do in place of 1,000 commits."""

    def snapshots() -> int:
        [(count,)] = client.execute(remote("SELECT count(*) FROM lake.snapshots()")).fetchall()
        return int(count)

    rows = [(number, ODD[number % len(ODD)]) for number in range(1000)]
    client.execute("CREATE OR REPLACE TABLE r.single (i INTEGER, t VARCHAR)")
    client.execute("CREATE TEMP TABLE staged (i INTEGER, t VARCHAR)")
    client.executemany("INSERT INTO staged VALUES (?, ?)", rows)
    before = snapshots()
    client.execute("INSERT INTO r.single FROM staged")
    assert snapshots() == before + 1
    assert client.execute(remote("FROM single ORDER BY i")).fetchall() == rows
    client.execute(remote("BEGIN")).fetchall()
    for row in rows[:20]:
        client.execute(
            "FROM r.query('INSERT INTO single VALUES (' || quoted(?) || ', ' || quoted(?) || ')')", row
        )
    client.execute(remote("COMMIT")).fetchall()
    assert snapshots() == before + 2


def test_rows_sent_before_an_error_are_kept_and_the_error_says_so(client: duckdb.DuckDBPyConnection) -> None:
    client.execute(remote("CREATE OR REPLACE TABLE strict (i BIGINT NOT NULL)")).fetchall()
    client.execute("CALL quack_clear_cache()")
    late = "INSERT INTO r.strict SELECT CASE WHEN i = 9000 THEN NULL ELSE i END FROM range(10000) t(i)"
    with pytest.raises(duckdb.Error, match="Rows that were sent before these are kept"):
        client.execute(late)
    [(kept,)] = client.execute(remote("SELECT count(*) FROM strict")).fetchall()
    assert 0 < kept < 9000
    client.execute(remote("BEGIN")).fetchall()
    with pytest.raises(duckdb.Error, match="NOT NULL"):
        client.execute(late)
    client.execute(remote("ROLLBACK")).fetchall()
    assert client.execute(remote("SELECT count(*) FROM strict")).fetchall() == [(kept,)]
