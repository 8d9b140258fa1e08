"""All checks over one copy of a catalog."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from azquack.catalog.backup.manifest import Manifest
from azquack.catalog.check import deep as deeper
from azquack.catalog.check import deletes, files, footers, inlined, metadata, numbers
from azquack.catalog.check.finding import Finding
from azquack.config.settings import Settings
from azquack.errors import LakeError
from azquack.sql import first_line
from azquack.storage import storage_for


@dataclass(frozen=True, slots=True)
class Deep:
    """A check that reads everything: the newest backup, if there is one, and whom to tell how far it has come."""

    newest: Manifest | None
    progress: deeper.Progress = lambda what, done, total: None


def run(
    catalog: Path, settings: Settings, *, orphans: bool = True, quick: bool = False, deep: Deep | None = None
) -> list[Finding]:
    """What is wrong with the lake of which the file `catalog` is a copy.

    `settings` let us into its storage; where the data lies the catalog knows itself. `orphans` looks for files
    that nothing names, `quick` opens no Parquet file, `deep` reads every page of each. Raises `LakeError`,
    `SettingError`.
    """
    with metadata.opened(catalog) as connection:
        found = metadata.findings(connection)
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
            deletes.prepare(connection, metadata.NAME)
            found += deletes.lost(connection, metadata.NAME)
            files.prepare(connection, metadata.NAME, data_path)
            found += files.missing(connection)
            if orphans:
                age = timedelta(seconds=settings.keep_files)
                found += files.orphans(connection, metadata.NAME, datetime.now(UTC), age)
            if not quick:
                found += footers.compare(connection, metadata.NAME)
                found += numbers.inexact(connection, metadata.NAME)
                found += deletes.doubled(connection, metadata.NAME)
                found += inlined.unkept(connection, metadata.NAME)
            if deep is not None:
                found += deeper.older(connection, metadata.NAME, deep.newest)
                found += deeper.pages(connection, deep.progress)
                connection.execute(f"DETACH {metadata.NAME}")
                found += deeper.rows(connection, catalog, data_path, deep.progress)
        except duckdb.Error as error:
            raise LakeError(f"the files under {data_path} cannot be listed: {first_line(error)}") from None
    return found


def _data_path(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute(
        f"SELECT value FROM {metadata.NAME}.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
    ).fetchone()
    if row is None:
        raise LakeError("the catalog does not say where its data lies: restore a backup")
    return str(row[0])
