"""A backup into place, with the old file kept.

A restore leaves a note in the backup place. While it says that the restore runs, nobody may maintain the
lake; afterwards it tells `azquack maintain` that backups from before it may name files which the restored
catalog does not know, and which are no orphans therefore.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from azquack.backup.backups import Backups
from azquack.backup.manifest import Manifest
from azquack.backup.places import Place
from azquack.errors import BackupError

_NOTE = "restored-"


@dataclass(frozen=True, slots=True)
class Note:
    """A restore that began at `time` (UTC); `done` says whether it came to its end."""

    time: datetime
    done: bool

    @property
    def name(self) -> str:
        """Its name in the place."""
        return f"{_NOTE}{self.time:%Y%m%dT%H%M%S.%fZ}.note"

    def write(self, place: Place) -> None:
        """Put it into the place. Raises `BackupError`."""
        with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
            path = Path(scratch) / "note"
            path.write_text(json.dumps({"time": self.time.isoformat(), "done": self.done}) + "\n")
            place.put(self.name, path)


def notes(place: Place) -> list[Note]:
    """The notes of all restores, the oldest first. Raises `BackupError`."""
    found = []
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        for name in place.names():
            if name.startswith(_NOTE):
                path = Path(scratch) / name
                place.get(name, path)
                values = json.loads(path.read_text())
                found.append(Note(datetime.fromisoformat(values["time"]), bool(values["done"])))
    return found


def restore(
    backups: Backups, wanted: Manifest, catalog: Path, inspect: Callable[[Path], None]
) -> Path | None:
    """Put the backup `wanted` in the place of the file `catalog`; where the old file went, if there was one.

    `inspect` looks at the fetched file and raises when it will not do. The caller owns the catalog: nothing
    serves it, and nothing can begin to. Raises `BackupError`.
    """
    refuse_in_use(catalog)
    draft = catalog.with_name(f"{catalog.name}.restoring")
    draft.unlink(missing_ok=True)
    try:
        backups.fetch(wanted, draft)
        inspect(draft)
        note = Note(datetime.now(UTC), done=False)
        note.write(backups.place)
        kept = _keep(catalog, note.time)
        # The log of the old file must never be applied to the new one; the kept copy has its own.
        _wal(catalog).unlink(missing_ok=True)
        draft.replace(catalog)
        _sync(catalog.parent)
    except OSError as error:
        raise BackupError(f"{catalog} cannot be replaced: {(error.strerror or '').lower()}") from None
    finally:
        draft.unlink(missing_ok=True)
    Note(note.time, done=True).write(backups.place)
    # The old note is the same file; one left by a restore that was cut short is settled by this one.
    for stale in notes(backups.place):
        if not stale.done:
            Note(stale.time, done=True).write(backups.place)
    return kept


def refuse_in_use(catalog: Path) -> None:
    """Raise `BackupError` when a process has the file `catalog` open. A damaged file is not in use."""
    if not catalog.exists():
        return
    try:
        duckdb.connect(str(catalog), read_only=False).close()
    except duckdb.Error as error:
        if "lock" in str(error):
            raise BackupError(f"{catalog} is in use: stop the catalog first, then restore") from None


def _keep(catalog: Path, time: datetime) -> Path | None:
    if not catalog.exists():
        return None
    kept = catalog.with_name(f"{catalog.name}.before-restore-{time:%Y%m%dT%H%M%SZ}")
    # Copied, not moved: at no moment is the catalog's place empty, where a start would make a new lake.
    shutil.copy2(catalog, kept)
    if _wal(catalog).exists():
        shutil.copy2(_wal(catalog), _wal(kept))
    return kept


def _wal(file: Path) -> Path:
    return file.with_name(f"{file.name}.wal")


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
