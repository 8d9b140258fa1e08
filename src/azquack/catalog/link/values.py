"""Columns and values that Parquet does not keep as they are: the statements that refuse them within their own commit.

A row stays in the catalog at first, as it is, and moves to Parquet at a flush. What changes on the way, or stops the
flush or the merge of every table in the lake, is refused when the column is made, or, where it is a matter of the
value, when that is written. `docs/known-limits.md` lists what upstream does with each.
"""

from __future__ import annotations

import re

from azquack.catalog.link import statements
from azquack.sql import literal

# By DuckLake's names of the types.
REFUSED = {
    "interval": "an INTERVAL loses its microseconds in Parquet, and a negative one cannot be written: keep a BIGINT of "
    "microseconds, or two timestamps",
    "time_ns": "TIME_NS cannot be written to Parquet: use TIME, or a number of nanoseconds",
}
IN_MAP = "what Parquet does to a HUGEINT or a TIMESTAMP_S cannot be seen within a MAP: use DECIMAL(38,0), or TIMESTAMP"
TOO_LARGE = (
    "a HUGEINT is a DOUBLE in Parquet, which keeps whole numbers up to 9007199254740992, and a larger one may stop the "
    "merge of every table: cast it to DECIMAL(38,0) or VARCHAR"
)
INFINITE = (
    "an infinite TIMESTAMP_S cannot be written to Parquet, and would stop every table's flush: use TIMESTAMP"
)
WIDENED = (
    "a FLOAT that becomes a DOUBLE is compared wrongly with what older files hold, and filters find and delete "
    "other rows than they say: add a DOUBLE column, UPDATE it, drop the old one and rename"
)
_IN_MAP = "('int128', 'uint128', 'timestamp_s')"
# What every such value looks like in the statistics of a commit; the catalog then knows the columns' types.
_SUSPECT = re.compile(r"'-?(?:\d{16,}|infinity)'")
_INSERTED = re.compile(r"\b(?:inserted_into_table|inlined_insert):(\d+)")


def refusals(commit: str) -> list[str]:
    """Statements for the end of the batch `commit`: one fails when the commit holds what Parquet does not keep."""
    schema, snapshot = statements.schema_of(commit), statements.snapshot_of(commit)
    found = []
    if "ducklake_column VALUES" in commit:
        found += _columns(f"{schema}ducklake_column", snapshot)
    if _SUSPECT.search(commit) and (tables := set(_INSERTED.findall(statements.changes_of(commit)))):
        largest = "greatest(abs(TRY_CAST(s.min_value AS HUGEINT)), abs(TRY_CAST(s.max_value AS HUGEINT)))"
        found.append(
            f"SELECT error(CASE c.column_type WHEN 'timestamp_s' THEN {literal(INFINITE)} "
            f"ELSE {literal(TOO_LARGE)} END) FROM {schema}ducklake_table_column_stats AS s "
            f"JOIN {schema}ducklake_column AS c USING (table_id, column_id) WHERE c.end_snapshot IS NULL "
            f"AND s.table_id IN ({', '.join(sorted(tables))}) AND CASE c.column_type "
            f"WHEN 'timestamp_s' THEN s.max_value = 'infinity' OR s.min_value = '-infinity' "
            f"WHEN 'int128' THEN {largest} > 9007199254740992 "
            f"WHEN 'uint128' THEN TRY_CAST(s.max_value AS UHUGEINT) > 9007199254740992 ELSE false END"
        )
    return found


def _columns(table: str, snapshot: int) -> list[str]:
    messages = " ".join(f"WHEN {literal(name)} THEN {literal(said)}" for name, said in REFUSED.items())
    # A column that was there before may be renamed, commented and given a default.
    new = (
        f"c.begin_snapshot = {snapshot} AND NOT EXISTS (FROM {table} AS o WHERE o.table_id = c.table_id "
        f"AND o.column_id = c.column_id AND o.begin_snapshot < {snapshot})"
    )
    return [
        f"SELECT error(CASE c.column_type {messages} END) FROM {table} AS c "
        f"WHERE c.column_type IN ({', '.join(map(literal, REFUSED))}) AND {new}",
        f"SELECT error({literal(IN_MAP)}) FROM (WITH RECURSIVE inside AS ("
        f"SELECT table_id, column_id FROM {table} WHERE column_type = 'map' AND begin_snapshot = {snapshot} "
        f"UNION SELECT n.table_id, n.column_id FROM {table} AS n JOIN inside AS i "
        f"ON n.table_id = i.table_id AND n.parent_column = i.column_id AND n.end_snapshot IS NULL) FROM inside) "
        f"JOIN {table} AS c USING (table_id, column_id) WHERE c.column_type IN {_IN_MAP} AND {new}",
        f"SELECT error({literal(WIDENED)}) FROM {table} AS c JOIN {table} AS o USING (table_id, column_id) "
        f"WHERE c.begin_snapshot = {snapshot} AND o.end_snapshot = {snapshot} "
        "AND c.column_type = 'float64' AND o.column_type = 'float32'",
    ]
