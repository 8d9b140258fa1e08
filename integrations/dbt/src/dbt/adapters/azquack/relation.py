"""Names of tables and views, quoted so that any name is one name."""

from __future__ import annotations

from dataclasses import dataclass

from dbt.adapters.azquack.session import identifier
from dbt.adapters.duckdb.relation import DuckDBRelation


@dataclass(frozen=True, eq=False, repr=False)
class AzQuackRelation(DuckDBRelation):
    """A table or view of the lake."""

    def quoted(self, name: str) -> str:
        """`name` as a quoted SQL name."""
        return identifier(name)
