"""A DuckDB of our own with the lake attached."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import duckdb

from azquack.errors import LakeError
from azquack.lake import bloom_filters, extensions, lake_id, placeholders
from azquack.lake.metadata import Metadata
from azquack.process.directories import private_directory
from azquack.sql import Statement, first_line, literal
from azquack.storage import Storage

NAME = "lake"
# Written into the data path to see what time it is there, and deleted again.
PROBE = "clock.azquack"
METADATA = f"__ducklake_metadata_{NAME}"


@contextmanager
def opened(metadata: Metadata, storage: Storage) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake behind `metadata`, attached as `lake`. Raises `LakeError` when it cannot be opened, `StartError`."""
    with private_directory() as directory:
        extensions.link_all(directory / "extensions")
        (directory / "secrets").mkdir(mode=0o700)
        config = extensions.config(directory / "extensions") | {
            "secret_directory": str(directory / "secrets")
        }
        with duckdb.connect(":memory:", config=config) as connection:
            for name in dict.fromkeys(("httpfs", "ducklake", *metadata.extensions, *storage.extensions)):
                connection.execute(f"LOAD {name}")
            for each in (*metadata.secrets, *storage.statements()):
                _run(connection, each)
            bloom_filters.turn_off(connection, directory / "proof.parquet")
            if metadata.path.startswith("quack:"):
                placeholders.rename(connection, directory / "proof")
            options = ["CREATE_IF_NOT_EXISTS false"]
            options += [f"META_{name} {literal(value)}" for name, value in metadata.parameters.items()]
            try:
                connection.execute(
                    f"ATTACH {literal(f'ducklake:{metadata.path}')} AS {NAME} ({', '.join(options)})"
                )
            except duckdb.Error as error:
                raise LakeError(f"the lake cannot be attached: {first_line(error)}") from None
            yield connection


def _run(connection: duckdb.DuckDBPyConnection, each: Statement) -> None:
    try:
        connection.execute(each.text)
    except duckdb.Error as error:
        raise LakeError(f"{each.masked} failed: {each.scrub(first_line(error))}") from None


def storage_time(connection: duckdb.DuckDBPyConnection, data_path: str) -> datetime:
    """What time it is for the storage: that of the file `PROBE`, which is written now. Raises `LakeError`."""
    probe = f"{data_path}{PROBE}"
    try:
        connection.execute(f"COPY (SELECT 1 AS probe) TO {literal(probe)} (FORMAT csv)")
        rows = connection.execute(f"SELECT last_modified FROM read_blob({literal(probe + '*')})").fetchall()
    except duckdb.Error as error:
        raise LakeError(f"the data path {data_path} cannot be written: {first_line(error)}") from None
    time = rows[0][0]
    assert isinstance(time, datetime)
    return time.astimezone(UTC)


def lake_in(connection: duckdb.DuckDBPyConnection, data_path: str) -> str:
    """The lake whose mark stands in the data path; '' when there is none. Raises `LakeError`."""
    try:
        rows = connection.execute(lake_id.mark_reading(data_path)).fetchall()
    except duckdb.Error as error:
        raise LakeError(f"the data path {data_path} cannot be read: {first_line(error)}") from None
    return lake_id.lake_in(str(rows[0][0])) if rows else ""
