"""Rows that are kept in the catalog, written to Parquet as a flush would do it, and read back."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb

from azquack.catalog.check.finding import Finding, Rule
from azquack.sql import first_line, identifier, literal

UNFLUSHABLE = Rule(
    "unflushable-rows",
    "Rows of a table that are kept in the catalog cannot be written to Parquet: ducklake_flush_inlined_data fails, for "
    "every table when it is called for all.",
    "UPDATE these values, or DELETE the rows. azquack maintain flushes the other tables meanwhile.",
)
NOT_KEPT = Rule(
    "not-kept-by-parquet",
    "Rows of a table that are kept in the catalog will come back as others once they are flushed to Parquet.",
    "Copy them into a column of a type that is kept (docs/known-limits.md) before the next azquack maintain.",
)
# Every other type of a lake is kept: tests/test_lake_features.py.
_TYPES = ("INTERVAL", "HUGEINT", "TIMESTAMP_S", "TIME_NS", "TIME WITH TIME ZONE")
_OWN = 3


def unkept(connection: duckdb.DuckDBPyConnection, metadata: str) -> Iterator[Finding]:
    """What the live inlined rows of the attached copy `metadata` lose in Parquet."""
    tables = connection.execute(
        f"SELECT i.table_name, any_value(t.table_name) FROM {metadata}.ducklake_inlined_data_tables AS i "
        f"JOIN {metadata}.ducklake_table AS t USING (table_id) WHERE t.end_snapshot IS NULL AND i.table_name IN "
        f"(SELECT table_name FROM duckdb_tables() WHERE database_name = {literal(metadata)}) GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    for inlined, table in tables:
        source = f"{metadata}.{identifier(str(inlined))}"
        columns = connection.execute(f"DESCRIBE {source}").fetchall()[_OWN:]
        risky = [(str(name), str(kind)) for name, kind, *_ in columns if any(each in kind for each in _TYPES)]
        for name, kind in risky:
            if found := _column(connection, source, identifier(name), kind):
                rule, problem = found
                yield Finding(rule, f"{table}, column {name} ({kind}): {problem}")


def _column(
    connection: duckdb.DuckDBPyConnection, source: str, column: str, kind: str
) -> tuple[Rule, str] | None:
    rows = f"SELECT {column} AS v FROM {source} WHERE end_snapshot IS NULL AND {column} IS NOT NULL"
    [(number,)] = connection.execute(f"SELECT count(*) FROM ({rows})").fetchall()
    if not number:
        return None
    if "TIME_NS" in kind:
        # An internal error, which would end this DuckDB.
        return UNFLUSHABLE, f"{number:,} rows"
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        file = literal(str(Path(scratch) / "rows.parquet"))
        try:
            connection.execute(f"COPY ({rows}) TO {file} (FORMAT parquet)")
        except duckdb.Error as error:
            return UNFLUSHABLE, first_line(error)
        try:
            back = f"SELECT v::{kind} AS v FROM read_parquet({file})"
            # As text: equal intervals and times may be written differently.
            [(lost,)] = connection.execute(
                f"SELECT count(*) FROM (SELECT v::VARCHAR FROM ({rows}) EXCEPT ALL SELECT v::VARCHAR FROM ({back}))"
            ).fetchall()
        except duckdb.Error as error:
            return NOT_KEPT, first_line(error)
    return (NOT_KEPT, f"{lost:,} of {number:,} rows") if lost else None
