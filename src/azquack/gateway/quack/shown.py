"""What a stock client of Quack 1 is shown at its ATTACH, and what it was shown.

A client lists schemas, tables and views once. What it was told of tables is noted in a variable of its session at the
node, so that every gateway finds it and none keeps state. It is told of what its principal may know of (`visible`).
"""

from __future__ import annotations

from azquack.gateway.ports import Principal
from azquack.policy.rights import Rights
from azquack.policy.visible import visible

LAKE = "current_database()"
# The two listings of DuckDB 1.5.5's ATTACH, without the blanks around them.
ASK_SCHEMAS = (
    "SELECT catalog_name, schema_name\nFROM information_schema.schemata\n"
    "WHERE catalog_name NOT IN ('system', 'temp')\nORDER BY ALL"
)
ASK_TABLES = (
    "SELECT schema_name, sql, 'table'\nFROM duckdb_tables()\nUNION ALL\n"
    "SELECT schema_name, view_name, 'view'\nFROM duckdb_views()"
)
EMPTY = "[]::STRUCT(s VARCHAR, n VARCHAR, q VARCHAR)[]"
LISTING = f"(SELECT unnest(coalesce(getvariable('azquack_listing'), {EMPTY})) t)"
# Views of DuckDB's own that a client which uses the lake reads at the node, in place of its own: they know nothing of
# the lake (duckdb-quack #175). Quack 1 makes one scan in a statement, and SHOW TABLES as well as
# information_schema.tables reads the tables and then `duckdb_views`: so that one is told, and has the tables in it.
OWN_VIEWS = ["duckdb_columns", "duckdb_views"]
SCAN_VIEWS = "FROM main.duckdb_views"
TELL_VIEWS = (
    "SELECT * FROM system.main.duckdb_views UNION ALL SELECT database_name, database_oid, schema_name, schema_oid, "
    "table_name, table_oid, comment, tags, internal, temporary, column_count, sql, true FROM system.main.duckdb_tables"
)


class Shown:
    """The statements by which a node tells `principal` of the lake."""

    def __init__(self, principal: Principal) -> None:
        self._rights = Rights.of(principal)

    def _rows(self, function: str) -> str:
        return f"({visible(function, self._rights, LAKE)})"

    def schemas(self) -> str:
        """The answer to `ASK_SCHEMAS`."""
        return f"SELECT database_name, schema_name FROM {self._rows('duckdb_schemas')} ORDER BY ALL"

    def note(self) -> str:
        """Notes the tables, of which `tables` tells then; the session's own temporary ones are among them."""
        return (
            "SET VARIABLE azquack_listing = (SELECT coalesce(list({'s': if(database_name = 'temp', 'temp', "
            f"schema_name), 'n': table_name, 'q': sql}}), []) FROM {self._rows('duckdb_tables')})"
        )

    def tables(self) -> str:
        """The answer to `ASK_TABLES`: a client stages rows in its temporary tables as in `main`."""
        return (
            f"SELECT if(t.s = 'temp', 'main', t.s), t.q, 'table' FROM {LISTING} WHERE t.q <> '' UNION ALL "
            f"SELECT schema_name, view_name, 'view' FROM {self._rows('duckdb_views')} "
            f"WHERE database_name = {LAKE} UNION ALL SELECT 'main', unnest({OWN_VIEWS}), 'view'"
        )

    def columns(self) -> str:
        """Schemas, tables and the columns of these, as they are now.

        Of `duckdb_tables()`, DuckLake asks the catalog once for each table that has new rows. A view whose table is
        gone is not among the columns' tables.
        """
        return (
            "(SELECT if(database_name = 'temp', 'temp', schema_name) s, table_name n, string_agg(hex(column_name) || "
            f"'.' || hex(data_type), '.' ORDER BY column_index) c FROM {self._rows('duckdb_columns')} WHERE "
            "(database_name, schema_name, table_name) NOT IN (SELECT (database_name, schema_name, view_name) FROM "
            "duckdb_views()) GROUP BY ALL)"
        )

    def views(self) -> str:
        """Schemas and names of views."""
        return (
            f"(SELECT schema_name s, view_name n FROM {self._rows('duckdb_views')} "
            f"WHERE database_name = {LAKE} AND NOT internal)"
        )
