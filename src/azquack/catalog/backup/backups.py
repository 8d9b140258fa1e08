"""The backups in a place: taken, listed, fetched, pruned."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azquack.catalog.backup import inventory, record
from azquack.catalog.backup.copy import State, note, session
from azquack.catalog.backup.inventory import Inventory
from azquack.catalog.backup.manifest import Manifest, time_of
from azquack.catalog.backup.places import Place
from azquack.catalog.backup.record import Noted
from azquack.catalog.backup.retention import Retention
from azquack.errors import BackupError
from azquack.lake import extensions
from azquack.lake.client import Target
from azquack.process.directories import private_directory

# Data whose manifest did not come within this time never gets one: its backup was cut short.
_LEFTOVER = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Backups:
    """The backups of the catalog of `lake` ('': of the one lake that has any there)."""

    place: Place
    retention: Retention
    lake: str = ""

    def inventory(self) -> Inventory:
        """What lies in the place. Raises `BackupError` when the place as a whole cannot be read."""
        return inventory.take(self.place, self.lake)

    def listed(self) -> list[Manifest]:
        """All whole backups of the lake, the newest first. Raises `BackupError`."""
        return list(self.inventory().backups)

    def newest(self, at: datetime | None = None) -> Manifest:
        """The newest backup, or the newest that was not taken later than `at`. Raises `BackupError`."""
        return newest(self.inventory(), self.place, at)

    def take(
        self, catalog: Target, *, unless: str | None = None, owned: Callable[[], bool] | None = None
    ) -> Manifest | None:
        """Back the served catalog up; None when its fingerprint is `unless`.

        The manifest comes last: a backup that was cut short is none, and so is one of a catalog that, where
        `owned` is given, is not owned any more when it is copied. Raises `LakeError`, `BackupError`.
        """
        self.place.sweep()
        # One that is killed on the way leaves a copy of the catalog behind, which its successor removes.
        with private_directory() as scratch:
            copied, packed = scratch / "catalog.duckdb", scratch / "packed"
            # Before the transaction begins: all that happened until then is in the copy.
            time = datetime.now(UTC)
            with session(catalog) as opened:
                state, places = opened.state(), opened.places()
                if state is None:
                    raise BackupError("the catalog holds no lake yet: there is nothing to back up")
                noted = places is None or Noted(self.place.uri, True) in places
                if noted and state.fingerprint == unless:
                    return None
                if noted:
                    opened.copy(copied)
            if not noted:
                # So that the copy knows where it lies.
                note(catalog, record.noting(self.place.uri))
                return self.take(catalog, unless=unless, owned=owned)
            if owned is not None and not owned():
                raise BackupError("this replica does not own the catalog any more: its state is no backup")
            _pack(copied, packed)
            own = Backups(self.place, self.retention, state.lake or self.lake)
            return own._keep(time, state, packed, copied.stat().st_size, scratch)

    def _keep(self, time: datetime, state: State, packed: Path, unpacked: int, scratch: Path) -> Manifest:
        found = self.inventory()
        taken = Manifest(
            time=time,
            size=packed.stat().st_size,
            sha256=_sha256(packed),
            snapshot=state.snapshot,
            snapshot_time=state.snapshot_time,
            fingerprint=state.fingerprint,
            versions={name: extensions.versions()[name] for name in ("duckdb", "ducklake")},
            lake=state.lake,
            epoch=state.epoch,
            sequence=1 + max((each.sequence for each in found.backups), default=0),
            unpacked=unpacked,
        )
        try:
            self._put(taken, packed, scratch)
        except BackupError:
            # A full place gets room from what goes after this backup anyway.
            if not self._delete(*self._expired(found, time, room_for=1)):
                raise
            self._put(taken, packed, scratch)
        return taken

    def _put(self, taken: Manifest, packed: Path, scratch: Path) -> None:
        text = scratch / "text"
        text.write_bytes(taken.dump())
        try:
            self.place.put(taken.file, packed)
            self.place.put(taken.manifest_file, text)
        except BackupError:
            self._delete([], [taken.file])
            raise

    def fetch(self, wanted: Manifest, to: Path) -> None:
        """Write the backup's DuckDB file to `to`. Raises `BackupError` when its checksum is wrong."""
        try:
            with tempfile.TemporaryDirectory(prefix="azquack-", dir=to.parent) as scratch:
                packed = Path(scratch) / "packed"
                self.place.get(wanted.file, packed)
                if (found := _sha256(packed)) != wanted.sha256:
                    raise BackupError(
                        f"the backup {wanted.name} is damaged (SHA-256 {found[:12]}… instead of "
                        f"{wanted.sha256[:12]}…): restore an older one with --at"
                    )
                with gzip.open(packed, "rb") as data, to.open("wb") as out:
                    shutil.copyfileobj(data, out)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise BackupError(
                f"the backup {wanted.name} cannot be unpacked: restore an older one with --at"
            ) from None
        except OSError as error:
            raise BackupError(
                f"the backup {wanted.name} cannot be written to {to.parent}: {(error.strerror or '').lower()}"
            ) from None

    def is_whole(self, wanted: Manifest) -> bool:
        """Whether the data of `wanted` is what was written. Raises `BackupError` when it cannot be read."""
        with private_directory() as scratch:
            self.place.get(wanted.file, scratch / "packed")
            return _sha256(scratch / "packed") == wanted.sha256

    def prune(self, now: datetime, taken: Manifest | None = None) -> list[Manifest]:
        """Delete what the retention does not keep, and leftovers; the deleted. Raises `BackupError`.

        What is damaged or another lake's stays, and so do the newest and what was just `taken`, whatever the
        times say.
        """
        self.place.sweep()
        dropped, leftovers = self._expired(self.inventory(), now, room_for=0)
        dropped = [each for each in dropped if each != taken]
        for each in dropped:
            # The manifest first: what has none is no backup.
            self.place.delete(each.manifest_file)
            self.place.delete(each.file)
        for name in leftovers:
            self.place.delete(name)
        return dropped

    def _expired(self, found: Inventory, now: datetime, *, room_for: int) -> tuple[list[Manifest], list[str]]:
        """What the retention drops once so many newer ones are there, and the names of what was cut short."""
        kept = self.retention.places([now] * room_for + found.times()) | {room_for}
        dropped = [each for place, each in enumerate(found.backups, room_for) if place not in kept]
        if found.foreign:
            # Whose the nameless ones of an older version are nobody knows.
            dropped = [each for each in dropped if each.lake]
        leftovers = [
            name
            for name, entry in found.unmanifested.items()
            if now - min(entry.modified, time_of(name) or now) > _LEFTOVER
        ]
        return dropped, leftovers

    def _delete(self, dropped: Sequence[Manifest], names: Sequence[str]) -> bool:
        """Delete as much of it as can be; whether anything went."""
        gone = False
        for name in [*(name for each in dropped for name in (each.manifest_file, each.file)), *names]:
            try:
                self.place.delete(name)
                gone = True
            except BackupError:
                continue
        return gone


