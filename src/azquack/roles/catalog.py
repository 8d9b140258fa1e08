"""The catalog role: one DuckDB that owns `catalog.duckdb`, and a door for the internal token."""

from __future__ import annotations

import os
from pathlib import Path

from azquack import machine
from azquack.child import ChildSpec
from azquack.errors import LakeError
from azquack.plan import NodePlan
from azquack.roles.backup import backup
from azquack.roles.door import door, node_token
from azquack.settings import Settings, required
from azquack.sql import plain
from azquack.tokens import TokenSource

NODE = "catalog-node"
DOOR = "catalog-door"
BACKUP = "catalog-backup"
FILE = "catalog.duckdb"


def node_plan(settings: Settings, internal_token: str) -> NodePlan:
    """The DuckDB of a catalog replica."""
    directory = _usable(
        required(settings, "catalog_dir", "it is where the catalog role keeps catalog.duckdb")
    )
    return NodePlan(
        name=settings.name,
        role="catalog",
        database=str(directory / FILE),
        token=node_token(internal_token),
        config={
            # The metadata of a lake is small; most of a small container is better left to the file cache.
            "memory_limit": settings.memory_limit or machine.share(0.4),
            # Each commit is many small statements: handing them from thread to thread costs more than it gains.
            "threads": str(settings.threads or 1),
            "max_temp_directory_size": settings.spill_limit,
            # A new catalog file takes every type: VARIANT rows that stay in the catalog need v1.5.0.
            "storage_compatibility_version": "v1.5.0",
        },
        # A table of more than 24,576 files breaks concurrent reads with the default of 12 chunks.
        statements=(plain("SET GLOBAL quack_fetch_batch_chunks = 4096"),),
        extensions=("httpfs", "quack"),
        lockdown=(
            plain("SET enable_external_access = false"),
            plain("SET lock_configuration = true"),
        ),
        probes={"duckdb": "SELECT 1", "catalog": "SELECT count(*) FROM duckdb_tables()"},
        start_timeout=settings.start_timeout,
        # Its sessions are those of query nodes, which keep them however long nobody asks.
        idle_timeout=None,
        statement_timeout=settings.statement_timeout,
        log_level=settings.log_level,
    )


def children(settings: Settings, tokens: TokenSource) -> list[ChildSpec]:
    """The processes of a catalog replica. Raises `SettingError`, `TokenError`, `LakeError`."""
    token = tokens.internal().get_secret_value()
    plan = node_plan(settings, token)
    return [
        ChildSpec(
            NODE, "azquack.node", lambda ports: plan.at(ports.get(NODE)).to_message(), settings.start_timeout
        ),
        door(
            DOOR,
            settings,
            internal_token=token,
            token=token,
            nodes={NODE: "write"},
            checks=[NODE, *plan.probes],
            public=False,
        ),
        *([backup(BACKUP, NODE, node_token(token), settings)] if settings.backup_every else []),
    ]


def _usable(directory: Path) -> Path:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakeError(f"the catalog directory {directory} cannot be made: {error.strerror}") from None
    if not os.access(directory, os.W_OK | os.X_OK):
        raise LakeError(f"the catalog directory {directory} is not writable for this user")
    return directory.resolve()
