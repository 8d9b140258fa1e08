"""A backup into place, as an epoch of its own, with the old file kept.

A restore leaves a note in the backup place. While it says that the restore runs, nobody may maintain the
lake; afterwards it tells `azquack maintain` that backups from before it may name files which the restored
catalog does not know, and which are no orphans therefore.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from azquack import epochs
from azquack.backup.backups import Backups
from azquack.backup.manifest import Manifest
from azquack.backup.places import Place
from azquack.errors import BackupError
from azquack.lease import Lease

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
    backups: Backups, wanted: Manifest, directory: Path, lease: Lease, inspect: Callable[[Path], None]
) -> tuple[Path, Path | None]:
    """Make the backup `wanted` the catalog in `directory`; its file, and where the old one went, if there was one.

    `inspect` looks at the fetched file and raises when it will not do. The restored file is a new epoch under
    `lease`, which nobody else may hold. Raises `BackupError`, `LakeError`.
    """
    with tempfile.TemporaryDirectory(prefix=".restoring-", dir=directory) as scratch:
        draft = Path(scratch) / epochs.FILE
        backups.fetch(wanted, draft)
        inspect(draft)
        grant = lease.acquire()
        if grant is None:
            raise BackupError(f"the catalog in {directory} is in use: stop it first, then restore")
        try:
            note = Note(datetime.now(UTC), done=False)
            note.write(backups.place)
            kept = epochs.keep(directory, f"{epochs.FILE}.before-restore-{note.time:%Y%m%dT%H%M%SZ}")
            lease.renew(grant)
            restored = epochs.begin(directory, grant.epoch, draft)
            epochs.settle(restored)
        finally:
            lease.release(grant)
    Note(note.time, done=True).write(backups.place)
    # The old note is the same file; one left by a restore that was cut short is settled by this one.
    for stale in notes(backups.place):
        if not stale.done:
            Note(stale.time, done=True).write(backups.place)
    return restored, kept
