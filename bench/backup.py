"""How long a backup and a restore take: `python bench/backup.py`.

It serves a made-up catalog of a given size and reports medians in seconds. The recovery point is the schedule's
interval plus the time of one backup; the recovery time is fetch + check.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import duckdb

from azquack.catalog.backup.backups import Backups
from azquack.catalog.backup.places import DirectoryPlace
from azquack.catalog.backup.retention import Retention
from azquack.catalog.check import metadata
from azquack.cli.site import site
from azquack.lake import extensions
from azquack.sql import literal

SNAPSHOTS, FILES_EACH, COLUMNS = 20_000, 5, 4


def fill(lake: Path, snapshots: int) -> None:
    """A lake with one table and `snapshots` snapshots, each of which added `FILES_EACH` files."""
    catalog = lake / "catalog" / "catalog.duckdb"
    catalog.parent.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as home:
        extensions.link_all(Path(home))
        with duckdb.connect(":memory:", config=extensions.config(Path(home))) as connection:
            connection.execute("LOAD ducklake")
            connection.execute(
                f"ATTACH {literal(f'ducklake:{catalog}')} AS lake (DATA_PATH {literal(f'{lake}/data/')})"
            )
            connection.execute("CREATE TABLE lake.t (a INTEGER, b BIGINT, c VARCHAR, d TIMESTAMP)")
    with duckdb.connect(str(catalog)) as connection:
        first, files = 2, snapshots * FILES_EACH
        for statement in (
            f"INSERT INTO ducklake_snapshot SELECT range, now(), 1, 100, {files} FROM range({first}, {snapshots})",
            "INSERT INTO ducklake_snapshot_changes SELECT range, 'inserted_into_table:1', NULL, NULL, NULL "
            f"FROM range({first}, {snapshots})",
            "INSERT INTO ducklake_data_file SELECT range, 1, 2 + range // 5, NULL, NULL, "
            "'ducklake-' || uuid() || '.parquet', true, 'parquet', 1000, 33333, 333, range * 1000, NULL, NULL, "
            f"NULL, NULL FROM range({files - 2 * FILES_EACH})",
            "INSERT INTO ducklake_file_column_stats SELECT f.data_file_id, 1, c.range, 500, 1000, 0, "
            "f.row_id_start::VARCHAR, (f.row_id_start + 999)::VARCHAR, NULL, NULL "
            f"FROM ducklake_data_file AS f, range(1, {COLUMNS + 1}) AS c",
        ):
            connection.execute(statement)


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(lake: Path, rounds: int) -> dict[str, float]:
    """The medians of a pair that is up in `lake`."""
    here = site(lake, {})
    backups = Backups(DirectoryPlace(lake / "measured"), Retention())
    fetched = lake / "fetched.duckdb"
    times: dict[str, list[float]] = {"backup": [], "fetch": [], "check": []}
    for _ in range(rounds):
        times["backup"].append(seconds(partial(backups.take, here.catalog)))
        newest = backups.newest()
        times["fetch"].append(seconds(partial(backups.fetch, newest, fetched)))
        times["check"].append(seconds(partial(metadata.damage, fetched)))
    medians = {f"{name}_seconds": statistics.median(each) for name, each in times.items()}
    return medians | {"catalog_bytes": fetched.stat().st_size, "backup_bytes": backups.newest().size}


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--snapshots", type=int, default=SNAPSHOTS)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        lake = Path(folder) / "lake"
        fill(lake, options.snapshots)
        up = [sys.executable, "-m", "azquack", "up", "--dir", str(lake), "--port", "0", "--backup-every", "0"]
        subprocess.run([*up, "--detach", "--json"], check=True, stdout=subprocess.DEVNULL)
        try:
            figures = measure(lake, options.rounds)
        finally:
            down = [sys.executable, "-m", "azquack", "down", "--dir", str(lake)]
            subprocess.run(down, check=True, stdout=subprocess.DEVNULL)
    machine = {"cores": os.cpu_count(), "machine": platform.machine(), "load": os.getloadavg()[0]}
    print(json.dumps({"snapshots": options.snapshots, **figures, **machine}, indent=2))


if __name__ == "__main__":
    main()
