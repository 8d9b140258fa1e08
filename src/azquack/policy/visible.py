"""Which rows of DuckDB's own listings somebody sees.

The rule: **each of DuckDB's listings is made of a few table functions (`duckdb_tables()`, …), and of these a statement
reads only the rows that its principal may know of.** `visible` is that rule, for each function.
"""

from __future__ import annotations

from collections.abc import Iterable

from azquack.policy.rights import MAKER, Rights
from azquack.policy.scope import MAIN, SYSTEM, TEMP
from azquack.principals.principal import EVERY, Grant
from azquack.sql import literal

# The column that names what a row is about, for the functions whose rows are about a table or view of a schema.
_ABOUT = {
    "duckdb_tables": "table_name",
    "duckdb_views": "view_name",
    "duckdb_columns": "table_name",
    "duckdb_constraints": "table_name",
    "duckdb_indexes": "table_name",
    "duckdb_sequences": "sequence_name",
}
# What is told to nobody: where the data is, and from where a node reads the catalog.
_REPLACED = {
    "duckdb_databases": (
        "NULL::VARCHAR AS path, NULL::MAP(VARCHAR, VARCHAR) AS tags, NULL::MAP(VARCHAR, VARCHAR) AS options"
    ),
}
FUNCTIONS = frozenset(
    {"duckdb_schemas", "duckdb_types", "duckdb_functions", "duckdb_dependencies", *_ABOUT, *_REPLACED}
)
# DuckDB compares names without the case of ASCII letters.
FOLDED = "system.main.translate({}, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')"


def visible(function: str, rights: Rights, lake: str) -> str:
    """The query for the rows of `function` that somebody with `rights` may know of; `lake` is SQL for its name."""
    grants = rights.grants
    replaced, condition = _REPLACED.get(function, ""), f"database_name IN ({lake}, '{TEMP}')"
    if grants is not None:
        condition = f"database_name = {lake}"
    match function:
        case "duckdb_dependencies":
            # Numbers of things in all databases of the node, of which DuckLake has none.
            condition = "false"
        case "duckdb_databases":
            condition = f"database_name = {lake}"
        case "duckdb_types":
            condition = f"database_name IN ('{SYSTEM}', {lake}, '{TEMP}')"
        case "duckdb_functions":
            # With grants there are no macros.
            condition = f"database_name = '{SYSTEM}'" + ("" if grants is not None else f" OR {condition}")
        case "duckdb_schemas":
            condition = f"database_name = {lake}"
            if grants is not None:
                condition += f" AND ({_reached(grants, '')})"
        case _ if grants is not None:
            condition += f" AND ({_reached(grants, _ABOUT[function])})"
    if function == "duckdb_views" and grants is not None:
        # The text of a view names what lies beneath it: that is its maker's to know.
        own = f"{MAKER} AS (SELECT {literal(rights.maker)})"
        replaced = f'CASE WHEN system.main.contains("sql", {literal(own)}) THEN "sql" END AS "sql"'
    columns = f"* REPLACE ({replaced})" if replaced else "*"
    return f"SELECT {columns} FROM system.main.{function}() WHERE {condition}"


def _reached(grants: Iterable[Grant], about: str) -> str:
    """Whether a row's schema, and what it is `about` there, is named by one of `grants`: whatever they allow."""
    every = any(grant.schema == EVERY for grant in grants)
    if every:
        return "true"
    schema = FOLDED.format("schema_name")
    if not about:
        # Every lake has its main.
        names = sorted({MAIN, *(grant.schema for grant in grants)})
        return f"{schema} IN ({', '.join(map(literal, names))})"
    parts = []
    if whole := sorted({grant.schema for grant in grants if grant.table == EVERY}):
        parts.append(f"{schema} IN ({', '.join(map(literal, whole))})")
    if tables := sorted({(grant.schema, grant.table) for grant in grants if grant.table != EVERY}):
        pairs = ", ".join(f"({literal(each)}, {literal(table)})" for each, table in tables)
        parts.append(f"({schema}, {FOLDED.format(about)}) IN ({pairs})")
    return " OR ".join(parts) or "false"
