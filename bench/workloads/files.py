"""TPC-H as Parquet files, queries and answers, from DuckDB's own extension."""

from __future__ import annotations

import tempfile
from decimal import Decimal, InvalidOperation
from pathlib import Path

import duckdb

from azquack.lake import extensions
from azquack.sql import literal

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
# The specification lets an answer be off by a hundredth, and a sum of floats by more.
TOLERANCE = Decimal("0.01")


def tpch(directory: Path, scale: float) -> Path:
    """A directory with a Parquet file for each table; made once."""
    home = directory / f"tpch-{scale:g}"
    if home.exists():
        return home
    home.mkdir()
    with _extension() as connection:
        connection.execute(f"CALL dbgen(sf = {scale})")
        for table in TABLES:
            connection.execute(f"COPY {table} TO {literal(str(home / f'{table}.parquet'))}")
    return home


def queries() -> list[str]:
    """The 22 queries."""
    with _extension() as connection:
        rows = connection.execute("SELECT query FROM tpch_queries() ORDER BY query_nr").fetchall()
    return [str(row[0]).strip().rstrip(";") for row in rows]


def answers(scale: float) -> list[list[list[str]]]:
    """The answers to the queries at `scale` as text; an empty list where the extension has none."""
    with _extension() as connection:
        rows = connection.execute(
            "SELECT answer FROM tpch_answers() WHERE scale_factor = ? ORDER BY query_nr", [scale]
        ).fetchall()
    return [[line.split("|") for line in str(row[0]).removesuffix("\n").split("\n")[1:]] for row in rows]


def same(found: list[tuple[object, ...]], expected: list[list[str]]) -> bool:
    """Whether rows are the expected ones, numbers within the tolerance of TPC-H."""
    return len(found) == len(expected) and all(
        len(row) == len(wanted)
        and all(_same(text(cell), want) for cell, want in zip(row, wanted, strict=True))
        for row, wanted in zip(found, expected, strict=True)
    )


def text(cell: object) -> str:
    """`cell` as the extension's answers show it."""
    return "" if cell is None else str(cell)


def _same(cell: str, want: str) -> bool:
    # The answers went through a program that left out the spaces at the end.
    if cell.rstrip() == want.rstrip():
        return True
    try:
        left, right = Decimal(cell), Decimal(want)
    except InvalidOperation:
        return False
    return abs(left - right) <= max(TOLERANCE, abs(right) * Decimal("1e-9"))


def _extension() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config=extensions.config(Path(tempfile.gettempdir())))
    connection.execute(f"LOAD {literal(str(extensions.file_of('tpch')))}")
    return connection


def making(home: Path) -> list[str]:
    """The statements that make every table of the files in `home`."""
    return [f"CREATE TABLE {name} AS FROM {literal(str(home / f'{name}.parquet'))}" for name in TABLES]
