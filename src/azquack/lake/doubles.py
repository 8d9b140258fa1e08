"""Whole numbers of 128 bits in Parquet files, which keep them as DOUBLE and say nothing of them in their footers.

https://github.com/duckdb/ducklake/issues/1186: digits beyond 2^53 are lost as the file is written, and what rounds up
to 2^127 can be read by nobody, nor merged.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import duckdb

from azquack.sql import identifier

# Below this a DOUBLE keeps every whole number; it itself may be the next one, rounded.
INEXACT = 2.0**53
# From this on it is no HUGEINT when it is read back.
UNREADABLE = 2.0**127
# By their full names, since a bare one is sought in the lake first.
_SCHEMA = "SELECT name, num_children, converted_type, field_id FROM system.main.parquet_schema(?)"
_ROWS = "system.main.read_parquet(?)"

Field = tuple[str, int | None, str | None, int | None]


def largest(connection: duckdb.DuckDBPyConnection, path: str, columns: Collection[int]) -> float:
    """The largest magnitude in the columns of `path` that have these field ids, nested ones too; 0 when there is none.

    Raises `duckdb.Error` when the file cannot be read.
    """
    rows: Sequence[Field] = connection.execute(_SCHEMA, [path]).fetchall()
    fields = iter(rows)
    root = next(fields)
    found = [each for _ in range(root[1] or 0) if (each := _largest(fields, "", frozenset(columns)))]
    if not found:
        return 0.0
    expression = found[0] if len(found) == 1 else f"greatest({', '.join(found)})"
    [(value,)] = connection.execute(f"SELECT max({expression}) FROM {_ROWS}", [path]).fetchall()
    return float(value or 0)


def _largest(fields: Iterator[Field], parent: str, columns: frozenset[int], depth: int = 0) -> str:
    """What gives the largest magnitude of the next field; '' when it has none of the columns in it."""
    name, children, kind, number = next(fields)
    value = f"{parent}.{identifier(name)}" if parent else identifier(name)
    if not children:
        return f"abs({value})" if number in columns else ""
    if kind == "LIST":
        next(fields)
        # The element stands for itself, under whatever name the file gives it.
        element = f"e{depth}"
        inner = _largest(_renamed(fields, element), "", columns, depth + 1)
        return f"list_max(list_transform({value}, lambda {element}: {inner}))" if inner else ""
    if kind == "MAP":
        _skip(fields, children)
        return ""
    found = [each for _ in range(children) if (each := _largest(fields, value, columns, depth))]
    return f"greatest({', '.join(found)})" if len(found) > 1 else "".join(found)


def _renamed(fields: Iterator[Field], name: str) -> Iterator[Field]:
    _, children, kind, number = next(fields)
    yield name, children, kind, number
    yield from fields


def _skip(fields: Iterator[Field], number: int) -> None:
    for _ in range(number):
        _skip(fields, next(fields)[1] or 0)
