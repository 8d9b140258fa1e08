"""What nobody but a person may decide: that a catalog is the lake, or that a new lake begins.

Both leave everything that they find where it is, and neither takes what belongs to another lake: its data path and its
backups. The catalog must be stopped; the act is an epoch of its own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb

from azquack.catalog import epochs
from azquack.catalog.data_path import DataGuard
from azquack.catalog.lake_places import catalog_file, catalog_in, data_in
from azquack.catalog.lease import Lease
from azquack.catalog.lease.held import Held, held
from azquack.errors import LakeError
from azquack.lake import extensions, lake_id
from azquack.lake.config import LakeConfig
from azquack.lake.lake_id import LakeId
from azquack.lake.metadata import Metadata
from azquack.lake.state import Catalog, DataPath, Places, Seen, next_epoch
from azquack.process.directories import private_directory
from azquack.storage import Storage

# Rows of every type that DuckLake keeps in its catalog; as a catalog replica makes it.
_NEW = {"storage_compatibility_version": "v1.5.0"}
_NAME = "adopted"


def looked_at(directory: Path, places: Places) -> Places:
    """`places` with what is in the newest catalog file, of which a copy is opened; it may be in use."""
    file, _, _ = epochs.found(directory)
    if file is None:
        return places
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        copied = Path(scratch) / epochs.FILE
        epochs.copy(file, copied)
        return replace(places, catalog=catalog_file(places.catalog, copied, places.backups.witness))


def adopt(directory: Path, lease: Lease, places: Places, storage: Storage | None) -> LakeId:
    """Say that the newest whole catalog file in `directory` is the lake to which the other `places` belong.

    With a `storage` its mark is written into the data path. Raises `LakeError`, `LeaseError`.
    """
    with tempfile.TemporaryDirectory(prefix=".adopting-", dir=directory) as scratch:
        draft = Path(scratch) / epochs.FILE
        catalog, named = _newest_whole(directory, draft), True
        if storage is not None:
            data, named = _data_of(storage, draft)
            places = replace(places, data=data)
        lake = _lake(catalog, places)
        if others := [each for each in places.backups.lakes if each not in ("", lake)]:
            raise LakeError(
                f"{places.backups.where} holds backups of the lake {others[0]}: "
                "name a backup place of this lake with AZQUACK_BACKUP_TO, then adopt it"
            )
        if not named and (catalog.files or places.data.lake not in ("", lake)):
            owner = f", which is that of the lake {places.data.lake}" if places.data.lake else ""
            raise LakeError(
                f"none of the catalog's files lie in the data path {places.data.where}{owner}: "
                "name the right one with AZQUACK_DATA_PATH, then adopt the lake"
            )
        with _owned(directory, lease, places) as owned:
            identity = LakeId(lake, owned.grant.epoch, adopted=storage is None)
            _stamp(draft, identity)
            epochs.begin(directory, owned.grant.epoch, draft)
            if storage is not None:
                _mark(storage, lake)
            lease.settle(owned.grant, lake)
    return identity


def create(directory: Path, lease: Lease, places: Places) -> LakeId:
    """Begin a new lake in `directory`, where none is, whatever the lease says. Raises `LakeError`, `LeaseError`."""
    data, backups = places.data, places.backups
    if places.catalog.seen not in (Seen.MISSING, Seen.EMPTY):
        raise LakeError(f"{places.catalog.where} is there: move it away first, or serve it with azquack up")
    if data.files or data.lake or data.seen is Seen.UNREADABLE:
        raise LakeError(
            f"the data path {data.where} is that of a lake: name an empty one with AZQUACK_DATA_PATH"
        )
    if backups.seen in (Seen.THERE, Seen.UNREADABLE):
        raise LakeError(f"{backups.where} holds backups of a lake: name an empty one with AZQUACK_BACKUP_TO")
    directory.mkdir(parents=True, exist_ok=True)
    with _owned(directory, lease, places) as owned:
        identity = LakeId(lake_id.new(), owned.grant.epoch)
        with tempfile.TemporaryDirectory(prefix=".creating-", dir=directory) as scratch:
            draft = Path(scratch) / epochs.FILE
            _stamp(draft, identity)
            epochs.begin(directory, owned.grant.epoch, draft)
        lease.settle(owned.grant, identity.lake)
    return identity


def _newest_whole(directory: Path, draft: Path) -> Catalog:
    problem = ""
    for file in epochs.files(directory):
        epochs.copy(file, draft)
        catalog = catalog_file(replace(catalog_in(directory), where=f"the catalog {file}"), draft)
        if catalog.seen is Seen.THERE:
            return catalog
        problem = problem or f" ({file}: {catalog.problem or 'it holds no lake'})"
    raise LakeError(
        f"the catalog directory {directory} holds no lake to adopt{problem}: "
        "bring it back with azquack restore, or begin a new one with azquack lake create"
    )


def _lake(catalog: Catalog, places: Places) -> str:
    """Its own id, else the one that it left elsewhere, else a new one."""
    known = (catalog.lake, places.data.lake, *places.backups.lakes, places.lease.lake)
    return next(filter(None, known), "") or lake_id.new()


def _data_of(storage: Storage, draft: Path) -> tuple[DataPath, bool]:
    """The data path, and whether files that the catalog `draft` names lie in it."""
    lake_config = LakeConfig(Metadata(str(draft), ()), storage.data_path)
    with _beside(storage) as connection:
        _, found = DataGuard(lake_config, lake_config.metadata).ask(
            connection, data_in(connection, storage.data_path)
        )
    return found, bool(found.named)


def _mark(storage: Storage, lake: str) -> None:
    with _beside(storage) as connection:
        try:
            connection.execute(lake_id.mark_writing(storage.data_path, lake))
        except duckdb.Error as error:
            raise LakeError(f"the data path {storage.data_path} cannot be marked: {error}") from None


@contextmanager
def _owned(directory: Path, lease: Lease, places: Places) -> Iterator[Held]:
    grant = lease.acquire(next_epoch(replace(places, catalog=catalog_in(directory))) - 1)
    if grant is None:
        raise LakeError(f"the catalog in {directory} is in use: stop it first")
    with held(lease, grant) as owned:
        yield owned


def _stamp(file: Path, identity: LakeId) -> None:
    with duckdb.connect(str(file), config=dict(_NEW)) as connection:
        lake_id.write(connection, file.stem, identity)
        connection.execute("CHECKPOINT")


@contextmanager
def _beside(storage: Storage) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB that can read and write the data path."""
    with private_directory() as directory:
        extensions.link_all(directory)
        with duckdb.connect(":memory:", config=extensions.config(directory)) as connection:
            for name in dict.fromkeys(("httpfs", "ducklake", *storage.extensions)):
                connection.execute(f"LOAD {name}")
            for each in storage.statements():
                try:
                    connection.execute(each.text)
                except duckdb.Error as error:
                    raise LakeError(f"{each.masked} failed: {each.scrub(str(error))}") from None
            yield connection
