"""Numbers of 128 bits in Parquet files, which keep them as DOUBLE."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from azquack.catalog.check.finding import Finding, Rule
from azquack.lake import doubles

UNREADABLE = Rule(
    "unreadable-number",
    "A HUGEINT in a Parquet file is too large to be read as one: its table cannot be read, merged or rewritten.",
    "Drop the column (ALTER TABLE … DROP COLUMN), or write the table anew without these rows.",
)
INEXACT = Rule(
    "inexact-number",
    "A HUGEINT in a Parquet file is so large that digits of it were lost when it was written.",
    "Write the values anew into a column of DECIMAL(38,0) or VARCHAR.",
    serious=False,
)


def inexact(connection: duckdb.DuckDBPyConnection, metadata: str) -> Iterator[Finding]:
    """What the live data files hold in columns of these types; needs the tables of `files.prepare`."""
    rows = connection.execute(
        f"""
        SELECT n.path, n.table_name, list(DISTINCT c.column_id) FROM named AS n JOIN present USING (path)
        JOIN {metadata}.ducklake_column AS c USING (table_id)
        WHERE n.kind = 'data' AND NOT n.encrypted AND n.end_snapshot IS NULL
          AND c.end_snapshot IS NULL AND c.column_type IN ('int128', 'uint128') GROUP BY ALL ORDER BY ALL
        """
    ).fetchall()
    for path, table, columns in rows:
        try:
            found = doubles.largest(connection, str(path), columns)
        except duckdb.Error:
            # What is no Parquet file any more, others say.
            continue
        if found >= doubles.INEXACT:
            yield Finding(
                UNREADABLE if found >= doubles.UNREADABLE else INEXACT, f"{path} of {table}: up to {found:g}"
            )
