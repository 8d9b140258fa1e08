"""Two query nodes with four threads each on one lake: what was acknowledged is exactly what is there."""

from __future__ import annotations

import os
from typing import Any

import pytest

from tests.link.conftest import NodeFactory
from tests.link.processes import CatalogProcess, QueryProcess
from tests.link.test_adversity import assert_whole

RUNS = int(os.environ.get("AZQUACK_TEST_RUNS", "20"))
UPDATES, INSERTS, TABLES = 8, 8, 3


def work_of(node: int) -> list[list[str]]:
    """Four threads: updates of one row, inserts, tables made and changed, tables made with rows."""
    looks = [
        f"SELECT count(*) FROM lake.made_{other}_{number}" for other in (0, 1) for number in range(TABLES)
    ]
    made = [
        [
            f"CREATE TABLE lake.bare_{node}_{n} (a INTEGER, b VARCHAR)",
            f"ALTER TABLE lake.bare_{node}_{n} DROP b",
        ]
        for n in range(TABLES)
    ]
    return [
        ["UPDATE lake.counter SET value = value + 1"] * UPDATES,
        [f"INSERT INTO lake.rows VALUES ({node * 1000 + number})" for number in range(INSERTS)],
        [statement for pair in made for statement in pair],
        [
            statement
            for number in range(TABLES)
            for statement in (
                f"CREATE TABLE lake.made_{node}_{number} AS SELECT range AS a, 'x' AS b FROM range(3000)",
                *looks,
            )
        ],
    ]


def run_once(first: QueryProcess, second: QueryProcess) -> None:
    names = [f"{kind}_{node}_{n}" for kind in ("bare", "made") for node in (0, 1) for n in range(TABLES)]
    for table in ("counter", "rows", *names):
        first.rows(f"DROP TABLE IF EXISTS lake.{table}")
    first.rows("CREATE TABLE lake.counter AS SELECT 0 AS value")
    first.rows("CREATE TABLE lake.rows (i INTEGER)")
    for node, query in enumerate((first, second)):
        query.begin_threads(work_of(node))
    results = [first.finish_threads(), second.finish_threads()]
    added = 0
    for updates, inserts, tables, looks in results:
        added += sum("rows" in each for each in updates)
        # Of two updates of one row DuckLake refuses one; all else must succeed.
        refused = [each["error"] for each in updates if "error" in each]
        assert all("conflict" in error.lower() for error in refused), refused
        assert [each["error"] for each in (*inserts, *tables) if "error" in each] == []
        for each in looks:
            # Another node's table is there with all its rows, or not there.
            assert each.get("rows") in ([[3000]], [], None), each
            assert "error" not in each or "does not exist" in each["error"], each
    assert added > 0
    for query in (first, second):
        assert query.rows("SELECT value FROM lake.counter") == [[added]]
        assert query.rows("SELECT count(*), count(DISTINCT i) FROM lake.rows") == [[2 * INSERTS, 2 * INSERTS]]
        columns: list[list[Any]] = query.rows(
            "SELECT table_name, count(*) FROM duckdb_columns() WHERE database_name = 'lake' "
            "AND table_name SIMILAR TO '(bare|made)_.*' GROUP BY ALL"
        )
        assert sorted(columns) == sorted([name, 1 if name.startswith("bare") else 2] for name in names)
    assert_whole(first)


def test_what_was_acknowledged_is_what_is_there(catalog: CatalogProcess, node: NodeFactory) -> None:
    run_once(node(), node())


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_was_acknowledged_is_what_is_there_every_time(
    catalog: CatalogProcess, node: NodeFactory
) -> None:
    first, second = node(), node()
    for _ in range(RUNS):
        run_once(first, second)


def test_what_a_node_kept_over_its_own_commit_yields_to_the_commit_of_another(node: NodeFactory) -> None:
    one, other = node(), node()
    one.rows("CREATE TABLE t (i INTEGER)")
    inserted = 0
    for turn in range(18):
        # Of one's commits some follow each other, and some have one or two of the other's between them.
        for each in (one, one, *[other] * (turn % 3)):
            each.rows(f"INSERT INTO t (i) VALUES ({inserted})")
            inserted += 1
        if turn == 9:
            # A new schema has a new table of inlined rows: what was kept of the old one would be wrong.
            other.rows("ALTER TABLE t ADD COLUMN j INTEGER")
    found = "SELECT count(*), count(DISTINCT i), count(DISTINCT rowid) FROM t"
    assert one.rows(found) == other.rows(found) == [[inserted] * 3]
    assert one.counters()["cached"] > 0
