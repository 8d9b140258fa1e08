"""Small lakes on disk, without a pair, to be damaged and mended."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from azquack.config.settings import Settings
from azquack.config.sources import load
from azquack.lake import extensions
from azquack.sql import literal


@dataclass(frozen=True)
class DiskLake:
    """A lake whose catalog is a plain DuckDB file in `path`."""

    path: Path

    @property
    def catalog(self) -> Path:
        """The catalog's file."""
        return self.path / "catalog.duckdb"

    @property
    def data(self) -> Path:
        """The data path."""
        return self.path / "data"

    @property
    def settings(self) -> Settings:
        """Settings that lead to its data."""
        return load({"data_path": str(self.data)}, env_file=None).settings

    def files(self) -> set[Path]:
        """Every Parquet file under the data path."""
        return set(self.data.rglob("*.parquet"))

    @contextmanager
    def attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A stock DuckDB with the lake attached as `lake`."""
        home = self.path / "extensions"
        extensions.link_all(home)
        with duckdb.connect(":memory:", config=extensions.config(home)) as connection:
            connection.execute("LOAD ducklake")
            connection.execute(
                f"ATTACH {literal(f'ducklake:{self.catalog}')} AS lake (DATA_PATH {literal(f'{self.data}/')})"
            )
            yield connection

    def lake(self, *statements: str) -> list[Any]:
        """What the last of `statements` gives in the lake."""
        with self.attached() as connection:
            connection.execute("USE lake")
            return [connection.execute(each).fetchall() for each in statements][-1]

    def metadata(self, *statements: str) -> list[Any]:
        """What the last of `statements` gives in the catalog's own tables: this is how damage is done."""
        with duckdb.connect(str(self.catalog)) as connection:
            return [connection.execute(each).fetchall() for each in statements][-1]

    def copy(self, to: Path) -> DiskLake:
        """The same lake in another directory."""
        shutil.copytree(self.path, to, symlinks=True)
        copied = DiskLake(to)
        copied.metadata(
            f"UPDATE ducklake_metadata SET value = {literal(f'{copied.data}/')} WHERE key = 'data_path'"
        )
        return copied


def make_lake(path: Path) -> DiskLake:
    """A lake with two tables: `t` in two files with deletes and inlined rows, `u` altered since its first file."""
    path.mkdir(parents=True)
    lake = DiskLake(path)
    lake.lake(
        "CREATE TABLE t (i INTEGER, s VARCHAR, d DATE)",
        "INSERT INTO t SELECT range, 'a' || range, DATE '2026-01-01' FROM range(1000)",
        "INSERT INTO t SELECT range + 1000, 'b', NULL FROM range(1000)",
        "DELETE FROM t WHERE i < 100",
        "INSERT INTO t VALUES (5000, 'inlined', NULL)",
        "CREATE SCHEMA other",
        "CREATE TABLE other.u AS SELECT range AS k, {'a': range, 'b': ['x']} AS v FROM range(500)",
        "ALTER TABLE other.u ADD COLUMN late DOUBLE",
        "INSERT INTO other.u SELECT range, {'a': range, 'b': []}, 0.5 FROM range(500)",
        "ALTER TABLE other.u RENAME COLUMN k TO key",
    )
    return lake
