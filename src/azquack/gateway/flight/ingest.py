"""Bulk ingestion: the rows of an Arrow stream into a table, which is made where that is wanted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from azquack.errors import Refusal
from azquack.gateway.flight.calls import Call
from azquack.gateway.flight.database import BESIDE, Database
from azquack.gateway.flight.messages import has
from azquack.gateway.flight.metadata import LAKE
from azquack.gateway.flight.turns import Transaction, close
from azquack.gateway.ports import Principal
from azquack.gateway.statement import Table
from azquack.sql import identifier

# TableNotExistOption and TableExistsOption of FlightSql.proto.
CREATE = 1
FAIL_IF_EXISTS, REPLACE = 1, 3
_TEMPORARY = "Temporary tables are not kept over Flight SQL: load into a table of the lake"
_CATALOG = f"This server has the one catalog {LAKE}"


def ingest(
    database: Database, call: Call, principal: Principal, command: Any, reader: Any, open: Transaction | None
) -> int:
    """Adds the rows of `reader` as the CommandStatementIngest says, all or none; how many. Raises `Refusal`.

    `open` is the transaction that it is part of; else it has one of its own.
    """
    if command.temporary:
        raise Refusal("unsupported", _TEMPORARY)
    if has(command, "catalog") and command.catalog not in ("", LAKE):
        raise Refusal("unsupported", _CATALOG)
    table = Table(command.schema if has(command, "schema") and command.schema else "main", command.table)
    options = command.table_definition_options
    if open is not None:
        return _ingest(database, call, principal, table, options, reader, open)
    own = database.begin(principal, f"ingest {principal.fingerprint}")
    try:
        rows = _ingest(database, call, principal, table, options, reader, own)
        with database.running(call, principal, "COMMIT", own=True, transaction=own) as running:
            running.run(running.sql)
        return rows
    finally:
        close(own.cursor)


def _ingest(
    database: Database,
    call: Call,
    principal: Principal,
    table: Table,
    options: Any,
    reader: Any,
    transaction: Transaction,
) -> int:
    place = ".".join(identifier(each) for each in (LAKE, table.schema, table.name))
    rows = pa.RecordBatchReader.from_batches(reader.schema, _batches(reader, call))
    if options.if_exists == REPLACE:
        database.write(call, principal, f"DROP TABLE IF EXISTS {place}", transaction=transaction)
    if options.if_not_exist == CREATE:
        columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in _types(rows.schema))
        unless = "" if options.if_exists in (FAIL_IF_EXISTS, REPLACE) else "IF NOT EXISTS "
        database.write(call, principal, f"CREATE TABLE {unless}{place} ({columns})", transaction=transaction)
    name = f"azquack_rows_{os.urandom(8).hex()}"
    with database.running(call, principal, "", table=table, transaction=transaction) as running:
        # A view that this connection alone has, for the time of the insert. Its making and its end hold Python's lock,
        # and must not seek a name in the lake: the link to the catalog, in this process, would wait for that lock.
        running.run(f"USE {BESIDE}.main")
        running.cursor.register(name, rows)
        counted = running.run(f"INSERT INTO {place} BY NAME SELECT * FROM temp.main.{name}").fetchone()
        running.cursor.unregister(name)
        running.run(f"USE {LAKE}.main")
    return int(counted[0]) if counted else 0


def _batches(reader: Any, call: Call) -> Iterator[Any]:
    """The batches as they come."""
    for chunk in reader:
        call.check()
        if chunk.data is not None:
            yield chunk.data


def _types(schema: pa.Schema) -> list[tuple[str, str]]:
    """The columns of a table for rows of `schema`: their names, and the types of DuckDB.

    A DuckDB without a lake tells them: the call holds Python's lock, and the link to the catalog would wait for it.
    """
    with duckdb.connect(":memory:") as beside:
        relation = beside.from_arrow(schema.empty_table())
        return [(name, str(kind)) for name, kind in zip(relation.columns, relation.types, strict=True)]
