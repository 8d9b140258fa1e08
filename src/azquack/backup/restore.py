"""A backup into place, as an epoch of its own, with the old file kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from azquack import drafts, epochs
from azquack.backup.backups import Backups
from azquack.backup.manifest import Manifest
from azquack.backup.note import Note
from azquack.errors import BackupError
from azquack.lease import Lease

# Its directory in that of the catalog.
_DRAFT = ".restoring-"


def restore(
    backups: Backups, wanted: Manifest, directory: Path, lease: Lease, inspect: Callable[[Path], None]
) -> tuple[Path, Path | None]:
    """Make the backup `wanted` the catalog in `directory`; its file, and where the old one went, if there was one.

    `inspect` looks at the fetched file and raises when it will not do. The restored file is a new epoch under
    `lease`, which nobody else may hold. Raises `BackupError`, `LakeError`.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BackupError(f"the catalog directory {directory} cannot be made: {error.strerror}") from None
    drafts.sweep_directories(directory, _DRAFT)
    _room_for(wanted, directory)
    with drafts.directory(directory, _DRAFT) as scratch:
        draft = scratch / epochs.FILE
        backups.fetch(wanted, draft)
        inspect(draft)
        grant = lease.acquire()
        if grant is None:
            raise BackupError(f"the catalog in {directory} is in use: stop it first, then restore")
        try:
            note = Note(datetime.now(UTC), done=False, lake=wanted.lake, epoch=grant.epoch)
            note.write(backups.place)
            kept = epochs.keep(directory, f"{scratch.name}/kept")
            lease.renew(grant)
            name = f"{epochs.FILE}.before-restore-{note.time:%Y%m%dT%H%M%SZ}"
            kept = _into_place(kept, directory / name) if kept else None
            restored = epochs.begin(directory, grant.epoch, draft)
            epochs.settle(restored)
        finally:
            lease.release(grant)
    replace(note, done=True).write(backups.place)
    # The old note is the same file; one left by a restore that was cut short is settled by this one.
    for stale in backups.inventory().notes:
        if not stale.done:
            replace(stale, done=True).write(backups.place)
    return restored, kept


def _into_place(draft: Path, kept: Path) -> Path:
    for suffix in epochs.PARTS:
        part = Path(f"{draft}{suffix}")
        if part.exists():
            part.rename(f"{kept}{suffix}")
    return kept


def _room_for(wanted: Manifest, directory: Path) -> None:
    """Raises `LakeError` when the backup and a copy of the old catalog do not fit into `directory`."""
    parts = [Path(f"{epochs.newest(directory)}{suffix}") for suffix in epochs.PARTS]
    old = sum(each.stat().st_size for each in parts if each.exists())
    what = "a restore, for the backup, its unpacked file and a copy of the old catalog,"
    drafts.need(wanted.size + max(wanted.unpacked, wanted.size) + old, directory, what)
