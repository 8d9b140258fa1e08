"""What a client of Quack 3 asks about the catalog at ATTACH, and after its DDL, in the words of a node of 1.5.

DuckDB 2.x asks for every schema with its path, as its schemas can be nested, and for the tables by the schema's number.
It reads no more than the first answer, so that holds all of it.
"""

from __future__ import annotations

import re

from azquack.gateway.sessions import Session
from azquack.gateway.statement import Dialect, Table

_BLANKS = re.compile(r"\s+")
_LAKE = "database_name = current_database()"


def _bare(sql: str) -> str:
    return _BLANKS.sub(" ", sql).strip().rstrip(";").strip()


# Each listing that was seen in the sources of 2026, and what stands for it. The metadata catalog behind the lake is
# nobody's business.
LISTINGS = {
    _bare(asked): told
    for asked, told in (
        (
            """WITH RECURSIVE schema_tree AS ( SELECT oid, database_name, [schema_name] AS schema_path
            FROM duckdb_schemas() WHERE parent_schema_oid IS NULL UNION ALL
            SELECT nested.oid, nested.database_name, list_append(parent.schema_path, nested.schema_name)
            FROM duckdb_schemas() nested JOIN schema_tree parent ON nested.parent_schema_oid = parent.oid )
            SELECT oid, database_name, schema_path, current_database() FROM schema_tree
            WHERE database_name NOT IN ('system', 'temp')
            ORDER BY (database_name = current_database()) DESC, database_name, length(schema_path), schema_path""",
            "SELECT oid, database_name, [schema_name] AS schema_path, current_database() FROM duckdb_schemas() "
            f"WHERE {_LAKE} ORDER BY schema_path",
        ),
        (
            "SELECT schema_oid, sql, 'table' FROM duckdb_tables() UNION ALL "
            "SELECT schema_oid, view_name, 'view' FROM duckdb_views()",
            f"SELECT schema_oid, sql, 'table' FROM duckdb_tables() WHERE {_LAKE} UNION ALL "
            f"SELECT schema_oid, view_name, 'view' FROM duckdb_views() WHERE {_LAKE} AND NOT internal",
        ),
        (
            "SELECT catalog_name, schema_name FROM information_schema.schemata "
            "WHERE catalog_name NOT IN ('system', 'temp') ORDER BY ALL",
            "SELECT catalog_name, schema_name FROM information_schema.schemata "
            "WHERE catalog_name = current_database() ORDER BY ALL",
        ),
        (
            "SELECT schema_name, sql, 'table' FROM duckdb_tables() UNION ALL "
            "SELECT schema_name, view_name, 'view' FROM duckdb_views()",
            f"SELECT schema_name, sql, 'table' FROM duckdb_tables() WHERE {_LAKE} UNION ALL "
            f"SELECT schema_name, view_name, 'view' FROM duckdb_views() WHERE {_LAKE} AND NOT internal",
        ),
    )
}
LONGEST = 4096


class Listings(Dialect):
    """The questions of stock clients of Quack 3. They name every table with its schema, so nothing else is theirs."""

    async def translate(self, sql: str, session: Session) -> tuple[str, bool]:
        """What is meant by `sql`. The policy has not seen it yet: it leaves what the principal may know of."""
        told = LISTINGS.get(_bare(sql)) if len(sql) <= LONGEST else None
        return told or sql, False

    async def prepare(self, sql: str, session: Session) -> None:
        """Nothing need be done."""

    async def check_insert(self, table: Table, session: Session) -> None:
        """Rows come by the order of the columns, and are checked where they are inserted."""
