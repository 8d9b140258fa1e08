"""WITH clauses that bear the names of tables and of each other, at every depth, are read as DuckDB reads them."""

from __future__ import annotations

import json
import os
import random
from typing import Any

import duckdb

from azquack.policy.policy import Policy
from azquack.principals import Principal, Role

ROUNDS = int(os.environ.get("AZQUACK_TEST_ROUNDS", "400"))
EVE = Principal("eve", Role.ADMIN, "f")


class Queries:
    """Random queries over the tables `t` and `u`, whose clauses are called `t` and `u` as well."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def query(self, depth: int = 3) -> str:
        pick = self._random.choice
        first, second = pick([("t", "u"), ("u", "t")])
        forms = [f"SELECT x FROM {first}", "SELECT 9 AS x"]
        if depth > 0:
            inner, other = self.query(depth - 1), self.query(depth - 1)
            head = "WITH" + pick(["", " RECURSIVE"])
            kept = pick(["", "MATERIALIZED ", "NOT MATERIALIZED "])
            forms = [
                f"{head} {first} AS {kept}({inner}) {self._reader(depth - 1)}",
                f"{head} {first} AS ({inner}), {second} AS {kept}({other}) {self._reader(depth - 1)}",
                f"WITH RECURSIVE {first} AS (({inner}) UNION (SELECT x FROM {first})) {self._reader(depth - 1)}",
                f"({inner}) UNION ALL ({other})",
                f"SELECT x FROM ({inner}) z",
                f"SELECT x FROM {first} WHERE x IN ({inner}) OR EXISTS ({other})",
            ]
        return pick(forms)

    def _reader(self, depth: int) -> str:
        name = self._random.choice("tu")
        forms = [
            f"SELECT x FROM {name}",
            f"SELECT a.x FROM {name} a, ({self.query(depth)}) b",
            f"SELECT x FROM ({self.query(depth)}) z",
        ]
        return self._random.choice(forms)


def scanned(lake: duckdb.DuckDBPyConnection, sql: str) -> set[str]:
    ((_, plan),) = lake.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
    found: set[str] = set()
    todo: list[Any] = json.loads(plan)
    while todo:
        node = todo.pop()
        todo += node["children"]
        if table := node.get("extra_info", {}).get("Table"):
            found.add(table.split(".")[-1])
    return found


def test_a_clause_within_a_clause_of_its_name_is_read_as_duckdb_reads_it() -> None:
    policy = Policy()
    with duckdb.connect() as lake:
        lake.execute("ATTACH ':memory:' AS lake; USE lake; PRAGMA disable_optimizer")
        lake.execute("CREATE TABLE t AS SELECT 1 AS x; CREATE TABLE u AS SELECT 2 AS x")
        for seed in range(ROUNDS):
            sql = Queries(seed).query()
            verdict = policy.check(EVE, sql)
            assert verdict.allowed, f"seed {seed}: {verdict.reason}\n{sql}"
            assert verdict.sql is not None
            read = {each.table for each in verdict.reads}
            assert scanned(lake, sql) <= read, f"seed {seed}: {sql}"
            assert scanned(lake, verdict.sql) == scanned(lake, sql), f"seed {seed}: {sql}"
    policy.close()
