"""What Flight SQL asks of a lake: catalogs, schemas, tables, keys.

A principal with grants is told of what these reach and no more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from azquack.gateway.flight.calls import Call
from azquack.gateway.flight.database import Database
from azquack.gateway.flight.messages import has
from azquack.gateway.flight.sql_info import SQL_INFO, sql_info
from azquack.gateway.flight.type_info import TYPE_INFO, type_info
from azquack.gateway.ports import Principal
from azquack.principals.principal import EVERY, folded
from azquack.sql import literal

LAKE = "lake"
TABLE_TYPES = ("TABLE", "VIEW")
_UTF8 = pa.utf8()
CATALOGS = pa.schema([pa.field("catalog_name", _UTF8, nullable=False)])
SCHEMAS = pa.schema([("catalog_name", _UTF8), pa.field("db_schema_name", _UTF8, nullable=False)])
TABLES = pa.schema(
    [
        ("catalog_name", _UTF8),
        ("db_schema_name", _UTF8),
        pa.field("table_name", _UTF8, nullable=False),
        pa.field("table_type", _UTF8, nullable=False),
    ]
)
WITH_SCHEMA = TABLES.append(pa.field("table_schema", pa.binary(), nullable=False))
TYPES = pa.schema([pa.field("table_type", _UTF8, nullable=False)])
PRIMARY = pa.schema(
    [
        ("catalog_name", _UTF8),
        ("db_schema_name", _UTF8),
        pa.field("table_name", _UTF8, nullable=False),
        pa.field("column_name", _UTF8, nullable=False),
        pa.field("key_sequence", pa.int32(), nullable=False),
        ("key_name", _UTF8),
    ]
)
FOREIGN = pa.schema(
    [
        *(
            pa.field(f"{side}_{name}", _UTF8, nullable=name.endswith(("catalog_name", "schema_name")))
            for side in ("pk", "fk")
            for name in ("catalog_name", "db_schema_name", "table_name", "column_name")
        ),
        pa.field("key_sequence", pa.int32(), nullable=False),
        ("fk_key_name", _UTF8),
        ("pk_key_name", _UTF8),
        pa.field("update_rule", pa.uint8(), nullable=False),
        pa.field("delete_rule", pa.uint8(), nullable=False),
    ]
)
# A DuckLake has no keys: what asks for them is answered with no rows.
_EMPTY = {
    "CommandGetPrimaryKeys": PRIMARY,
    "CommandGetExportedKeys": FOREIGN,
    "CommandGetImportedKeys": FOREIGN,
    "CommandGetCrossReference": FOREIGN,
}
_SCHEMAS_SQL = (
    "SELECT schema_name FROM system.main.duckdb_schemas() "
    f"WHERE database_name = {literal(LAKE)} ORDER BY schema_name"
)
_TABLES_SQL = (
    "SELECT schema_name, table_name, 'TABLE' FROM system.main.duckdb_tables() "
    f"WHERE database_name = {literal(LAKE)} UNION ALL "
    "SELECT schema_name, view_name, 'VIEW' FROM system.main.duckdb_views() "
    f"WHERE database_name = {literal(LAKE)} AND NOT internal ORDER BY ALL"
)
_COLUMNS_SQL = (
    "SELECT schema_name, table_name, column_name, data_type, is_nullable FROM system.main.duckdb_columns() "
    f"WHERE database_name = {literal(LAKE)} AND NOT internal ORDER BY schema_name, table_name, column_index"
)
Rows = list[tuple[Any, ...]]


def schema_of(name: str, command: Any) -> pa.Schema | None:
    """The schema of the answer to the command `name`; None when it is none of these."""
    fixed = {
        "CommandGetCatalogs": CATALOGS,
        "CommandGetDbSchemas": SCHEMAS,
        "CommandGetTableTypes": TYPES,
        "CommandGetSqlInfo": SQL_INFO,
        "CommandGetXdbcTypeInfo": TYPE_INFO,
        **_EMPTY,
    }
    if name == "CommandGetTables":
        return WITH_SCHEMA if command.include_schema else TABLES
    return fixed.get(name)


def answer(database: Database, call: Call, principal: Principal, name: str, command: Any) -> pa.Table:
    """The answer to the command `name`, one of those that `schema_of` knows. Raises `Refusal`."""
    match name:
        case "CommandGetCatalogs":
            return _table(CATALOGS, [(LAKE,)])
        case "CommandGetTableTypes":
            return _table(TYPES, [(each,) for each in TABLE_TYPES])
        case "CommandGetSqlInfo":
            return sql_info(list(command.info), reads_only=principal.role == "reader")
        case "CommandGetXdbcTypeInfo":
            return type_info(command.data_type if has(command, "data_type") else None)
        case "CommandGetDbSchemas":
            return _table(SCHEMAS, _schemas(database, call, principal, command))
        case "CommandGetTables":
            return _tables(database, call, principal, command)
    return _table(_EMPTY[name], [])


def _schemas(database: Database, call: Call, principal: Principal, command: Any) -> Rows:
    reached = {folded(each.schema) for each in principal.grants or ()}
    return [
        (LAKE, schema)
        for (schema,) in _asked(database, call, principal, _SCHEMAS_SQL)
        if _is_lake(command)
        and (principal.grants is None or EVERY in reached or folded(schema) in reached)
        and _matches(command, "db_schema_filter_pattern", schema)
    ]


def _tables(database: Database, call: Call, principal: Principal, command: Any) -> pa.Table:
    found = [
        (LAKE, schema, name, kind)
        for schema, name, kind in _asked(database, call, principal, _TABLES_SQL)
        if _is_lake(command)
        and may_see(principal, schema, name)
        and _matches(command, "db_schema_filter_pattern", schema)
        and _matches(command, "table_name_filter_pattern", name)
        and (not command.table_types or kind in command.table_types)
    ]
    if not command.include_schema:
        return _table(TABLES, found)
    columns: dict[tuple[str, str], Rows] = {(schema, name): [] for _, schema, name, _ in found}
    for schema, name, *column in _asked(database, call, principal, _COLUMNS_SQL):
        if (schema, name) in columns:
            columns[schema, name].append(tuple(column))
    types = _arrow_types(database, {column[1] for each in columns.values() for column in each})
    rows = [
        (*row, _columns(row[1], row[2], columns[row[1], row[2]], types).serialize().to_pybytes())
        for row in found
    ]
    return _table(WITH_SCHEMA, rows)


def _columns(schema: str, table: str, columns: Rows, types: dict[str, pa.DataType]) -> pa.Schema:
    fields = []
    for name, type_name, nullable in columns:
        facts = {
            "CATALOG_NAME": LAKE,
            "DB_SCHEMA_NAME": schema,
            "TABLE_NAME": table,
            "TYPE_NAME": type_name,
            "IS_AUTO_INCREMENT": "0",
            "IS_CASE_SENSITIVE": "1" if types[type_name] == _UTF8 else "0",
            "IS_READ_ONLY": "0",
            "IS_SEARCHABLE": "1",
        }
        if pa.types.is_decimal(types[type_name]):
            facts |= {"PRECISION": str(types[type_name].precision), "SCALE": str(types[type_name].scale)}
        metadata = {f"ARROW:FLIGHT:SQL:{key}": value for key, value in facts.items()}
        fields.append(pa.field(name, types[type_name], bool(nullable), metadata))
    return pa.schema(fields)


def _arrow_types(database: Database, names: set[str]) -> dict[str, pa.DataType]:
    """The Arrow type of each type of DuckDB, by what DuckDB calls it."""
    listed = sorted(names)
    if not listed:
        return {}
    cursor = database.connection.cursor()
    try:
        # As DuckDB reads them; text that is no type never gets into the statement.
        casts = ", ".join(f"NULL::{cursor.sqltype(each)} AS c{n}" for n, each in enumerate(listed))
        schema = cursor.execute(f"SELECT {casts} LIMIT 0").to_arrow_reader(1).schema
        return dict(zip(listed, schema.types, strict=True))
    finally:
        cursor.close()


def may_see(principal: Principal, schema: str, table: str) -> bool:
    """Whether a grant reaches `schema.table`, or everything is in reach."""
    return principal.grants is None or any(
        each.schema in (EVERY, folded(schema)) and each.table in (EVERY, folded(table))
        for each in principal.grants
    )


def _asked(database: Database, call: Call, principal: Principal, sql: str) -> Rows:
    with database.running(call, principal, sql, own=True) as running:
        return running.run(running.sql).fetchall()


def _is_lake(command: Any) -> bool:
    return not has(command, "catalog") or command.catalog in ("", LAKE)


def _matches(command: Any, field: str, name: str) -> bool:
    """Whether `name` is like the SQL pattern in `field`, if there is one; a backslash takes a sign as it is."""
    return not has(command, field) or _like(getattr(command, field), name)


def _like(pattern: str, text: str) -> bool:
    # After the greedy match of wildcards: goes back to the last % alone, so it costs length times length at most.
    parts: list[tuple[str, bool]] = []
    signs = iter(pattern)
    for sign in signs:
        wild = sign in "%_"
        parts.append((next(signs, sign), False) if sign == "\\" else (sign, wild))
    at = text_at = 0
    back: tuple[int, int] | None = None
    while text_at < len(text):
        if at < len(parts) and parts[at] == ("%", True):
            back, at = (at, text_at), at + 1
        elif at < len(parts) and (parts[at] == ("_", True) or parts[at] == (text[text_at], False)):
            at, text_at = at + 1, text_at + 1
        elif back is not None:
            at, text_at = back[0] + 1, back[1] + 1
            back = (back[0], text_at)
        else:
            return False
    return all(each == ("%", True) for each in parts[at:])


def _table(schema: pa.Schema, rows: Sequence[tuple[Any, ...]]) -> pa.Table:
    columns: list[Any] = list(zip(*rows, strict=True)) or [[] for _ in schema]
    return pa.table(
        [pa.array(each, field.type) for each, field in zip(columns, schema, strict=True)], schema=schema
    )
