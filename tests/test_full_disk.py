"""A full disk: what `status`, readiness and the metrics say of it, on disks that are really full."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from azquack.process import disks
from azquack.process.disks import Room, shortage
from tests.cluster import TempPair, attached, remote, wait_until
from tests.reliability.disks import Disk, small_disk

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("name", disks._PLACES)
def test_a_full_place_is_named_with_what_fails_and_what_to_do(tmp_path: Path, name: str) -> None:
    with small_disk(tmp_path / "small") as disk:
        places = Room({name: disk.path})
        check = f"room-{name}"
        assert places.measure() == {check: ""}
        disk.fill()
        problem = places.measure()[check]
        assert str(disk.path) in problem
        assert "make room" in problem
        assert full_by_metric(places) == {name: 1}
        disk.free()
        assert places.measure() == {check: ""}
        assert full_by_metric(places) == {name: 0}
        assert not list(disk.path.iterdir())


def full_by_metric(places: Room) -> dict[str, float]:
    [metric] = places.collect()
    return {sample.labels["place"]: sample.value for sample in metric.samples}


def test_a_place_that_is_not_made_yet_has_the_room_of_its_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        later = disk.path / "not" / "yet"
        assert shortage(later) == ""
        disk.fill()
        assert "0 MiB left" in shortage(later)


def test_a_disk_without_inodes_or_that_is_read_only_is_told_by_writing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "inodes", "size=96m,nr_inodes=2") as disk:
        (disk.path / "last").touch()
        assert "no room left" in shortage(disk.path)
    with small_disk(tmp_path / "readonly", "size=96m,ro") as disk:
        assert "cannot be written (Read-only file system)" in shortage(disk.path)


def test_a_pair_on_a_full_disk_reads_and_says_that_it_cannot_write(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        pair = TempPair(disk.path / "lake", log=tmp_path / "pair.log")
        try:
            pair.start()
            with attached(pair, tmp_path / "client") as connection:
                cannot_write(pair, disk, connection)
        finally:
            pair.destroy()


def cannot_write(pair: TempPair, disk: Disk, connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute(remote("CREATE TABLE t AS SELECT i FROM range(1000) r(i)"))
    code, before = status(pair)
    assert code == 0, before
    disk.fill()
    everywhere = {"room-catalog", "room-backups", "room-data"}
    wait_until(
        lambda: full(pair) == everywhere, lambda: f"the status says only that these are full: {full(pair)}"
    )
    code, said = status(pair)
    assert code == 1
    assert said["query"]["ready"], "a reader can still be served"
    assert connection.execute(remote("SELECT count(*) FROM t")).fetchall() == [(1000,)]
    with pytest.raises(duckdb.Error):
        connection.execute(remote("INSERT INTO t SELECT i FROM range(100000) r(i)")).fetchall()
    metrics = httpx.get(f"{pair.http_url}/metrics").text
    assert 'azquack_disk_full{place="data"} 1.0' in metrics
    fails = "every write to the lake fails"
    assert fails in shown(pair)
    wait_until(lambda: fails in pair.log_text(), f"the log never said: {fails}")
    disk.free()
    wait_until(lambda: not full(pair), "the status never said that there is room again")
    wait_until(lambda: status(pair)[0] == 0, lambda: f"the status never was well again: {status(pair)}")
    connection.execute(remote("INSERT INTO t VALUES (1000)")).fetchall()
    assert connection.execute(remote("SELECT count(*) FROM t")).fetchall() == [(1001,)]


def full(pair: TempPair) -> set[str]:
    """The checks of room that say no."""
    found = set()
    for url in (pair.info["http_url"], pair.info["catalog_http_url"]):
        checks = httpx.get(f"{url}/status").json()["checks"]
        found |= {
            name for name, each in checks.items() if name.startswith("room-") and each["status"] == "error"
        }
    return found


def status(pair: TempPair) -> tuple[int, dict[str, Any]]:
    """Exit code and report of `azquack status`."""
    finished = run(pair, "--json")
    return finished.returncode, json.loads(finished.stdout)


def shown(pair: TempPair) -> str:
    return run(pair).stdout


def run(pair: TempPair, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "azquack", "status", "--dir", str(pair.directory), *flags],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
