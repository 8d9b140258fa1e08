"""The backups in a place: taken, listed, fetched, pruned."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from azquack import extensions
from azquack.backup import manifest
from azquack.backup.copy import session
from azquack.backup.manifest import Manifest
from azquack.backup.places import Place
from azquack.backup.retention import Retention
from azquack.client import Target
from azquack.errors import BackupError
from azquack.home import private_home

# Data whose manifest never came, or went: what a backup that was cut short leaves.
_LEFTOVER = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Backups:
    """The backups of one catalog."""

    place: Place
    retention: Retention

    def listed(self) -> list[Manifest]:
        """All backups, the newest first. Raises `BackupError`."""
        with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
            found = []
            for name in self.place.names():
                if manifest.time_of(name) and name.endswith(manifest.SUFFIX):
                    path = Path(scratch) / name
                    self.place.get(name, path)
                    found.append(manifest.parse(name, path.read_bytes()))
        return sorted(found, key=lambda each: each.time, reverse=True)

    def newest(self, at: datetime | None = None) -> Manifest:
        """The newest backup, or the newest that is not younger than `at`. Raises `BackupError`."""
        found = self.listed()
        if not found:
            raise BackupError("there is no backup yet: take one with azquack backup now")
        fitting = [each for each in found if at is None or each.time <= at]
        if not fitting:
            oldest = found[-1].time.isoformat(timespec="seconds")
            raise BackupError(f"no backup is that old: the oldest is of {oldest}")
        return fitting[0]

    def take(
        self, catalog: Target, *, unless: str | None = None, owned: Callable[[], bool] | None = None
    ) -> Manifest | None:
        """Back the served catalog up; None when it holds no lake yet or its fingerprint is `unless`.

        The manifest comes last: a backup that was cut short is none, and so is one of a catalog that, where
        `owned` is given, is not owned any more when it is copied. Raises `LakeError`, `BackupError`.
        """
        # One that is killed on the way leaves a copy of the catalog behind, which its successor removes.
        with private_home() as scratch:
            copied, packed = scratch / "catalog.duckdb", scratch / "packed"
            # Before the transaction begins: all that happened until then is in the copy.
            time = datetime.now(UTC)
            with session(catalog) as opened:
                state = opened.state()
                if state is None or state.fingerprint == unless:
                    return None
                opened.copy(copied)
            if owned is not None and not owned():
                raise BackupError("this replica does not own the catalog any more: its state is no backup")
            with copied.open("rb") as data, gzip.open(packed, "wb", compresslevel=1) as out:
                shutil.copyfileobj(data, out)
            taken = Manifest(
                time=time,
                size=packed.stat().st_size,
                sha256=_sha256(packed),
                snapshot=state.snapshot,
                snapshot_time=state.snapshot_time,
                fingerprint=state.fingerprint,
                versions={name: extensions.versions()[name] for name in ("duckdb", "ducklake")},
            )
            self.place.put(taken.file, packed)
            _write(self.place, taken.manifest_file, taken.dump(), scratch)
        return taken

    def fetch(self, wanted: Manifest, to: Path) -> None:
        """Write the backup's DuckDB file to `to`. Raises `BackupError` when its checksum is wrong."""
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

    def prune(self, now: datetime) -> list[Manifest]:
        """Delete what the retention does not keep, and leftovers; the deleted. Raises `BackupError`."""
        found = self.listed()
        kept = self.retention.kept([each.time for each in found])
        dropped = [each for each in found if each.time not in kept]
        for each in dropped:
            # The manifest first: what has none is no backup.
            self.place.delete(each.manifest_file)
            self.place.delete(each.file)
        complete = {each.file for each in found}
        for name in self.place.names():
            time = manifest.time_of(name)
            leftover = name.endswith(manifest.DATA_SUFFIX) and name not in complete
            if time and leftover and now - time > _LEFTOVER:
                self.place.delete(name)
        return dropped


def _sha256(path: Path) -> str:
    with path.open("rb") as data:
        return hashlib.file_digest(data, "sha256").hexdigest()


def _write(place: Place, name: str, data: bytes, scratch: Path) -> None:
    path = scratch / "text"
    path.write_bytes(data)
    place.put(name, path)
