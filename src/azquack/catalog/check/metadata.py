"""The checks inside the metadata, over one copy of a catalog."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from azquack.catalog.check.finding import Finding
from azquack.catalog.check.rules import METADATA
from azquack.errors import LakeError
from azquack.lake import extensions
from azquack.sql import first_line, literal

NAME = "checked"


@contextmanager
def opened(catalog: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB of our own with the file `catalog` attached as `NAME`, read-only. Raises `LakeError`."""
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        extensions.link_all(Path(scratch))
        with duckdb.connect(":memory:", config=extensions.config(Path(scratch))) as connection:
            try:
                connection.execute(f"ATTACH {literal(str(catalog))} AS {NAME} (READ_ONLY)")
                connection.execute(f"FROM {NAME}.ducklake_snapshot LIMIT 1")
            except duckdb.Error as error:
                raise LakeError(f"{catalog} is no catalog of a lake: {first_line(error)}") from None
            yield connection


def findings(connection: duckdb.DuckDBPyConnection) -> list[Finding]:
    """What is wrong inside the metadata of the catalog that `opened` has opened."""
    connection.execute(f"USE {NAME}")
    return [
        Finding(rule, str(subject))
        for rule in METADATA
        for (subject,) in connection.execute(rule.find).fetchall()
    ]


def damage(catalog: Path) -> list[Finding]:
    """What is wrong inside the copy `catalog` of a lake's metadata, and serious. Raises `LakeError`."""
    with opened(catalog) as connection:
        return [each for each in findings(connection) if each.serious]
