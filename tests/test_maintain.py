"""`azquack maintain`: fewer files, the same rows, and nothing deleted that anybody may still need."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from azquack.catalog.check import checks
from azquack.catalog.maintain.bounds import OPEN, Bounds, Clocks, bounds
from azquack.catalog.maintain.deletion import Deletion
from azquack.catalog.maintain.lake import METADATA, opened, storage_time
from azquack.catalog.maintain.protection import Protection
from azquack.catalog.maintain.report import sizes
from azquack.catalog.maintain.steps import PLANNED, Maintenance, Options, Outcome
from azquack.errors import LakeError
from azquack.lake.metadata import Metadata
from azquack.storage import storage_for
from tests.small_lakes import DiskLake

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
WEEK, DAY = timedelta(days=7), timedelta(days=1)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> DiskLake:
    """Ten small files, inlined rows and deletes in `t`, one file in `s.u`."""
    path = tmp_path_factory.mktemp("written") / "lake"
    path.mkdir()
    lake = DiskLake(path)
    lake.lake(
        "CREATE TABLE t (i INTEGER)",
        *(f"INSERT INTO t SELECT range + {n * 1000} FROM range(1000)" for n in range(10)),
        *(f"INSERT INTO t VALUES ({-n})" for n in range(1, 5)),
        "DELETE FROM t WHERE i BETWEEN 100 AND 700",
        "DELETE FROM t WHERE i = -1",
        "CREATE SCHEMA s",
        "CREATE TABLE s.u AS SELECT range AS k FROM range(100)",
    )
    return lake


@pytest.fixture
def lake(written: DiskLake, tmp_path: Path) -> Iterator[DiskLake]:
    copied = written.copy(tmp_path / "lake")
    yield copied
    shutil.rmtree(copied.path)


@contextmanager
def attached(lake: DiskLake) -> Iterator[duckdb.DuckDBPyConnection]:
    with opened(Metadata(str(lake.catalog), ()), storage_for(lake.settings)) as connection:
        yield connection


def everything_goes(dry_run: bool = False) -> Options:
    # Later than the maintenance itself: what it schedules goes at once.
    soon = datetime.now(UTC) + timedelta(hours=1)
    return Options(Bounds(soon, soon, soon), dry_run)


def maintenance_of(
    lake: DiskLake, connection: duckdb.DuckDBPyConnection, options: Options, protection: Protection
) -> Maintenance:
    def run(statement: str) -> None:
        connection.execute(statement.format(schema=f"{METADATA}."))

    deletion = Deletion(connection, f"{lake.data}/", protection, lake.path, lambda: METADATA, run)
    return Maintenance(connection, options, deletion)


def maintain(lake: DiskLake, options: Options, protection: Protection | None = None) -> list[Outcome]:
    with attached(lake) as connection:
        maintenance = maintenance_of(lake, connection, options, protection or Protection())
        return list(maintenance.run(maintenance.steps()))


def defaults() -> Options:
    now = datetime.now(UTC)
    return Options(bounds(Clocks(now, now, now), WEEK, DAY))


def content(lake: DiskLake) -> list[object]:
    return [
        lake.lake("SELECT count(*), sum(i), count(DISTINCT i) FROM t"),
        lake.lake("SELECT count(*), sum(k) FROM s.u"),
    ]


def test_the_rows_are_the_same_in_fewer_files(lake: DiskLake) -> None:
    before, files = content(lake), len(lake.files())
    with attached(lake) as connection:
        was = sizes(connection, f"{lake.data}/")
        maintenance = maintenance_of(lake, connection, everything_goes(), Protection())
        outcomes = list(maintenance.run(maintenance.steps()))
        # The snapshots before the merge still need its sources; the next run expires them.
        later = list(maintenance.run(maintenance.steps()))
        now = sizes(connection, f"{lake.data}/")
    done = {(each.step, each.table): each.done for each in outcomes}
    assert not [each for each in outcomes + later if each.problem]
    assert done["flush", "main.t"] == "4 inlined rows to Parquet"
    assert done["rewrite", "main.t"]
    assert done["merge", "main.t"]
    assert not done["merge", "s.u"]
    assert content(lake) == before
    assert len(lake.files()) == 2 < files
    assert (was.all_files, now.all_files, now.live_files) == (files, 2, 2)
    assert now.live_bytes == now.all_bytes == sum(path.stat().st_size for path in lake.files())
    assert now.snapshots == 1 < was.snapshots
    assert checks.run(lake.catalog, lake.settings) == []


def test_the_defaults_keep_every_snapshot_and_file_of_today(lake: DiskLake) -> None:
    files = lake.files()
    snapshots = lake.metadata("SELECT snapshot_id, snapshot_time FROM ducklake_snapshot")
    maintain(lake, defaults())
    assert files <= lake.files()
    assert set(snapshots) <= set(lake.metadata("SELECT snapshot_id, snapshot_time FROM ducklake_snapshot"))
    assert lake.lake("SELECT count(*), sum(i) FROM t AT (VERSION => 3)") == [(2000, sum(range(2000)))]


def test_a_dry_run_says_what_would_be_done_and_does_nothing(lake: DiskLake) -> None:
    orphan = make_orphan(lake, age=2 * 86400)
    before, files = lake.metadata("FROM ducklake_snapshot"), lake.files()
    copied = lake.path / "copy.duckdb"
    shutil.copy(lake.catalog, copied)
    with attached(lake) as connection:
        connection.execute(f"ATTACH '{copied}' AS {PLANNED} (READ_ONLY)")
        maintenance = maintenance_of(lake, connection, everything_goes(dry_run=True), Protection())
        outcomes = {(each.step, each.table): each for each in maintenance.run(maintenance.steps())}
    assert not [each for each in outcomes.values() if each.problem]
    assert outcomes["flush", "main.t"].done == "3 inlined rows to Parquet"
    assert outcomes["rewrite", "main.t"].done == "1 files with deleted rows"
    assert outcomes["merge", "main.t"].done == "at most 10 files"
    assert outcomes["expire", ""].done == f"{len(before) - 1} snapshots"
    assert outcomes["orphans", ""].done == "1 files that nobody names"
    assert lake.metadata("FROM ducklake_snapshot") == before
    assert lake.files() == files
    assert orphan.exists()


def make_orphan(lake: DiskLake, age: float) -> Path:
    orphan = lake.data / "main" / "t" / f"orphan-{age:.0f}.parquet"
    shutil.copy(min(lake.files()), orphan)
    os.utime(orphan, (time.time() - age,) * 2)
    return orphan


def test_only_orphans_that_are_old_enough_go(lake: DiskLake) -> None:
    young, old = make_orphan(lake, age=3600), make_orphan(lake, age=2 * 86400)
    foreign = lake.data / "notes.txt"
    foreign.write_text("not ours")
    os.utime(foreign, (1, 1))
    maintain(lake, defaults())
    assert young.exists()
    assert not old.exists()
    assert foreign.exists()


def test_one_bad_table_does_not_stop_the_rest(lake: DiskLake) -> None:
    [bad] = [path for path in lake.files() if path.parent.parent.name == "s"]
    lake.lake("DELETE FROM s.u WHERE k < 60")
    bad.write_bytes(b"broken")
    outcomes = maintain(lake, everything_goes())
    failed = [each for each in outcomes if each.problem]
    assert [(each.step, each.table) for each in failed] == [("rewrite", "s.u")]
    assert "\n" not in failed[0].problem
    assert next(each for each in outcomes if each.step == "merge" and each.table == "main.t").done


def test_a_lake_that_is_not_there_is_refused_in_a_sentence(lake: DiskLake) -> None:
    lake.catalog.unlink()
    with pytest.raises(LakeError, match="cannot be attached"), attached(lake):
        pass


def test_things_go_by_the_clock_of_who_dated_them() -> None:
    catalog, storage = NOW, NOW + timedelta(minutes=1)
    made = bounds(Clocks(catalog, storage, NOW), WEEK, DAY)
    assert (made.snapshots, made.files, made.orphans) == (NOW - WEEK, NOW - DAY, storage - DAY)


def test_what_an_open_transaction_may_have_written_is_no_orphan_whatever_is_asked_for() -> None:
    assert bounds(Clocks(NOW, NOW, NOW), WEEK, timedelta()).orphans == NOW - OPEN


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("ahead", [DAY, -DAY, timedelta(minutes=6)])
def test_clocks_that_differ_are_refused_in_a_sentence(which: int, ahead: timedelta) -> None:
    times = [NOW] * 3
    times[which] += ahead
    with pytest.raises(LakeError, match="the clocks differ: the catalog says"):
        Clocks(*times).agree()
    Clocks(NOW, NOW + timedelta(minutes=4), NOW).agree()


def test_the_storage_says_what_time_it_is(lake: DiskLake) -> None:
    with attached(lake) as connection:
        assert abs(storage_time(connection, f"{lake.data}/") - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("orphans_only", [True, False])
def test_what_is_protected_is_kept_and_the_report_says_why(lake: DiskLake, orphans_only: bool) -> None:
    orphan, files = make_orphan(lake, age=2 * 86400), lake.files()
    why = "kept: because"
    protection = Protection(orphans_reason=why) if orphans_only else Protection(reason=why)
    outcomes = maintain(lake, everything_goes(), protection)
    assert outcomes[-1] == Outcome("orphans", "", done="kept: because")
    assert orphan.exists()
    if not orphans_only:
        assert files <= lake.files()
        assert not [each for each in outcomes if each.problem]


def test_a_protection_that_somebody_must_see_to_is_a_problem(lake: DiskLake) -> None:
    files = lake.files()
    outcomes = maintain(lake, everything_goes(), Protection(reason="of that", wrong=True))
    assert [each.problem for each in outcomes if each.problem] == ["nothing is deleted: of that"] * 2
    assert files <= lake.files()
