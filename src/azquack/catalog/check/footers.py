"""Metadata against what the Parquet files say of themselves in their footers."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb

from azquack.catalog.check.finding import Finding, Rule
from azquack.catalog.check.rules import NUMERIC, overlap

UNREADABLE = Rule(
    "unreadable-file",
    "A data file is not a Parquet file any more: reading its table fails.",
    "Bring the right file back (soft delete or versions of the storage), or restore a backup.",
)
ROWS = Rule(
    "wrong-row-count",
    "A file holds another number of rows than the metadata says: counts are answered wrongly.",
    "Bring the right file back (soft delete or versions of the storage), or restore a backup.",
)
DRIFT = Rule(
    "schema-drift",
    "A file's columns are not those that its table had when it was written: values are lost or misread.",
    "Bring the right file back, or write the table anew: CREATE TABLE … AS, DROP, RENAME.",
)
NARROW = Rule(
    "statistics-narrow",
    "A file holds values outside of what the metadata says: filters skip it, rows are missing from answers.",
    "--repair forgets these statistics, so that the file is always read.",
)
ROW_IDS = Rule(
    "row-ids-overlap",
    "Two files of a table claim the same row ids: an update or delete may hit the wrong row.",
    "Write the table anew: CREATE TABLE … AS, DROP, RENAME.",
)
SEALED = Rule(
    "encrypted",
    "The lake is encrypted: the columns and statistics inside its files were not compared.",
    "Nothing.",
    serious=False,
)

BATCH = 500
# The names that parquet_schema gives to DuckLake's types; nested and rarer types are not compared.
_TYPES = {
    "boolean": "BOOLEAN", "int8": "TINYINT", "int16": "SMALLINT", "int32": "INTEGER", "int64": "BIGINT",
    "uint8": "UTINYINT", "uint16": "USMALLINT", "uint32": "UINTEGER", "uint64": "UBIGINT",
    "float32": "FLOAT", "float64": "DOUBLE", "varchar": "VARCHAR", "date": "DATE",
}  # fmt: skip
# DuckLake's own columns in merged files have field ids from the upper end.
_OWN_FIELDS = 2147480000
_ROW_ID = 2147483540


def compare(connection: duckdb.DuckDBPyConnection, metadata: str) -> Iterator[Finding]:
    """What the footers of all present, unencrypted data files contradict; needs the tables of `files.prepare`."""
    sealed = connection.execute("SELECT count(*) FROM named WHERE encrypted").fetchone()
    if sealed and sealed[0]:
        yield Finding(SEALED, f"{sealed[0]} files")
    paths = [
        str(path)
        for (path,) in connection.execute(
            "SELECT n.path FROM named AS n JOIN present USING (path) WHERE n.kind = 'data' AND NOT encrypted "
            "ORDER BY ALL"
        ).fetchall()
    ]
    connection.execute("CREATE OR REPLACE TEMP TABLE counted_ids (path VARCHAR)")
    for start in range(0, len(paths), BATCH):
        readable = []
        for path, problem in _readable(connection, paths[start : start + BATCH]):
            if problem:
                yield Finding(UNREADABLE, f"{path}: {problem}")
            else:
                readable.append(path)
        if readable:
            yield from _counts(connection, readable)
            yield from _drift(connection, metadata, readable)
            yield from _narrow(connection, metadata, readable)
            _note_counted_ids(connection, readable)
    yield from _overlaps(connection, metadata)


def _readable(connection: duckdb.DuckDBPyConnection, paths: list[str]) -> Iterator[tuple[str, str]]:
    try:
        connection.execute("SELECT count(*) FROM parquet_file_metadata(?)", [paths]).fetchall()
    except duckdb.Error as error:
        if len(paths) == 1:
            yield paths[0], str(error).strip().splitlines()[0]
            return
        middle = len(paths) // 2
        yield from _readable(connection, paths[:middle])
        yield from _readable(connection, paths[middle:])
    else:
        yield from ((path, "") for path in paths)


def _counts(connection: duckdb.DuckDBPyConnection, paths: list[str]) -> Iterator[Finding]:
    rows = connection.execute(
        """
        SELECT n.path, n.table_name, f.num_rows, n.record_count FROM named AS n
        JOIN (SELECT file_name AS path, num_rows FROM parquet_file_metadata(?)) AS f USING (path)
        WHERE n.kind = 'data' AND f.num_rows <> n.record_count ORDER BY ALL
        """,
        [paths],
    ).fetchall()
    for path, table, found, said in rows:
        yield Finding(ROWS, f"{path} of {table}: {found:,} rows instead of {said:,}")


def _drift(connection: duckdb.DuckDBPyConnection, metadata: str, paths: list[str]) -> Iterator[Finding]:
    """Columns of the table at the file's first snapshot, against the file's own by field id.

    A file whose columns are found by name (`mapping_id`) carries no field ids and is left out.
    """
    names = ", ".join(f"'{ours}': '{theirs}'" for ours, theirs in _TYPES.items())
    rows = connection.execute(
        f"""
        WITH said AS (
            SELECT n.path, n.table_name, c.column_id, c.column_name, c.column_type, c.parent_column
            FROM (SELECT unnest(?) AS path) JOIN named AS n USING (path)
            JOIN {metadata}.ducklake_column AS c ON c.table_id = n.table_id
             AND c.begin_snapshot <= n.begin_snapshot
             AND n.begin_snapshot < coalesce(c.end_snapshot, 9223372036854775807)
            WHERE n.kind = 'data' AND n.mapping_id IS NULL
        ),
        found AS (
            SELECT file_name AS path, field_id AS column_id, name, duckdb_type FROM parquet_schema(?)
            WHERE field_id IS NOT NULL AND field_id < {_OWN_FIELDS}
        )
        SELECT said.path, said.table_name, CASE
            WHEN found.column_id IS NULL THEN format('has no column {{}}', said.column_name)
            ELSE format('column {{}} is {{}} instead of {{}}', said.column_name, found.duckdb_type,
                        said.column_type) END AS problem
        FROM said LEFT JOIN found USING (path, column_id)
        WHERE (found.column_id IS NULL AND said.parent_column IS NULL)
           OR found.duckdb_type <> MAP {{{names}}}[said.column_type]
        UNION ALL
        SELECT found.path, n.table_name, format('has the unknown column {{}}', found.name)
        FROM found JOIN named AS n ON n.path = found.path AND n.kind = 'data' AND n.mapping_id IS NULL
        ANTI JOIN {metadata}.ducklake_column AS c
               ON c.table_id = n.table_id AND c.column_id = found.column_id
        ORDER BY ALL
        """,
        [paths, paths],
    ).fetchall()
    for path, table, problem in rows:
        yield Finding(DRIFT, f"{path} of {table} {problem}")


def _narrow(connection: duckdb.DuckDBPyConnection, metadata: str, paths: list[str]) -> Iterator[Finding]:
    """Numeric top-level columns whose row groups reach beyond the file's statistics in the metadata."""
    rows = connection.execute(
        f"""
        WITH fields AS (
            SELECT file_name AS path, name, field_id AS column_id FROM parquet_schema(?)
            WHERE field_id IS NOT NULL
        ),
        groups AS (
            SELECT file_name AS path, path_in_schema AS name,
                   min(TRY_CAST(stats_min_value AS DOUBLE)) AS low,
                   max(TRY_CAST(stats_max_value AS DOUBLE)) AS high
            FROM parquet_metadata(?) GROUP BY ALL
        )
        SELECT n.path, n.table_name, c.column_name, g.low, g.high, s.min_value, s.max_value, n.id, s.column_id
        FROM groups AS g JOIN fields USING (path, name) JOIN named AS n ON n.path = g.path AND n.kind = 'data'
        JOIN {metadata}.ducklake_file_column_stats AS s
          ON s.data_file_id = n.id AND s.column_id = fields.column_id
        JOIN (SELECT DISTINCT ON (table_id, column_id) * FROM {metadata}.ducklake_column
              ORDER BY begin_snapshot DESC) AS c ON c.table_id = n.table_id AND c.column_id = s.column_id
        WHERE {NUMERIC} AND c.parent_column IS NULL
          AND (TRY_CAST(s.min_value AS DOUBLE) > g.low OR TRY_CAST(s.max_value AS DOUBLE) < g.high)
        ORDER BY ALL
        """,
        [paths, paths],
    ).fetchall()
    for path, table, column, low, high, said_low, said_high, file_id, column_id in rows:
        forget = (
            "UPDATE ducklake_file_column_stats SET min_value = NULL, max_value = NULL "
            f"WHERE data_file_id = {int(file_id)} AND column_id = {int(column_id)}"
        )
        subject = f"{path} of {table}, column {column}: {low:g} to {high:g}, noted {said_low} to {said_high}"
        yield Finding(NARROW, subject, (forget,))


