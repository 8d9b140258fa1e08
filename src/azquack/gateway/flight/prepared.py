"""Prepared statements: their types, their parameters, their life."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from azquack.errors import Refusal
from azquack.gateway.flight.database import described, parameters_of
from azquack.gateway.flight.turns import Running
from azquack.sql import literal

NAME = "azquack_asked"
MANY = "A query takes one row of parameters at a time: run it once for each"
WRONG = "This statement takes {} parameters, and was given {}"


@dataclass(slots=True)
class Prepared:
    """A statement that a client has prepared, within `transaction` if that is not empty; `rows` of parameters."""

    sql: str
    transaction: bytes
    schema: pa.Schema | None
    parameters: pa.Schema
    rows: list[list[Any]] = field(default_factory=list)

    def bind(self, reader: Any) -> None:
        """Takes the rows of `reader` as parameters. Raises `Refusal`."""
        rows = [list(each) for batch in reader for each in zip(*_columns(batch), strict=True)]
        given, wanted = len(reader.schema), len(self.parameters)
        if given != wanted:
            raise Refusal("parameters", WRONG.format(wanted, given))
        self.rows = rows

    def row(self) -> Sequence[Any]:
        """The one row of parameters of a query. Raises `Refusal`."""
        if len(self.rows) > 1:
            raise Refusal("parameters", MANY)
        return self.rows[0] if self.rows else ()


def prepared(running: Running, sql: str, transaction: bytes) -> Prepared:
    """What is known of `sql`, which may run as `running`, without running it. Raises `duckdb.Error`."""
    count = parameters_of(running.cursor, running.sql)
    parameters = _parameters(running, count) if count else pa.schema([])
    return Prepared(sql, transaction, described(running), parameters)


def _parameters(running: Running, count: int) -> pa.Schema:
    """What DuckDB expects; text where it takes anything."""
    names = [str(n + 1) for n in range(count)]
    text = running.sql.rstrip().rstrip(";")
    types: list[str] = []
    try:
        running.run(f"PREPARE {NAME} AS {text}")
        told = running.run(
            "SELECT unnest(parameter_types) FROM system.main.duckdb_prepared_statements() "
            f"WHERE name = {literal(NAME)}"
        )
        types = [str(row[0]) for row in told.fetchall()]
        running.run(f"DEALLOCATE {NAME}")
    except duckdb.BinderException:
        # Some it can tell only when it gets them.
        types = []
    types = types if len(types) == count else ["UNKNOWN"] * count
    known = [running.cursor.sqltype("VARCHAR" if each == "UNKNOWN" else each) for each in types]
    casts = ", ".join(f"NULL::{each} AS {name!r}" for each, name in zip(known, names, strict=True))
    casts = casts.replace("'", '"')
    return running.run(f"SELECT {casts} LIMIT 0").to_arrow_reader(1).schema


def _columns(batch: Any) -> list[list[Any]]:
    return [column.to_pylist() for column in batch.columns]
