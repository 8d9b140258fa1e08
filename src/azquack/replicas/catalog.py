"""The catalog role: the one owner of `catalog.duckdb`, and a gateway for the internal token."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from azquack.catalog.backup import record
from azquack.catalog.backup.places import DIRECTORY, place_for
from azquack.catalog.lake_places import backups_in, catalog_in, data_in_directory
from azquack.catalog.lease import lease_for
from azquack.catalog.lease.ownership import Ownership
from azquack.config.settings import Settings, required
from azquack.errors import LakeError
from azquack.lake.state import DataPath, Places
from azquack.node.config import NodeConfig
from azquack.process import machine
from azquack.process.pipes import Message
from azquack.replicas.backup import backup
from azquack.replicas.child import ChildSpec, Ports
from azquack.replicas.gateway.spec import gateway, node_token
from azquack.sql import plain
from azquack.tokens.source import TokenSource

NODE = "catalog-node"
GATEWAY = "catalog-gateway"
BACKUP = "catalog-backup"
PROBES = {"duckdb": "SELECT 1", "catalog": "SELECT count(*) FROM duckdb_tables()"}


def ownership(settings: Settings, *, standby: bool) -> Ownership:
    """The replica's claim to the catalog. A `standby` waits for another owner to go. Raises `SettingError`."""
    lease, directory = lease_for(settings, settings.name), directory_of(settings)

    def places() -> Places:
        return places_of(settings)

    return Ownership(lease, directory, seconds=settings.lease_seconds, standby=standby, read_places=places)


def places_of(settings: Settings) -> Places:
    """What the places of the lake hold as far as a catalog replica can see them; not what its lease says.

    Raises `SettingError`. A data path that is not on this machine is looked at by the query replica.
    """
    directory = directory_of(settings)
    where = settings.backup_to or str(directory / DIRECTORY)
    backups = backups_in(place_for(settings), where)
    return Places(catalog_in(directory), _data_of(settings), backups=backups)


def _data_of(settings: Settings) -> DataPath:
    """The data path, where it is on this machine."""
    if settings.data_path is None or "://" in settings.data_path:
        return DataPath()
    return data_in_directory(Path(settings.data_path).expanduser().absolute())


def node_config(
    settings: Settings, internal_token: str, file: Path, places: Places | None = None
) -> NodeConfig:
    """The DuckDB of a catalog replica, which serves `file` when it agrees with `places`."""
    return NodeConfig(
        name=settings.name,
        role="catalog",
        database=str(file),
        places=places,
        token=node_token(internal_token),
        duckdb_config={
            # The metadata of a lake is small; most of a small container is better left to the file cache.
            "memory_limit": settings.memory_limit or machine.size(machine.memory_bytes() * 2 // 5),
            # Each commit is many small statements: handing them from thread to thread costs more than it gains.
            "threads": str(settings.threads or 1),
            "max_temp_directory_size": settings.spill_limit,
            # A new catalog file takes every type: VARIANT rows that stay in the catalog need v1.5.0.
            "storage_compatibility_version": "v1.5.0",
        },
        # A table of more than 24,576 files breaks concurrent reads with the default of 12 chunks.
        statements=(
            plain("SET GLOBAL quack_fetch_batch_chunks = 4096"),
            *record.making(place_for(settings).uri if settings.backup_every else None),
        ),
        extensions=("httpfs", "quack"),
        lockdown=(
            plain("SET enable_external_access = false"),
            plain("SET lock_configuration = true"),
        ),
        probes=PROBES,
        start_timeout=settings.start_timeout,
        # Its sessions are those of query nodes, which keep them however long nobody asks.
        idle_timeout=None,
        statement_timeout=settings.statement_timeout,
        log_level=settings.log_level,
    )


def children(settings: Settings, tokens: TokenSource, owned: Ownership) -> list[ChildSpec]:
    """The processes of a catalog replica. Raises `SettingError`, `TokenError`, `LakeError`."""
    _usable(directory_of(settings))
    token = tokens.internal().get_secret_value()

    def config(ports: Ports) -> Message:
        # The data path as it is now: of a new lake it was marked after this replica took the catalog.
        places = replace(owned.places, data=_data_of(settings))
        made = node_config(settings, token, owned.file, places)
        return made.at(ports.get(NODE)).to_message()

    async def accept(report: Message) -> None:
        await owned.settle(str(report["lake"]))

    return [
        ChildSpec(
            NODE, "azquack.node.process", config, settings.start_timeout, owner_only=True, accept=accept
        ),
        gateway(
            GATEWAY,
            settings,
            internal_token=token,
            token=token,
            nodes={NODE: "write"},
            checks=[NODE, *PROBES],
            room=written_by(settings),
            public=False,
            leased=True,
        ),
        *([backup(BACKUP, NODE, node_token(token), settings, owned)] if settings.backup_every else []),
    ]


def directory_of(settings: Settings) -> Path:
    """Where the catalog lies. Raises `SettingError`."""
    path: Path = required(settings, "catalog_dir", "it is where the catalog role keeps catalog.duckdb")
    return path.absolute()


def written_by(settings: Settings) -> dict[str, Path]:
    """The directories that a catalog replica writes to, by their names in `azquack.process.disks`."""
    directory = directory_of(settings)
    lease, backups = settings.lease, settings.backup_to or str(directory / DIRECTORY)
    places = {"catalog": directory}
    if lease is not None and "://" not in lease:
        places["lease"] = Path(lease).absolute()
    if settings.backup_every and "://" not in backups:
        places["backups"] = Path(backups).absolute()
    return places


def _usable(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakeError(f"the catalog directory {directory} cannot be made: {error.strerror}") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise LakeError(f"the catalog directory {directory} is not writable for this user")
