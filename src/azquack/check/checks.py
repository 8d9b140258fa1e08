"""All checks over one copy of a catalog."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from azquack import client, extensions
from azquack.check import files, footers
from azquack.check.finding import Finding
from azquack.check.rules import METADATA
from azquack.errors import LakeError
from azquack.settings import Settings
from azquack.sql import literal
from azquack.storage import storage_for

_NAME = "checked"


@contextmanager
def _opened(catalog: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of our own with the file `catalog` attached, read-only, as the database that is used."""
    with tempfile.TemporaryDirectory(prefix="azquack-") as home:
        extensions.link_all(Path(home))
        with duckdb.connect(":memory:", config=extensions.config(Path(home))) as connection:
            try:
                connection.execute(f"ATTACH {literal(str(catalog))} AS {_NAME} (READ_ONLY)")
                connection.execute(f"FROM {_NAME}.ducklake_snapshot LIMIT 1")
            except duckdb.Error as error:
                raise LakeError(f"{catalog} is no catalog of a lake: {client.first_line(error)}") from None
            yield connection


def metadata(catalog: Path) -> list[Finding]:
    """What is wrong inside the copy `catalog` of a lake's metadata. Raises `LakeError`."""
    with _opened(catalog) as connection:
        return _metadata(connection)


def run(catalog: Path, settings: Settings, *, orphans: bool = True, quick: bool = False) -> list[Finding]:
    """What is wrong with the lake of which the file `catalog` is a copy.

    `settings` let us into its storage; where the data lies the catalog knows itself. `orphans` looks for files
    that nothing names, `quick` opens no Parquet file. Raises `LakeError`, `SettingError`.
    """
    with _opened(catalog) as connection:
        found = _metadata(connection)
        # What is so broken that the files cannot be told apart would only raise false alarms.
        if any(each.rule.name in ("no-snapshot", "table-without-schema") for each in found):
            return found
        data_path = _data_path(connection)
        connection.execute("USE memory")
        storage = storage_for(settings.model_copy(update={"data_path": data_path, "read_only": True}))
        try:
            for name in storage.extensions:
                connection.execute(f"LOAD {name}")
            for each in storage.statements():
                connection.execute(each.text)
            files.prepare(connection, _NAME, data_path)
            found += files.missing(connection)
            if orphans:
                age = timedelta(seconds=settings.keep_files)
                found += files.orphans(connection, _NAME, datetime.now(UTC), age)
            if not quick:
                found += footers.compare(connection, _NAME)
        except duckdb.Error as error:
            raise LakeError(
                f"the files under {data_path} cannot be looked at: {client.first_line(error)}"
            ) from None
    return found


def _metadata(connection: duckdb.DuckDBPyConnection) -> list[Finding]:
    connection.execute(f"USE {_NAME}")
    return [
        Finding(rule, str(subject))
        for rule in METADATA
        for (subject,) in connection.execute(rule.find).fetchall()
    ]


def _data_path(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute(
        f"SELECT value FROM {_NAME}.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
    ).fetchone()
    if row is None:
        raise LakeError("the catalog does not say where its data lies: restore a backup")
    return str(row[0])
