"""The adapter: dbt-duckdb's SQL, run on the query node, for a lake."""

from __future__ import annotations

from typing import Any

from dbt.adapters.azquack.connections import AzQuackConnectionManager
from dbt.adapters.azquack.relation import AzQuackRelation
from dbt.adapters.azquack.session import identifier, literal
from dbt.adapters.base.impl import ConstraintSupport
from dbt.adapters.base.meta import available
from dbt.adapters.duckdb.impl import DuckDBAdapter
from dbt_common.contracts.constraints import ConstraintType
from dbt_common.exceptions import DbtRuntimeError


class AzQuackAdapter(DuckDBAdapter):
    """What differs from a DuckDB of one's own: the catalog is a DuckLake, and the files are the node's."""

    ConnectionManager = AzQuackConnectionManager
    Relation = AzQuackRelation

    # https://ducklake.select/docs/stable/duckdb/unsupported_features
    CONSTRAINT_SUPPORT = {  # noqa: RUF012  dbt's own way
        ConstraintType.not_null: ConstraintSupport.ENFORCED,
        ConstraintType.check: ConstraintSupport.NOT_SUPPORTED,
        ConstraintType.unique: ConstraintSupport.NOT_SUPPORTED,
        ConstraintType.primary_key: ConstraintSupport.NOT_SUPPORTED,
        ConstraintType.foreign_key: ConstraintSupport.NOT_SUPPORTED,
    }

    @classmethod
    def type(cls) -> str:
        """The adapter's name in a profile."""
        return "azquack"

    @classmethod
    def is_cancelable(cls) -> bool:
        """A session can be interrupted."""
        return True

    @classmethod
    def quote(cls, name: str) -> str:
        """`name` as a quoted SQL name."""
        return identifier(name)

    @available
    def quote_literal(self, value: Any) -> str:
        """`value` as SQL text: NULL, or a text that an INSERT casts to the column's type."""
        return "NULL" if value is None else literal(str(value))

    @available
    def is_motherduck(self) -> bool:
        """No: temporary tables live in the session."""
        return False

    @available
    def is_ducklake(self, relation: Any) -> bool:
        """Yes, whatever the relation."""
        return True

    @available
    def disable_transactions(self) -> bool:
        """No: a model that fails leaves nothing behind."""
        return False

    def _catalog_type(self, database: str) -> str:
        return "ducklake"

    def submit_python_job(self, parsed_model: dict[str, Any], compiled_code: str) -> Any:
        """Raises `DbtRuntimeError`: a node runs no Python."""
        raise DbtRuntimeError("a Python model would take its data through the client: write it in SQL")

    @available
    def store_relation(self, *arguments: Any, **keywords: Any) -> None:
        """Raises `DbtRuntimeError`: files and plugins of dbt-duckdb are the client's."""
        raise DbtRuntimeError("external models write files of the client: materialize it as a table")
