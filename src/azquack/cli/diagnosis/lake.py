"""The lake: its places and what they say together, its disks, its metadata, its backups, its clocks."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from azquack.catalog import adoption, epochs
from azquack.catalog.backup.copy import copy_catalog, session
from azquack.catalog.check import checks
from azquack.catalog.check.finding import Rule
from azquack.catalog.lake_places import catalog_file, data_in
from azquack.catalog.lease import lease_for
from azquack.catalog.maintain.bounds import Clocks
from azquack.cli.diagnosis.finding import Diagnosis
from azquack.cli.lake import places_with
from azquack.cli.site import Site
from azquack.lake import extensions
from azquack.lake.state import Catalog, DataPath, Places, Seen, judge
from azquack.process import disks
from azquack.process.directories import private_directory
from azquack.replicas import catalog, query
from azquack.storage import storage_for

_SHOWN = 3


def examine(diagnosis: Diagnosis, lake: Site) -> None:
    """Look at everything of it that can be seen from here; nothing is changed."""
    settings = lake.settings
    with diagnosis.examining("disks", "make room"):
        for name, place in _disks(lake).items():
            if problem := disks.problem_at(name, place):
                diagnosis.error("disks", problem, "make room, or give this user the right to write there")
    data = None
    with diagnosis.examining("data path", "see that AZQUACK_DATA_PATH and the storage settings are right"):
        if settings.data_path and "://" in settings.data_path:
            data = _remote_data(lake)
            if data.problem:
                diagnosis.error("data path", f"{data.where} cannot be read: {data.problem}",
                                "see that AZQUACK_DATA_PATH and the storage settings are right")  # fmt: skip
    if settings.catalog_dir is not None:
        with diagnosis.examining("lake", "azquack lake show says what each place holds"):
            _examine_catalog(diagnosis, lake, data)
    elif lake.settings.catalog is not None:
        with diagnosis.examining(
            "catalog", "see that the catalog replica is up, and that the internal token is its own"
        ):
            _examine_served(diagnosis, lake)


def _disks(lake: Site) -> dict[str, Path]:
    settings = lake.settings
    found = catalog.written_by(settings) if settings.catalog_dir else {}
    return found | (query.written_by(settings) if settings.data_path else {})


def _remote_data(lake: Site) -> DataPath:
    storage = storage_for(lake.settings)
    with private_directory() as home:
        extensions.link_all(home)
        with duckdb.connect(":memory:", config=extensions.config(home)) as connection:
            for name in ("httpfs", *storage.extensions):
                connection.execute(f"LOAD {name}")
            for each in storage.statements():
                try:
                    connection.execute(each.text)
                except duckdb.Error as error:
                    return DataPath(Seen.UNREADABLE, storage.data_path, problem=each.scrub(str(error)))
            return data_in(connection, storage.data_path)


def _examine_catalog(diagnosis: Diagnosis, lake: Site, data: DataPath | None) -> None:
    """The catalog on this machine, and all that should belong to it."""
    found = places_with(lake, lease_for(lake.settings, "azquack doctor"))
    if data is not None:
        found = replace(found, data=data)
    found = adoption.looked_at(lake.catalog_dir, found)
    if sentence := judge(found).sentence:
        diagnosis.error("lake", sentence, "azquack lake show says what each place holds")
    up = lake.directory is not None and lake.directory.running() is not None
    if found.catalog.seen is Seen.THERE:
        with diagnosis.examining("metadata", "azquack check says more"):
            _examine_metadata(diagnosis, lake, up=up)
    with diagnosis.examining("backups", "see that AZQUACK_BACKUP_TO can be read"):
        _examine_backups(diagnosis, lake, found, up=up)
    if up:
        with diagnosis.examining("clocks", "set the clock right"):
            _examine_clocks(lake)


def _examine_served(diagnosis: Diagnosis, lake: Site) -> None:
    """A catalog that is elsewhere, over Quack."""
    if not str(lake.settings.catalog).startswith("quack:"):
        return
    _examine_clocks(lake)
    with diagnosis.examining("metadata", "azquack check says more"):
        _examine_metadata(diagnosis, lake, up=True)


def _examine_metadata(diagnosis: Diagnosis, lake: Site, *, up: bool) -> None:
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        copied = Path(scratch) / epochs.FILE
        if up:
            copy_catalog(lake.catalog, copied)
        else:
            epochs.copy(epochs.newest(lake.catalog_dir), copied)
            # Takes its log in, which a reader cannot.
            catalog_file(Catalog(), copied)
        where: dict[Rule, list[str]] = defaultdict(list)
        for each in checks.run(copied, lake.settings, orphans=False, quick=True):
            if each.serious:
                where[each.rule].append(each.subject)
    for rule, subjects in where.items():
        more = f" and {len(subjects) - _SHOWN} more" if len(subjects) > _SHOWN else ""
        problem = f"{rule.name} ({', '.join(subjects[:_SHOWN])}{more}): {rule.meaning}"
        diagnosis.error("metadata", problem, rule.mend.replace("--repair", "azquack check --repair"))


def _examine_backups(diagnosis: Diagnosis, lake: Site, found: Places, *, up: bool) -> None:
    backups = replace(lake.backups, lake=found.catalog.lake).inventory()
    for each in backups.damaged:
        diagnosis.warn(
            "backups", f"the backup {each.name} is damaged: {each.reason}",
            "restore another when you need one; remove it once you have looked at it",
        )  # fmt: skip
    if wrong := backups.misdated(datetime.now(UTC)):
        diagnosis.warn(
            "backups", f"a clock was wrong when {', '.join(each.name for each in wrong)} was taken",
            "set the clock right; which backup is the newest is told by what they hold",
        )  # fmt: skip
    # A replica that is up says itself when it cannot take one, and has not taken any right after its start.
    if found.catalog.seen is Seen.THERE and found.catalog.snapshot > 0 and not backups.backups and not up:
        diagnosis.warn(
            "backups", "there is no backup of this lake",
            "take one with azquack backup now; a replica takes them by itself unless AZQUACK_BACKUP_EVERY is 0",
        )  # fmt: skip


def _examine_clocks(lake: Site) -> None:
    with session(lake.catalog) as opened:
        said, here = opened.now(), datetime.now(UTC)
    Clocks(said, here, here).agree()