def _note_counted_ids(connection: duckdb.DuckDBPyConnection, paths: list[str]) -> None:
    """Note the files whose rows have ids by their place: `row_id_start` and on.

    What an update, a flush, a rewrite or a merge writes carries the ids in a column of its own: an updated row
    keeps its id, so `row_id_start` and `record_count` of such a file are no range of ids.
    """
    connection.execute(
        f"INSERT INTO counted_ids SELECT unnest(?) EXCEPT "
        f"SELECT file_name FROM parquet_schema(?) WHERE field_id = {_ROW_ID}",
        [paths, paths],
    )


def _overlaps(connection: duckdb.DuckDBPyConnection, metadata: str) -> Iterator[Finding]:
    # Only files that begin before an earlier one of their table has ended are joined: a join of all with all
    # would take hours for a table of many files.
    rows = connection.execute(
        f"""
        WITH files AS (
            SELECT d.*, n.table_name, n.path AS full_path FROM {metadata}.ducklake_data_file AS d
            JOIN named AS n ON n.kind = 'data' AND n.id = d.data_file_id JOIN counted_ids AS c ON c.path = n.path
            WHERE d.row_id_start IS NOT NULL
        ),
        sorted AS (
            SELECT *, max(row_id_start + record_count) OVER (PARTITION BY table_id ORDER BY row_id_start,
                data_file_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reached FROM files
        )
        SELECT b.table_name, a.full_path, b.full_path FROM sorted AS b JOIN files AS a ON a.table_id = b.table_id
           AND (a.row_id_start, a.data_file_id) < (b.row_id_start, b.data_file_id)
           AND b.row_id_start < a.row_id_start + a.record_count AND {overlap("a", "b")}
        WHERE b.row_id_start < b.reached ORDER BY ALL
        """
    ).fetchall()
    for table, one, other in rows:
        yield Finding(ROW_IDS, f"{table}: {one} and {other}")
