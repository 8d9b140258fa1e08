"""Deletions against the files that they belong to, and against each other.

DuckLake keeps a deletion of a few rows of a file in the catalog, in `ducklake_inlined_delete_<table id>`, and writes a
larger one to a delete file. The two must not name the same row, nor a file that was over before.
"""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from azquack.catalog.check.finding import Finding, Rule
from azquack.sql import identifier

TWICE = Rule(
    "deleted-twice",
    "Rows of a file are deleted in two places, by two commits that did not see each other: count(*) is too low, and "
    "when they were updates the new rows may be there twice.",
    "azquack maintain, whose flush puts both into one. Then azquack check --deep names the rows that are there twice.",
)
LOST = Rule(
    "lost-deletes",
    "Rows were deleted from a file that a merge or a rewrite had replaced by then: the rows are there again.",
    "Delete them again, and remove the rows of that file from ducklake_inlined_delete_<table id> or "
    "ducklake_delete_file.",
)
COUNT = Rule(
    "wrong-delete-count",
    "A delete file holds another number of rows than the metadata says: count(*) is answered wrongly.",
    "Bring the right file back (soft delete or versions of the storage), or restore a backup.",
)
BATCH = 500
_PREFIX = "ducklake_inlined_delete_"


def prepare(connection: duckdb.DuckDBPyConnection, metadata: str) -> None:
    """Make the temporary table `inlined_deletes` of all deletions that the catalog keeps itself."""
    connection.execute(
        "CREATE OR REPLACE TEMP TABLE inlined_deletes (table_id BIGINT, file_id BIGINT, row_id BIGINT, begin BIGINT)"
    )
    tables = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = ? AND starts_with(table_name, ?)",
        [metadata, _PREFIX],
    ).fetchall()
    for (table,) in tables:
        table_id = int(str(table).removeprefix(_PREFIX))
        connection.execute(
            f"INSERT INTO inlined_deletes SELECT {table_id}, file_id, row_id, begin_snapshot "
            f"FROM {metadata}.{identifier(str(table))}"
        )


def lost(connection: duckdb.DuckDBPyConnection, metadata: str) -> Iterator[Finding]:
    """Deletions of both forms that came after the end of their file; needs the tables of `prepare`."""
    rows = connection.execute(
        f"""
        WITH made AS (
            SELECT table_id, file_id, begin, count(*) AS number, true AS inlined FROM inlined_deletes
            GROUP BY ALL
            UNION ALL SELECT table_id, data_file_id, begin_snapshot, delete_count, false
            FROM {metadata}.ducklake_delete_file
        )
        SELECT format('{{}} rows of data file id {{}} of table id {{}}, deleted in snapshot {{}}', number, file_id,
                      m.table_id, m.begin)
        FROM made AS m LEFT JOIN {metadata}.ducklake_data_file AS d ON d.data_file_id = m.file_id
        -- A file whose snapshots were all expired is gone, and what was deleted from it stays behind.
        WHERE d.end_snapshot < m.begin OR (d.data_file_id IS NULL AND m.inlined AND m.begin IN
              (SELECT snapshot_id FROM {metadata}.ducklake_snapshot)) ORDER BY ALL
        """
    ).fetchall()
    for (subject,) in rows:
        yield Finding(LOST, str(subject))


def doubled(connection: duckdb.DuckDBPyConnection, metadata: str) -> Iterator[Finding]:
    """Delete files of the newest snapshot, read; needs the tables of `prepare` and of `files.prepare`."""
    files = connection.execute(
        f"""
        SELECT n.path, n.table_name, d.data_file_id, d.delete_count FROM named AS n JOIN present USING (path)
        JOIN {metadata}.ducklake_delete_file AS d ON d.delete_file_id = n.id
        WHERE n.kind = 'delete' AND NOT n.encrypted AND d.end_snapshot IS NULL AND d.format = 'parquet' ORDER BY ALL
        """
    ).fetchall()
    for start in range(0, len(files), BATCH):
        batch = files[start : start + BATCH]
        connection.execute("CREATE OR REPLACE TEMP TABLE deleted (path VARCHAR, row_id BIGINT)")
        try:
            connection.execute(
                "INSERT INTO deleted SELECT filename, pos FROM read_parquet(?, filename = true, union_by_name = true)",
                [[path for path, *_ in batch]],
            )
        except duckdb.Error:
            # `unreadable-file` says so.
            continue
        counts = {
            path: (number, number - distinct)
            for path, number, distinct in connection.execute(
                "SELECT path, count(*), count(DISTINCT row_id) FROM deleted GROUP BY path"
            ).fetchall()
        }
        for path, table, file_id, said in batch:
            number, twice = counts.get(path, (0, 0))
            if number != said:
                yield Finding(COUNT, f"{path} of {table}: {number:,} rows instead of {said:,}")
            [(both,)] = connection.execute(
                "SELECT count(*) FROM inlined_deletes JOIN deleted USING (row_id) WHERE file_id = ? AND path = ?",
                [file_id, path],
            ).fetchall()
            if twice or both:
                yield Finding(TWICE, f"{table}: {twice + both:,} rows of data file id {file_id}, in {path}")
