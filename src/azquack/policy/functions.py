"""The reviewed functions and views of the pinned DuckDB, from `functions.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

from azquack.principals.principal import Role, folded

# Those of DuckDB and its extensions: the ones of the lake and of a session are macros, whose bodies were checked.
QUESTION = (
    "SELECT string_agg(DISTINCT function_name, ' ') FROM duckdb_functions() WHERE database_name = 'system'"
)
"""By which a node tells the names of its functions."""
_OWN = ("duckdb_", "pg_", "sqlite_", "pragma_")


@dataclass(frozen=True)
class Functions:
    """Names by where they may stand; all lower case. A name that is `known` and in no set is refused."""

    scalar: frozenset[str]
    table: frozenset[str]
    lake: frozenset[str]
    call_writer: frozenset[str]
    call_admin: frozenset[str]
    views: frozenset[str]
    refused_views: frozenset[str]
    file_endings: frozenset[str]
    reasons: dict[str, str]
    known: frozenset[str]

    @classmethod
    def load(cls, node: Iterable[str] = ()) -> Functions:
        """The reviewed names; `node` are those of a running node, of which unreviewed ones are refused."""
        text = (files("azquack.policy") / "functions.toml").read_text("utf-8")
        data = tomllib.loads(text)
        sets = {name: frozenset(value.split()) for name, value in data.items() if isinstance(value, str)}
        reasons = {name: why for why, names in data["refused"].items() for name in names.split()}
        refused_views = frozenset(name for names in data["refused_views"].values() for name in names.split())
        called = [sets[name] for name in ("scalar", "table", "lake", "call_writer", "call_admin")]
        known = frozenset(folded(name) for name in node).union(reasons, *called)
        return cls(**sets, refused_views=refused_views, reasons=reasons, known=known)

    @cached_property
    def own_views(self) -> frozenset[str]:
        """The views of DuckDB's own that need no schema."""
        return frozenset(name for name in self.views | self.refused_views if name.startswith(_OWN))

    def schema_of(self, name: str) -> str:
        """The schema of DuckDB's own catalog in which the view `name` stands."""
        return "pg_catalog" if name.startswith("pg_") else "main"

    def unreviewed(self, names: Iterable[str]) -> set[str]:
        """Those of `names` that stand nowhere in `functions.toml`."""
        reviewed = frozenset(self.reasons).union(
            self.scalar, self.table, self.lake, self.call_writer, self.call_admin
        )
        return set(names) - reviewed

    def after_from(self, role: Role, granted: bool) -> frozenset[str]:
        """The table functions for `role`; with `granted`, for a principal that has grants."""
        if granted:
            return self.table
        calls = {
            Role.READER: frozenset[str](),
            Role.WRITER: self.call_writer,
            Role.ADMIN: self.call_writer | self.call_admin,
        }
        return self.table | self.lake | calls[role]

    def why(self, name: str) -> str:
        """Why `name` is refused, as the end of a sentence."""
        if name in self.reasons:
            return f"it {self.reasons[name]}"
        if name in self.call_writer | self.call_admin:
            return "your role does not allow it"
        return "it has not been reviewed, or not for this place in a statement"
