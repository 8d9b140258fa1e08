"""Metadata against the files that are there."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import duckdb

from azquack.catalog.check.finding import Finding, Rule
from azquack.sql import literal

MISSING = Rule(
    "missing-file",
    "The metadata names a file that is not there: reading its table fails.",
    "Bring the file back (soft delete or versions of the storage). Else delete its rows from "
    "ducklake_data_file, or restore a backup.",
)
MISSING_OLD = Rule(
    "missing-old-file",
    "A file that only older snapshots need is not there: time travel to them fails, the present is whole.",
    "Nothing, when you do not need those snapshots: azquack maintain forgets them in time.",
    serious=False,
)
SIZE = Rule(
    "wrong-size",
    "A file has another size than when it was written: it was cut short or replaced.",
    "Bring the right file back (soft delete or versions of the storage), or restore a backup.",
)
ORPHAN = Rule(
    "unnamed-file",
    "Files lie under the data path that no snapshot names: a writer died before its commit.",
    "azquack maintain deletes them.",
)

# Every path that the metadata names, in full. A table may have several versions, all with one path.
NAMED = """
    CREATE OR REPLACE TEMP TABLE named AS
    WITH root AS (SELECT value AS path FROM {m}.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL),
    tables AS (
        SELECT DISTINCT ON (t.table_id) t.table_id, s.schema_name || '.' || t.table_name AS name,
               CASE WHEN NOT t.path_is_relative THEN t.path
                    WHEN NOT s.path_is_relative THEN s.path || t.path
                    ELSE root.path || s.path || t.path END AS path
        FROM {m}.ducklake_table AS t JOIN {m}.ducklake_schema AS s USING (schema_id), root
        ORDER BY t.begin_snapshot DESC, s.begin_snapshot DESC
    ),
    files AS (
        SELECT table_id, data_file_id AS id, path, path_is_relative, file_size_bytes, record_count,
               begin_snapshot, end_snapshot, mapping_id, encryption_key, 'data' AS kind
        FROM {m}.ducklake_data_file
        UNION ALL
        SELECT table_id, delete_file_id, path, path_is_relative, file_size_bytes, delete_count,
               begin_snapshot, end_snapshot, NULL, encryption_key, 'delete'
        FROM {m}.ducklake_delete_file
    )
    SELECT f.kind, f.id, f.table_id, t.name AS table_name, f.file_size_bytes AS size, f.record_count,
           f.begin_snapshot, f.end_snapshot, f.mapping_id, f.encryption_key IS NOT NULL AS encrypted,
           CASE WHEN f.path_is_relative THEN t.path || f.path ELSE f.path END AS path
    FROM files AS f JOIN tables AS t USING (table_id)
"""
SCHEDULED = """
    SELECT CASE WHEN path_is_relative THEN (SELECT value FROM {m}.ducklake_metadata WHERE key = 'data_path'
                AND scope IS NULL) ELSE '' END || path FROM {m}.ducklake_files_scheduled_for_deletion
"""


def prepare(connection: duckdb.DuckDBPyConnection, metadata: str, data_path: str) -> None:
    """Make the temporary tables `named` (what the database `metadata` names) and `present` (what is there).

    Raises `duckdb.Error` when the storage cannot be listed.
    """
    connection.execute(NAMED.format(m=metadata))
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE present (path VARCHAR, size BIGINT, modified TIMESTAMPTZ)"
    )
    _list(connection, data_path + "**")
    outside = connection.execute(
        "SELECT DISTINCT path FROM named WHERE NOT starts_with(path, ?)", [data_path]
    ).fetchall()
    for (path,) in outside:
        _list(connection, path)


def _list(connection: duckdb.DuckDBPyConnection, pattern: str) -> None:
    # Names, sizes and times only: read_blob opens no file for them.
    listing = f"SELECT filename, size, last_modified FROM read_blob({literal(pattern)})"
    try:
        connection.execute(f"INSERT INTO present {listing}")
    except duckdb.Error as error:
        if "No files found" not in str(error):
            raise


def missing(connection: duckdb.DuckDBPyConnection) -> Iterator[Finding]:
    """Files that are named and not there, or of another size."""
    rows = connection.execute(
        """
        SELECT n.kind || ' file ' || n.path || ' of ' || n.table_name, n.end_snapshot IS NULL, p.path IS NULL,
               n.size, p.size
        FROM named AS n LEFT JOIN present AS p USING (path)
        WHERE p.path IS NULL OR p.size <> n.size ORDER BY n.path
        """
    ).fetchall()
    for subject, live, gone, said, found in rows:
        if gone:
            yield Finding(MISSING if live else MISSING_OLD, subject)
        else:
            yield Finding(SIZE, f"{subject}: {found:,} bytes instead of {said:,}")


def orphans(
    connection: duckdb.DuckDBPyConnection, metadata: str, now: datetime, age: timedelta
) -> Iterator[Finding]:
    """Parquet files older than `age` that nothing names; a younger one may be a commit on its way."""
    rows = connection.execute(
        f"""
        SELECT path, size FROM present WHERE path LIKE '%.parquet' AND modified < ?
          AND path NOT IN (SELECT path FROM named) AND path NOT IN ({SCHEDULED.format(m=metadata)})
        ORDER BY path
        """,
        [now - age],
    ).fetchall()
    for path, size in rows:
        yield Finding(ORPHAN, f"{path} ({size:,} bytes)")
