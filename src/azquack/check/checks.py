"""All checks over one copy of a catalog."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from azquack.check import files, footers, metadata
from azquack.check.finding import Finding
from azquack.errors import LakeError
from azquack.settings import Settings
from azquack.sql import first_line
from azquack.storage import storage_for


def run(catalog: Path, settings: Settings, *, orphans: bool = True, quick: bool = False) -> list[Finding]:
    """What is wrong with the lake of which the file `catalog` is a copy.

    `settings` let us into its storage; where the data lies the catalog knows itself. `orphans` looks for files
    that nothing names, `quick` opens no Parquet file. Raises `LakeError`, `SettingError`.
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
            files.prepare(connection, metadata.NAME, data_path)
            found += files.missing(connection)
            if orphans:
                age = timedelta(seconds=settings.keep_files)
                found += files.orphans(connection, metadata.NAME, datetime.now(UTC), age)
            if not quick:
                found += footers.compare(connection, metadata.NAME)
        except duckdb.Error as error:
            raise LakeError(f"the files under {data_path} cannot be looked at: {first_line(error)}") from None
    return found


def _data_path(connection: duckdb.DuckDBPyConnection) -> str:
    row = connection.execute(
        f"SELECT value FROM {metadata.NAME}.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL"
    ).fetchone()
    if row is None:
        raise LakeError("the catalog does not say where its data lies: restore a backup")
    return str(row[0])
