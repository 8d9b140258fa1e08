"""Catalogs of older versions are kept, migrated and checked; newer ones are refused; both in a real node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from azquack.catalog import epochs, upgrade
from azquack.catalog.check import checks
from azquack.errors import LakeError
from tests.cluster import TempPair, attached, remote
from tests.small_lakes import DiskLake, make_lake
from tests.test_cli import azquack, sentence_of

# DuckDB and the DuckLake format that its extension writes.
OLDER = {"1.3.2": "0.2", "1.4.4": "0.3", "1.5.0": "0.4"}

# The machine's own environment, which uv may need to reach its registry; the tests get it scrubbed.
OUTSIDE = dict(os.environ)


@pytest.fixture
def lake(tmp_path: Path) -> DiskLake:
    return make_lake(tmp_path / "lake")


def test_the_pinned_ducklake_writes_the_format_that_we_know(lake: DiskLake) -> None:
    assert upgrade.format_of(lake.catalog) == upgrade.FORMAT
    assert upgrade.prepare(lake.catalog) is None


def test_what_is_not_there_or_no_lake_is_left_alone(tmp_path: Path) -> None:
    assert upgrade.prepare(tmp_path / "none.duckdb") is None
    assert not (tmp_path / "none.duckdb").exists()
    duckdb.connect(str(tmp_path / "empty.duckdb")).close()
    assert upgrade.prepare(tmp_path / "empty.duckdb") is None


def test_a_newer_lake_is_refused_and_unchanged(lake: DiskLake) -> None:
    lake.metadata("UPDATE ducklake_metadata SET value = '1.1' WHERE key = 'version'")
    before = lake.catalog.read_bytes()
    with pytest.raises(LakeError, match=r"newer DuckLake \(format 1\.1, this AzQuack reads up to 1\.0"):
        upgrade.prepare(lake.catalog)
    assert lake.catalog.read_bytes() == before


def test_a_pair_refuses_newer_catalogs_in_a_sentence(tmp_path: Path) -> None:
    catalog = tmp_path / "lake" / "catalog" / "catalog.duckdb"
    catalog.parent.mkdir(parents=True)
    made = make_lake(tmp_path / "made")
    made.metadata("UPDATE ducklake_metadata SET value = '9.0' WHERE key = 'version'")
    catalog.write_bytes(made.catalog.read_bytes())
    refused = sentence_of(azquack("up", "--dir", "lake", "--port", "0", cwd=tmp_path))
    assert "made by a newer DuckLake (format 9.0" in refused


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("other")


def python_with(environments: Path, version: str, *packages: str) -> Path:
    """The Python of a virtual environment with DuckDB `version` and `packages` of the same version."""
    python = environments / version / "bin" / "python"
    uv = str(Path(sys.executable).with_name("uv"))
    wanted = [f"{name}=={version}" for name in ("duckdb", *packages)]
    run([uv, "venv", "--quiet", "--python", sys.executable, str(environments / version)])
    run([uv, "pip", "install", "--quiet", "--python", str(python), *wanted])
    return python


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=OUTSIDE)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_file_of_a_newer_duckdb_is_refused_in_a_sentence(environments: Path, tmp_path: Path) -> None:
    catalog = tmp_path / "lake" / "catalog" / "catalog.duckdb"
    catalog.parent.mkdir(parents=True)
    python = python_with(environments, "2.0.0")
    make = f"import duckdb; duckdb.connect({str(catalog)!r}).execute('CREATE TABLE t (i INTEGER)')"
    run([str(python), "-c", make])
    before = catalog.read_bytes()
    refused = sentence_of(azquack("up", "--dir", "lake", "--port", "0", cwd=tmp_path))
    assert "made by a newer version, which this AzQuack cannot read" in refused
    assert catalog.read_bytes() == before


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("version", OLDER)
def test_a_lake_of_an_older_duckdb_is_upgraded_by_its_first_start(
    version: str, environments: Path, tmp_path: Path, home: Path
) -> None:
    made = DiskLake(tmp_path / "lake")
    made.path.mkdir()
    python = python_with(environments, version, "duckdb-extension-ducklake")
    run([str(python), str(Path(__file__).with_name("old_lake.py")), str(made.path)])
    assert upgrade.format_of(made.catalog) == OLDER[version]
    catalog = made.path / "catalog" / "catalog.duckdb"
    catalog.parent.mkdir()
    made.catalog.rename(catalog)
    before = catalog.read_bytes()

    with TempPair(made.path) as pair, attached(pair, home) as connection:
        for statement, rows in (
            ("SELECT count(*), sum(i), sum(late) FROM t", [(991, sum(range(10, 1000)) + 5000, 0.5)]),
            ("INSERT INTO t VALUES (1, 'z', 1.0)", [(1,)]),
            ("SELECT count(*), sum(i) FROM t AT (VERSION => 1)", [(1000, sum(range(1000)))]),
        ):
            assert connection.execute(remote(statement)).fetchall() == rows
    [kept] = catalog.parent.glob("*.before-upgrade-*")
    assert kept.read_bytes() == before
    upgraded = epochs.newest(catalog.parent)
    assert upgrade.format_of(upgraded) == upgrade.FORMAT
    assert checks.run(upgraded, made.settings) == []
