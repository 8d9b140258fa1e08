"""Who splits a statement into tokens, and whose idea of it is DuckDB's: docs/decisions/tokenizer.md."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import duckdb
import sqlglot
from sqlglot.errors import SqlglotError

from azquack.policy.errors import Refused
from azquack.policy.lexer import Text
from bench.decisions.measure import Figures, Table, rounds

STATEMENTS = (
    "SELECT a, b FROM s.t WHERE a = 'it''s' AND b > 1.5e3 ORDER BY ALL",
    "WITH x AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM x) FROM x JOIN y USING (i) WHERE i IN (1, 2, 3)",
    "UPDATE \"quoted \"\"name\" SET v = $1::INTEGER[], w = {'k': [1, 2]} WHERE x -> '$.a' = $tag$text$tag$",
    "INSERT INTO t VALUES " + ", ".join(f"({each}, 'value {each}')" for each in range(200)),
)
# DuckDB runs all of these; a policy that splits one otherwise can be led past what it guards.
HARD = (
    "SELECT /* a /* nested */ comment */ 1",
    "SELECT $tag$ it's $tag$",
    "SELECT $$ -- no comment $$",
    "SELECT e'\\'' AS a",
    "FROM (VALUES (1)) t(x) SELECT x",
    "SELECT 1_000_000",
    "SELECT x'ab'::BLOB",
    "SELECT [x for x in [1, 2] if x > 1]",
    "SELECT 'a'\n'b'",
    "SELECT 1::INT//2",
    "SELECT\u00a01",
    "SELECT 10!",
    "SELECT @ -1",
    "SELECT {'a': 1}.a",
    "SELECT #1 FROM (SELECT 1)",
    "PIVOT (SELECT 1 AS a, 2 AS b) ON a USING sum(b)",
    "SELECT COLUMNS('a') FROM (SELECT 1 AS a)",
    "SELECT list_transform([1], lambda x: x + 1)",
    "SELECT 'a' ~~~ '*'",
    "SELECT 1 IS DISTINCT FROM 2",
    "SELECT * EXCLUDE (a) FROM (SELECT 1 AS a, 2 AS b)",
    "SELECT (1).add(2)",
    "SELECT 0xFF",
    "SELECT '\u2003' AS wide",
)
REPEATS = 100


def run(count: int) -> list[Table]:
    """The table of `count` rounds, and one of the statements that DuckDB splits otherwise."""
    contenders: dict[str, Callable[[str], list[int]]] = {
        "ours, over DuckDB's lexer": with_ours, "duckdb.tokenize": with_duckdb, "sqlglot": with_sqlglot,
    }  # fmt: skip
    return [rounds("Tokens", {name: partial(measured, each) for name, each in contenders.items()}, count)]


def measured(split: Callable[[str], list[int]]) -> Figures:
    """CPU for the statements, and how many of the hard ones come out otherwise than DuckDB has them."""
    before = time.process_time()
    for _ in range(REPEATS):
        for each in STATEMENTS:
            split(each)
    spent = time.process_time() - before
    return {"CPU": spent, f"of {len(HARD)} hard ones not as DuckDB has them!": float(len(_otherwise(split)))}


def with_ours(sql: str) -> list[int]:
    return [each.start for each in Text(sql).tokens]


def with_duckdb(sql: str) -> list[int]:
    return [start for start, _ in duckdb.tokenize(sql)]


def with_sqlglot(sql: str) -> list[int]:
    # Offsets of sqlglot count characters, DuckDB's count bytes; a quoted token's start is that of its quote.
    return [len(sql[: each.start].encode()) for each in sqlglot.tokenize(sql, read="duckdb")]


def _otherwise(split: Callable[[str], list[int]]) -> list[str]:
    """The hard statements that DuckDB runs and whose tokens begin elsewhere than in its own lexer."""
    found = []
    for sql in HARD:
        try:
            starts = split(sql)
        except (SqlglotError, Refused):
            found.append(sql)
            continue
        if starts != with_duckdb(sql):
            found.append(sql)
    return found
