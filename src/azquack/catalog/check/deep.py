"""What only reading everything shows: pages that cannot be read, rows that are there twice, a lost catalog."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb

from azquack.catalog.backup.manifest import Manifest
from azquack.catalog.check.finding import Finding, Rule
from azquack.sql import first_line, identifier, literal

PAGE = Rule(
    "damaged-page",
    "A page in the middle of a file cannot be read: so cannot its table.",
    "Bring the right file back (soft delete or versions of the storage), or restore a backup.",
)
DOUBLED = Rule(
    "doubled-rows",
    "Rows of a table are there twice, under one row id: two updates of the same row were both committed.",
    "Find them by their row ids (SELECT rowid, * FROM the table) and delete those that are wrong.",
)
MISCOUNTED = Rule(
    "wrong-count",
    "count(*), which the catalog answers, is not the number of rows that are read.",
    "azquack maintain, whose flush puts deletions together. Then check again.",
)
OLDER = Rule(
    "older-than-backup",
    "The newest backup holds snapshots that the catalog lacks: what was acknowledged since is lost.",
    "Restore the backup: azquack restore.",
)
LAKE = "lake"

Progress = Callable[[str, int, int], None]


def pages(connection: duckdb.DuckDBPyConnection, progress: Progress) -> Iterator[Finding]:
    """Read every column of every present, unencrypted file; needs the tables of `files.prepare`."""
    paths = connection.execute(
        "SELECT DISTINCT n.path, n.table_name FROM named AS n JOIN present USING (path) WHERE NOT encrypted "
        "AND path LIKE '%.parquet' ORDER BY ALL"
    ).fetchall()
    for number, (path, table) in enumerate(paths):
        progress("reading files", number, len(paths))
        try:
            # A file that is cut short or no Parquet at all has a rule of its own.
            connection.execute("FROM parquet_file_metadata(?)", [path]).fetchall()
        except duckdb.Error:
            continue
        try:
            connection.execute("SELECT max(hash(COLUMNS(*))) FROM read_parquet(?)", [path]).fetchall()
        except duckdb.Error as error:
            yield Finding(PAGE, f"{path} of {table}: {first_line(error)}")


def rows(
    connection: duckdb.DuckDBPyConnection, catalog: Path, data_path: str, progress: Progress
) -> Iterator[Finding]:
    """Read the newest rows of every table as a client does, from the copy `catalog`; count them and their ids."""
    connection.execute("LOAD ducklake")
    connection.execute(
        f"ATTACH {literal(f'ducklake:{catalog}')} AS {LAKE} (READ_ONLY, DATA_PATH {literal(data_path)})"
    )
    try:
        tables = connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY ALL", [LAKE]
        ).fetchall()
        for number, (schema, table) in enumerate(tables):
            progress("reading tables", number, len(tables))
            name = f"{identifier(str(schema))}.{identifier(str(table))}"
            try:
                [(read, distinct)] = connection.execute(
                    f"SELECT count(rowid), count(DISTINCT rowid) FROM {LAKE}.{name} WHERE rowid >= 0"
                ).fetchall()
                [(said,)] = connection.execute(f"SELECT count(*) FROM {LAKE}.{name}").fetchall()
            except duckdb.Error:
                # The finding about its file says why.
                continue
            if read != distinct:
                yield Finding(DOUBLED, f"{schema}.{table}: {read - distinct:,} of {read:,} rows")
            if read != said:
                yield Finding(MISCOUNTED, f"{schema}.{table}: {read:,} rows instead of {said:,}")
    finally:
        connection.execute(f"DETACH {LAKE}")


def older(connection: duckdb.DuckDBPyConnection, metadata: str, newest: Manifest | None) -> Iterator[Finding]:
    """The catalog against the newest backup, where there is one."""
    if newest is None:
        return
    [(last,)] = connection.execute(f"SELECT max(snapshot_id) FROM {metadata}.ducklake_snapshot").fetchall()
    [(same,)] = connection.execute(
        f"SELECT count(*) FROM {metadata}.ducklake_snapshot WHERE snapshot_id = ? AND snapshot_time <> ?",
        [newest.snapshot, newest.snapshot_time],
    ).fetchall()
    if last is None or last < newest.snapshot:
        yield Finding(
            OLDER, f"backup {newest.name} holds snapshot {newest.snapshot}, the catalog ends at {last}"
        )
    elif same:
        yield Finding(
            OLDER, f"snapshot {newest.snapshot} of backup {newest.name} is another one in the catalog"
        )
