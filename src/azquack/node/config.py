"""The configuration of a node process: a value that crosses a pipe."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace

from azquack.lake.config import LakeConfig
from azquack.lake.state import Places
from azquack.node.address import Access
from azquack.process.pipes import Message
from azquack.sql import Statement, literal

_STATEMENTS = ("statements", "lockdown")


@dataclass(frozen=True)
class NodeConfig:
    """Everything that a node needs to know: what to open, what to run, how to serve.

    DuckDB opens with the settings `duckdb_config`. `extensions` are loaded, in this order, before the lake's secrets
    are made and once it is open.
    `statements` run once it is open, `lockdown` once it serves. `probes` maps the name of a health check to
    the statement that proves it. `places` is what the places of a lake hold beside the catalog's file. Times are
    seconds.
    `skip` are `statements`, as they are shown, in which the node died.
    """

    name: str
    role: str
    database: str
    token: str = field(repr=False)
    host: str = "127.0.0.1"
    port: int = 0
    access: Access = "write"
    duckdb_config: dict[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()
    lake: LakeConfig | None = None
    places: Places | None = None
    statements: tuple[Statement, ...] = ()
    lockdown: tuple[Statement, ...] = ()
    probes: dict[str, str] = field(default_factory=dict)
    start_timeout: float = 60.0
    idle_timeout: float | None = None
    statement_timeout: float = 900.0
    log_level: str = "info"
    skip: tuple[str, ...] = ()

    @property
    def read_only(self) -> bool:
        """Whether the database is opened for reading only."""
        return self.access == "read"

    def at(self, port: int | None) -> NodeConfig:
        """The same configuration on `port`, when there is one: a node keeps its port over restarts."""
        return replace(self, port=port) if port else self

    def script(self) -> str:
        """Every statement in order, secrets masked, as a person reads it."""
        before = [s.masked for s in self.lake.secrets()] if self.lake else []
        settings = [f"SET {name} = {literal(value)}" for name, value in self.duckdb_config.items()]
        opened = f"-- open {self.database}" + (" read-only" if self.read_only else "")
        after = [f"LOAD {name}" for name in self.extensions]
        after += [s.masked for s in self.statements]
        locked = [s.masked for s in self.lockdown]
        parts = [before + settings, opened, after, "-- serve Quack, then", locked]
        return "\n".join(
            part if isinstance(part, str) else "\n".join(f"{line};" for line in part)
            for part in parts
            if part
        )

    def to_message(self) -> Message:
        """The configuration as the supervisor sends it."""
        message = {each.name: getattr(self, each.name) for each in fields(self)}
        for name in _STATEMENTS:
            message[name] = [asdict(s) for s in message[name]]
        for name, part in (("lake", self.lake), ("places", self.places)):
            message[name] = part.to_message() if part else None
        return {"op": "configure", **message}

    @staticmethod
    def from_message(message: Message) -> NodeConfig:
        """The configuration that `to_message` made."""
        values = {each.name: message[each.name] for each in fields(NodeConfig)}
        for name in _STATEMENTS:
            values[name] = tuple(
                Statement(s["text"], s["masked"], tuple(s["secrets"])) for s in message[name]
            )
        values["skip"] = tuple(values["skip"])
        values["lake"] = LakeConfig.from_message(message["lake"]) if message["lake"] else None
        values["places"] = Places.from_message(message["places"]) if message["places"] else None
        return NodeConfig(**values)