def newest(found: Inventory, place: Place, at: datetime | None = None) -> Manifest:
    """The newest of `found`, or the newest that was not taken later than `at`. Raises `BackupError`."""
    if not found.backups:
        lakes = sorted({each.lake for each in found.foreign})
        if found.foreign and not found.lake:
            raise BackupError(
                f"the backups in {place.uri} are of {len(lakes)} lakes ({', '.join(lakes)}): choose one with --lake"
            )
        if found.foreign:
            raise BackupError(
                f"{place.uri} holds no backup of this lake ({found.lake}), only of {', '.join(lakes)}: "
                "correct AZQUACK_BACKUP_TO, or choose one with --lake"
            )
        if found.damaged:
            raise BackupError(f"no backup in {place.uri} is whole: {found.damaged[-1].reason}")
        raise BackupError("there is no backup yet: take one with azquack backup now")
    for each, time in zip(found.backups, found.times(), strict=True):
        if at is None or time <= at:
            return each
    oldest = found.times()[-1].isoformat(timespec="seconds")
    raise BackupError(f"no backup is that old: the oldest is of {oldest}")


def _pack(source: Path, to: Path) -> None:
    with source.open("rb") as data, gzip.open(to, "wb", compresslevel=1) as out:
        shutil.copyfileobj(data, out)


def _sha256(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()
