"""A catalog that an older DuckLake made: kept, migrated, checked; one of a newer DuckLake: refused.

DuckDB itself reads the files of all its older versions
(https://duckdb.org/docs/stable/internals/storage#compatibility); DuckLake asks for a migration of the tables.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from azquack.catalog import epochs
from azquack.catalog.check import metadata
from azquack.errors import LakeError
from azquack.lake import extensions
from azquack.process import drafts
from azquack.sql import first_line, literal

log = logging.getLogger(__name__)

# The format that the pinned ducklake extension writes; a test holds the two together.
FORMAT = "1.0"


def prepare(catalog: Path) -> Path | None:
    """Make the file `catalog`, which nobody serves yet, fit to be served.

    Gives the copy of the older file when one was migrated. Raises `LakeError` when the file is of a newer
    DuckDB or DuckLake, or when the migration fails; the file is unchanged then.
    """
    found = format_of(catalog)
    if found is None or found == FORMAT:
        return None
    refuse_newer(catalog, found)
    directory = epochs.directory_of(catalog)
    kept = directory / f"{catalog.name}.before-upgrade-{found}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    drafts.sweep_directories(directory, epochs.UPGRADING)
    drafts.need(2 * catalog.stat().st_size, directory, f"the upgrade of {catalog} from DuckLake {found}")
    try:
        with drafts.directory(directory, epochs.UPGRADING) as scratch:
            old, draft = scratch / "old", scratch / "new"
            for copy in (old, draft):
                shutil.copy2(catalog, copy)
            _migrate(draft)
            damage = metadata.damage(draft)
            if damage:
                raise LakeError(
                    f"{catalog} was not upgraded from DuckLake {found}: {damage[0].subject}. "
                    f"{damage[0].rule.meaning} Mend it with the older version first"
                )
            old.rename(kept)
            draft.replace(catalog)
    except OSError as error:
        raise LakeError(
            f"{catalog} cannot be kept before its upgrade: {(error.strerror or '').lower()}"
        ) from None
    log.info("upgraded the catalog", extra={"from": found, "to": FORMAT, "kept": str(kept)})
    return kept


def refuse_newer(catalog: Path, found: str) -> None:
    """Raises `LakeError` when `found`, the format of the file `catalog`, is newer than ours."""
    if _order(found) > _order(FORMAT):
        raise LakeError(
            f"{catalog} was made by a newer DuckLake (format {found}, this AzQuack reads up to {FORMAT}): "
            "start a newer AzQuack on it"
        )


def format_of(catalog: Path) -> str | None:
    """The DuckLake format of the file `catalog`; None when there is no lake in it, or it cannot be opened.

    The file's write-ahead log, if there is one, is written into it: afterwards the file alone is the catalog.
    """
    if not catalog.exists():
        return None
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"ATTACH {literal(str(catalog))} AS old")
            connection.execute("CHECKPOINT old")
            rows = connection.execute(
                "SELECT value FROM old.ducklake_metadata WHERE key = 'version'"
            ).fetchall()
    except duckdb.Error:
        # A file that is locked, damaged or of a newer DuckDB: whoever opens it next says so.
        return None
    return str(rows[0][0]) if rows else None


def _migrate(draft: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        extensions.link_all(Path(scratch))
        with duckdb.connect(":memory:", config=extensions.config(Path(scratch))) as connection:
            connection.execute("LOAD ducklake")
            try:
                connection.execute(
                    f"ATTACH {literal(f'ducklake:{draft}')} AS lake (AUTOMATIC_MIGRATION true)"
                )
                connection.execute("DETACH lake")
            except duckdb.Error as error:
                raise LakeError(
                    f"the catalog cannot be brought to DuckLake {FORMAT}: {first_line(error)}"
                ) from None


def _order(version: str) -> tuple[int, ...]:
    """`0.3-dev1` sorts as 0.3."""
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdigit())
