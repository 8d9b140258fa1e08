"""A backup into place, as an epoch of its own, with the old file kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from azquack.catalog import epochs
from azquack.catalog.backup.backups import Backups
from azquack.catalog.backup.manifest import Manifest
from azquack.catalog.backup.note import Note
from azquack.catalog.lake_places import backups_in, catalog_in
from azquack.catalog.lease import Lease
from azquack.catalog.lease.grant import Grant
from azquack.catalog.lease.held import held
from azquack.errors import BackupError
from azquack.lake import lake_id
from azquack.lake.lake_id import LakeId
from azquack.lake.state import Places, next_epoch
from azquack.process import drafts
from azquack.sql import literal


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
    drafts.sweep_directories(directory, epochs.RESTORING)
    _room_for(wanted, directory)
    with drafts.directory(directory, epochs.RESTORING) as scratch:
        draft = scratch / epochs.FILE
        backups.fetch(wanted, draft)
        inspect(draft)
        known = backups_in(backups.place, "the backups")
        grant = lease.acquire(next_epoch(Places(catalog_in(directory), backups=known)) - 1)
        if grant is None:
            raise BackupError(f"the catalog in {directory} is in use: stop it first, then restore")
        with held(lease, grant) as owned:
            note = Note(datetime.now(UTC), done=False, lake=wanted.lake, epoch=grant.epoch)
            note.write(backups.place)
            kept = epochs.keep(directory, f"{scratch.name}/kept")
            name = f"{epochs.FILE}.before-restore-{note.time:%Y%m%dT%H%M%SZ}"
            kept = _into_place(kept, directory / name) if kept else None
            lake = _identify(draft, owned.grant, [grant.lake, *known.lakes])
            restored = epochs.begin(directory, owned.grant.epoch, draft)
            lease.settle(owned.grant, lake)
            epochs.settle(restored)
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


def _identify(draft: Path, grant: Grant, known: Iterable[str]) -> str:
    """The lake of the fetched file `draft`, which becomes the state of the epoch of `grant`.

    A backup from before the ids takes the first that is `known`, so that it stays the same lake.
    """
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH {literal(str(draft))} AS restored")
        found = lake_id.read(connection, "restored")
        lake = found.lake or next(filter(None, known), "") or lake_id.new()
        adopted = found.adopted or not found.lake
        lake_id.write(connection, "restored", LakeId(lake, grant.epoch, adopted))
        connection.execute("CHECKPOINT restored")
    return lake
