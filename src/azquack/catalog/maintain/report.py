"""What a maintenance came to: files and bytes, before and after."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb

from azquack.catalog.maintain.lake import METADATA, NAME
from azquack.sql import literal


@dataclass(frozen=True, slots=True)
class Sizes:
    """Files and bytes that are live in the newest snapshot, and all that lie under the data path."""

    live_files: int
    live_bytes: int
    all_files: int
    all_bytes: int
    snapshots: int


def sizes(connection: duckdb.DuckDBPyConnection, data_path: str) -> Sizes:
    """The sizes of the attached lake. Raises `duckdb.Error` when the storage cannot be listed."""
    live = connection.execute(
        "SELECT coalesce(sum(file_count + delete_file_count), 0), "
        "coalesce(sum(file_size_bytes + delete_file_size_bytes), 0) "
        f"FROM ducklake_table_info({literal(NAME)})"
    ).fetchone()
    try:
        present = connection.execute(
            "SELECT count(*), coalesce(sum(size), 0) FROM "
            f"(SELECT size FROM read_blob({literal(data_path + '**')}) WHERE filename LIKE '%.parquet')"
        ).fetchone()
    except duckdb.Error as error:
        if "No files found" not in str(error):
            raise
        present = (0, 0)
    snapshots = connection.execute(f"SELECT count(*) FROM {METADATA}.ducklake_snapshot").fetchone()
    assert live
    assert present
    assert snapshots
    return Sizes(int(live[0]), int(live[1]), int(present[0]), int(present[1]), int(snapshots[0]))
