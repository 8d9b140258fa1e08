"""What the running catalog and the kept backups say about deleting files of a lake.

A file is deleted only if this lake's identity stands in the data path, the catalog is at least as new as the newest
backup, every place that holds backups can be read, and no kept backup names the file. What cannot be known counts as
a reason to keep.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from azquack.catalog.backup.backups import Backups
from azquack.catalog.backup.copy import State
from azquack.catalog.backup.inventory import Inventory
from azquack.catalog.backup.manifest import Manifest
from azquack.catalog.backup.places import place_for
from azquack.catalog.backup.record import Noted
from azquack.catalog.backup.retention import Retention
from azquack.config.settings import Settings
from azquack.errors import AzQuackError, BackupError
from azquack.sql import first_line, literal


@dataclass(frozen=True, slots=True)
class Protection:
    """What must stay: whatever one of `kept` names, and everything when `reason` says why.

    `wrong`: the reason is one that somebody has to do something about. With `orphans_reason` files that nobody
    names stay.
    """

    kept: Sequence[tuple[Backups, Manifest]] = ()
    reason: str = ""
    wrong: bool = False
    orphans_reason: str = ""

    def named(self) -> Iterator[set[str]]:
        """The names, without their directories, of the files that each kept backup needs. Raises `BackupError`."""
        for backups, wanted in self.kept:
            with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
                path = Path(scratch) / "catalog.duckdb"
                try:
                    backups.fetch(wanted, path)
                except BackupError:
                    if self._pruned(backups, wanted):
                        continue
                    raise
                try:
                    yield _names_in(path)
                except duckdb.Error as error:
                    raise BackupError(
                        f"the backup {wanted.name} cannot be opened: {first_line(error)}"
                    ) from None

    def _pruned(self, backups: Backups, wanted: Manifest) -> bool:
        """Whether the retention removed `wanted` meanwhile: it leaves the newest, and a place that is away has none."""
        newest = next(each for place, each in self.kept if place is backups)
        names = backups.place.names()
        return wanted.manifest_file not in names and newest.manifest_file in names


def _names_in(catalog: Path) -> set[str]:
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"ATTACH {literal(str(catalog))} AS kept (READ_ONLY)")
        rows = connection.execute(
            "SELECT path FROM kept.ducklake_data_file UNION ALL SELECT path FROM kept.ducklake_delete_file"
        ).fetchall()
    return {base_name(str(path)) for (path,) in rows}


def base_name(path: str) -> str:
    """The last part of a path; DuckLake makes it unique."""
    return path.replace("\\", "/").rpartition("/")[2]


def protection(settings: Settings, state: State | None, noted: Sequence[Noted] | None) -> Protection:
    """What must stay in the lake whose running catalog says `state` and `noted` of itself.

    Both are None for a catalog that is no AzQuack's: then only the place that `settings` name counts. Raises
    `BackupError` while a restore is under way.
    """
    if state is not None and noted is None:
        return Protection(
            reason="the catalog does not say where its backups lie: bring it to this version first",
            wrong=True,
        )
    lake = state.lake if state else ""
    kept: list[tuple[Backups, Manifest]] = []
    reasons: list[str] = []
    restored: list[datetime] = []
    for uri, taken in _places(settings, noted or ()):
        try:
            backups = Backups(
                place_for(settings.model_copy(update={"backup_to": uri})),
                Retention.from_settings(settings),
                lake,
            )
            found = backups.inventory()
        except AzQuackError as error:
            return Protection(reason=f"backups lie in {uri}, which cannot be read here: {error}", wrong=True)
        if any(not each.done for each in found.notes):
            raise BackupError(
                "a restore is under way, or was cut short: finish it with azquack restore, then maintain"
            )
        if reason := _gone(found, uri, taken) or _mixed(found, uri) or _older(found, state):
            return Protection(reason=reason, wrong=True)
        reasons += [f"kept: {each.name} is damaged, and may need them" for each in found.damaged]
        kept += [(backups, each) for each in found.backups]
        restored += [time for time in [found.since_restore()] if time is not None]
    orphans = ""
    if restored:
        orphans = f"kept: backups from before the restore of {max(restored):%Y-%m-%d %H:%M} UTC may need them"
    return Protection(kept, next(iter(reasons), ""), orphans_reason=orphans)


def _places(settings: Settings, noted: Iterable[Noted]) -> list[tuple[str, bool]]:
    """Every place that the catalog or `settings` name, and whether the catalog knows of a backup in it."""
    places = {each.place: each.taken for each in noted}
    if settings.backup_to is not None or settings.catalog_dir is not None:
        places.setdefault(place_for(settings).uri, False)
    return sorted(places.items())


def _gone(found: Inventory, uri: str, taken: bool) -> str:
    if not taken or found.backups or found.damaged:
        return ""
    return (
        f"backups were taken to {uri}, and none of this lake is there any more: bring the place back, or have the "
        "catalog forget it with azquack backup forget"
    )


def _mixed(found: Inventory, uri: str) -> str:
    """The place may be another one than that in which this lake's backups lie."""
    if not found.lake or not found.foreign:
        return ""
    others = ", ".join(sorted({each.lake for each in found.foreign}))
    return f"{uri} holds backups of another lake ({others}): bring the right place back, or move those away"


def _older(found: Inventory, state: State | None) -> str:
    if state is None or not found.backups:
        return ""
    newest = found.backups[0]
    if newest.epoch:
        older = (state.epoch, state.snapshot) < (newest.epoch, newest.snapshot)
    else:
        older = state.snapshot < newest.snapshot and not state.epoch and not found.notes
    return (
        f"the backup {newest.name} (snapshot {newest.snapshot}) is newer than the catalog (snapshot "
        f"{state.snapshot}): restore it, or find out what the catalog lost"
        if older
        else ""
    )
