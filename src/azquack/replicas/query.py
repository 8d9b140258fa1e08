"""The query role: a DuckDB with the lake attached, and the public gateway before it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from azquack.config.settings import Settings, required
from azquack.errors import SettingError
from azquack.lake.config import NAME as LAKE
from azquack.lake.config import LakeConfig
from azquack.lake.link_options import LinkOptions
from azquack.lake.metadata import metadata_for, quack_address
from azquack.node.address import Access
from azquack.node.config import NodeConfig
from azquack.policy.lockdown import lockdown
from azquack.principals.configured import principals_for
from azquack.process import machine
from azquack.process.pipes import Message
from azquack.replicas.child import ChildSpec, Ports
from azquack.replicas.flight.spec import flight
from azquack.replicas.gateway.spec import gateway, node_token
from azquack.sql import Statement, literal, plain
from azquack.storage import storage_for
from azquack.storage.local import LocalStorage
from azquack.tokens.source import TokenSource

NODE = "query-node"
READER = "query-reader"
GATEWAY = "query-gateway"
_LAKE_PROBE = f"FROM ducklake_current_snapshot({literal(LAKE)})"
# Past DuckLake, to the process behind it.
_CATALOG_PROBE = f"FROM quack_query_by_name({literal(f'__ducklake_metadata_{LAKE}')}, 'SELECT 1')"
# What a node takes above the memory limit of its DuckDB, and the other processes of its replica with it, under load:
# 420 to 530 MB (`bench/workloads/memory.py`).
BESIDES = 512 << 20
# DuckLake retries a commit that lost the race for the next snapshot; its own defaults give up too early.
RETRIES = {"ducklake_max_retry_count": 200, "ducklake_retry_wait_ms": 5, "ducklake_retry_backoff": 1.05}


def memory_limit(memory: int, nodes: int) -> str:
    """What each of `nodes` DuckDBs gets in a replica that has `memory` bytes."""
    most = memory * 3 // 5
    return machine.size(max(min(most, memory - BESIDES), most // 2) // max(1, nodes))


def node_config(
    settings: Settings,
    tokens: TokenSource,
    *,
    catalog: str | None = None,
    access: Access = "write",
    suffix: str = "",
) -> NodeConfig:
    """A DuckDB of a query replica; `catalog` stands in for the setting, `suffix` tells it from its siblings."""
    uri = catalog or required(settings, "catalog", "it says what is behind the lake, as quack:HOST:PORT")
    metadata = metadata_for(settings, uri, tokens)
    storage = storage_for(settings)
    internal = tokens.internal().get_secret_value()
    writes = access == "write"
    return NodeConfig(
        name=settings.name + suffix,
        role="query",
        database=f"ducklake:{LAKE}",
        token=node_token(internal),
        host=settings.node_host,
        access=access,
        duckdb_config={
            "memory_limit": settings.memory_limit
            or memory_limit(
                machine.memory_bytes(), settings.query_nodes + (settings.flight_port is not None)
            ),
            "threads": str(settings.threads or os.cpu_count() or 1),
            "max_temp_directory_size": settings.spill_limit,
        },
        extensions=("httpfs", "ducklake", *metadata.extensions, *storage.extensions),
        lake=LakeConfig(
            metadata=metadata,
            data_path=storage.data_path,
            encrypted=settings.encrypted,
            link=link_options(settings, uri),
            token=internal,
            storage=tuple(storage.statements()),
            marks=writes and not settings.read_only,
        ),
        statements=(
            plain("SET GLOBAL httpfs_connection_caching = true"),
            *(plain(f"SET GLOBAL {name} = {value}") for name, value in RETRIES.items()),
            *storage.statements(),
            *(_options(settings, uri) if writes else []),
            *(_init(settings) if writes else []),
            *([plain("CALL enable_logging('QueryLog', storage => 'stdout')")] if settings.query_log else []),
        ),
        lockdown=lockdown(storage.data_path),
        probes={
            "duckdb": "SELECT 1",
            "catalog": _CATALOG_PROBE if uri.startswith("quack:") else _LAKE_PROBE,
            "lake": _LAKE_PROBE,
            "storage": storage.probe.text,
        },
        start_timeout=settings.start_timeout,
        idle_timeout=settings.idle_timeout,
        statement_timeout=settings.statement_timeout,
        log_level=settings.log_level,
    )


def children(
    settings: Settings, tokens: TokenSource, *, catalog: Callable[[Ports], str] | None = None
) -> list[ChildSpec]:
    """The processes of a query replica. Raises `SettingError`, `TokenError`, `LakeError`.

    `catalog` gives the catalog's URI where it is only known once other processes are up.
    """
    if catalog is None:
        # What is wrong with the settings should be said now, not by a child later.
        node_config(settings, tokens)
    principals_for(settings, tokens)
    storage_for(settings).prepare()
    writers = [] if settings.read_only else [f"{NODE}-{n + 1}" for n in range(settings.query_nodes)]

    def node(name: str, access: Access, port: int = 0, *, on_demand: bool = False) -> ChildSpec:
        suffix = "" if [name] == (writers or [READER]) else name.removeprefix("query")

        def config(ports: Ports) -> Message:
            uri = catalog(ports) if catalog else None
            made = node_config(settings, tokens, catalog=uri, access=access, suffix=suffix)
            return made.at(ports.get(name, port)).to_message()

        return ChildSpec(
            name, "azquack.node.process", config, settings.start_timeout, not on_demand, on_demand
        )

    def flight_node(ports: Ports) -> Message:
        uri = catalog(ports) if catalog else None
        access: Access = "read" if settings.read_only else "write"
        made = node_config(settings, tokens, catalog=uri, access=access, suffix="-flight")
        return made.to_message()

    flights = []
    if settings.flight_port is not None:
        # A pair on a laptop has a catalog of its own.
        over_quack = (settings.catalog or "quack:").startswith("quack:")
        seal = tokens.internal().get_secret_value()
        flights = [flight(settings, flight_node, seal=seal, over_quack=over_quack)]

    first = settings.node_port
    return [
        *(node(name, "write", first + n if first else 0) for n, name in enumerate(writers)),
        node(READER, "read", on_demand=bool(writers)),
        gateway(
            GATEWAY,
            settings,
            internal_token=tokens.internal().get_secret_value(),
            token=tokens.public().get_secret_value(),
            nodes={**dict.fromkeys(writers, "write"), READER: "read"},
            checks=[*(writers or [READER]), "duckdb", "catalog", "lake", "storage"],
            room=written_by(settings),
            public=True,
            on_demand={"read": READER},
            data_path=storage_for(settings).data_path if writers else "",
        ),
        *flights,
    ]


def written_by(settings: Settings) -> dict[str, Path]:
    """The directories that a query replica writes to, by their names in `azquack.process.disks`."""
    places = {"spill": Path(tempfile.gettempdir())}
    storage = storage_for(settings)
    if isinstance(storage, LocalStorage) and not settings.read_only:
        places["data"] = storage.directory
    if settings.audit_log is not None:
        places["audit"] = settings.audit_log.absolute().parent
    return places


def link_options(settings: Settings, uri: str) -> LinkOptions | None:
    """How the link to the catalog at `uri` is made; None for one that is no Quack."""
    if not uri.startswith("quack:"):
        return None
    host, port = quack_address(uri)
    return LinkOptions(
        host,
        port,
        tls=settings.catalog_tls,
        ca_file=str(settings.catalog_ca_file) if settings.catalog_ca_file else None,
        hold_seconds=min(settings.catalog_hold, settings.start_timeout),
        name=settings.name,
    )


def _options(settings: Settings, uri: str) -> list[Statement]:
    """DuckLake's own options: the one for inlining as the node's default, the other kept in the catalog."""
    made = []
    if (limit := settings.inlining_limit) is not None:
        # DuckLake 1.5.5 takes every view for a table when this is set by lake.set_option, and ends the process.
        made.append(plain(f"SET GLOBAL ducklake_default_data_inlining_row_limit = {limit}"))
        if uri.startswith("quack:"):
            # One that was kept by an older AzQuack would win over the default; it counts from the next start on.
            keep = (
                f'UPDATE "main".ducklake_metadata SET value={literal(str(limit))} '
                "WHERE key='data_inlining_row_limit' AND scope IS NULL"
            )
            metadata = literal(f"__ducklake_metadata_{LAKE}")
            made.append(plain(f"CALL system.main.quack_query_by_name({metadata}, {literal(keep)})"))
    if (size := settings.target_file_size) is not None:
        made.append(plain(f"CALL {LAKE}.set_option('target_file_size', {literal(str(size))})"))
    return made


def _init(settings: Settings) -> list[Statement]:
    """The operator's own statements."""
    texts = [settings.init_sql] if settings.init_sql else []
    if settings.init_file:
        try:
            texts.append(settings.init_file.read_text())
        except OSError as error:
            raise SettingError(
                f"AZQUACK_INIT_FILE {settings.init_file} cannot be read: {error.strerror}"
            ) from None
    return [plain(text) for text in texts]
