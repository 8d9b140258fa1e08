"""Backups of a catalog that is being served and written to, and restores that bring everything back."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psutil
import pytest

from azquack.catalog import epochs
from azquack.catalog.backup.backups import Backups
from azquack.catalog.backup.manifest import Manifest, parse
from azquack.catalog.backup.note import Note
from azquack.catalog.backup.places import BlobPlace, DirectoryPlace, Place, place_for
from azquack.catalog.backup.retention import Retention
from azquack.catalog.backup.runner import Runner
from azquack.catalog.backup.status import BackupStatus
from azquack.catalog.check import checks
from azquack.catalog.lease.grant import Grant, now
from azquack.cli.site import site
from azquack.config.settings import Settings
from azquack.config.sources import load
from azquack.errors import BackupError, SettingError
from azquack.lake.client import Target
from azquack.process.pipes import Message, decode, encode
from azquack.replicas.local import LakeDirectory
from tests.cluster import TempPair, attached, end, read_line, remote, wait_until
from tests.small_lakes import DiskLake
from tests.standins.azure import Azure
from tests.standins.azurite import Azurite
from tests.test_cli import azquack, sentence_of

NOW = datetime(2026, 6, 17, 12, 30, tzinfo=UTC)


# Retention


def test_the_last_backup_of_each_hour_day_and_week_is_kept() -> None:
    every_ten_minutes = [NOW - timedelta(minutes=10 * n) for n in range(6 * 24 * 60)]
    kept = Retention(recent=3, hourly=4, daily=3, weekly=5).kept(every_ten_minutes)
    ages = sorted((NOW - each) / timedelta(minutes=10) for each in kept)
    recent, hourly = [0, 1, 2], [4, 10, 16]
    daily = [NOW.hour * 6 + 4, NOW.hour * 6 + 4 + 144]
    # The 17th is a Wednesday: the weeks before it end on the 14th, the 7th, the 31st and the 24th.
    weekly = [(3 - 1 + 7 * n) * 144 + NOW.hour * 6 + 4 for n in range(4)]
    assert ages == sorted({*recent, *hourly, *daily, *weekly})


def test_what_is_newest_is_always_kept() -> None:
    assert Retention(recent=1, hourly=0, daily=0, weekly=0).kept([NOW, NOW - timedelta(days=1)]) == {NOW}
    assert Retention().kept([]) == set()


# Places


@pytest.fixture(params=["directory", "connection string", "managed identity"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        return place_for(settings_of(backup_to=str(tmp_path / "made" / "later")))
    if request.param == "connection string":
        azurite: Azurite = request.getfixturevalue("azurite")
        container = request.getfixturevalue("container")
        return place_for(
            settings_of(
                backup_to=f"az://{container}/lake/backups",
                azure_connection_string=azurite.connection_string,
            )
        )
    azure: Azure = request.getfixturevalue("in_azure")
    resolve_localhost(request.getfixturevalue("monkeypatch"))
    azure.blob.make_container("backups")
    ours = {name: azure.settings[name] for name in ("azure_account", "azure_client_id", "azure_endpoint")}
    return place_for(settings_of(backup_to="az://backups", **ours))


def resolve_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this process find *.localhost, as curl does by itself and many a system's resolver does not."""
    resolve = socket.getaddrinfo

    def resolved(host: Any, *more: Any, **options: Any) -> Any:
        return resolve("127.0.0.1" if str(host).endswith(".localhost") else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


def settings_of(**values: Any) -> Settings:
    return load(values, env_file=None).settings


def test_a_place_keeps_what_it_is_given(place: Place, tmp_path: Path) -> None:
    assert place.names() == []
    source, back = tmp_path / "source", tmp_path / "back"
    for name, text in (("b", "two"), ("a", "one"), ("b", "two again")):
        source.write_text(text)
        place.put(name, source)
    assert place.names() == ["a", "b"]
    place.get("b", back)
    assert back.read_text() == "two again"
    place.delete("b")
    place.delete("b")
    assert place.names() == ["a"]
    with pytest.raises(BackupError, match="cannot be read"):
        place.get("b", back)


def test_a_place_that_fails_says_so_in_a_sentence(azurite: Azurite, tmp_path: Path) -> None:
    secret = azurite.connection_string
    nowhere = place_for(settings_of(backup_to="az://nowhere/x", azure_connection_string=secret))
    assert isinstance(nowhere, BlobPlace)
    with pytest.raises(BackupError, match=r"az://nowhere/x/ cannot be listed: .*does not exist") as caught:
        nowhere.names()
    assert "\n" not in str(caught.value)
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(BackupError, match=f"{blocked} cannot be written: file exists"):
        DirectoryPlace(blocked).put("a", blocked)


@pytest.mark.parametrize(
    ("backup_to", "sentence"),
    [
        ("s3://bucket/x", "allowed are a directory and az://"),
        ("az://box/x", "AZQUACK_AZURE_ACCOUNT is not set"),
    ],
)
def test_a_wrong_place_is_refused_by_name(backup_to: str, sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence):
        place_for(settings_of(backup_to=backup_to))


def test_a_place_shows_no_secret(azurite: Azurite) -> None:
    made = place_for(settings_of(backup_to="az://box", azure_connection_string=azurite.connection_string))
    assert "Eby8vdM02" not in repr(made)


# Manifests


def test_a_manifest_comes_back_as_it_was() -> None:
    made = Manifest(NOW, 7, "ab", 3, NOW - timedelta(seconds=1), "cd", {"duckdb": "1.5.5"})
    assert parse(made.manifest_file, made.dump()) == made


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"time": 1}'])
def test_what_is_no_manifest_is_refused_in_a_sentence(text: bytes) -> None:
    with pytest.raises(BackupError, match=r"x\.json is no manifest of a backup"):
        parse("x.json", text)


# A pair that is written to


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    with TempPair(tmp_path_factory.mktemp("backup") / "lake", "--backup-every", "0") as made:
        yield made


def catalog_of(pair: TempPair) -> Target:
    return site(pair.directory, {}).catalog


def run(pair: TempPair, home: Path, *statements: str) -> list[Any]:
    with attached(pair, home) as connection:
        return [connection.execute(remote(each)).fetchall() for each in statements][-1]


def backups_in(path: Path, **retention: int) -> Backups:
    return Backups(DirectoryPlace(path), Retention(**retention))


def test_a_backup_shows_one_moment_whatever_writers_do(pair: TempPair, home: Path, tmp_path: Path) -> None:
    run(pair, home, "CREATE TABLE a (i INTEGER)", "CREATE TABLE b (i INTEGER)")
    stop, written, failures = threading.Event(), [0] * 2, []

    def write(worker: int) -> None:
        with attached(pair, home) as connection:
            while not stop.is_set():
                n = worker * 100_000 + written[worker]
                try:
                    for each in (
                        "BEGIN",
                        f"INSERT INTO a VALUES ({n})",
                        f"INSERT INTO b VALUES ({n})",
                        "COMMIT",
                    ):
                        connection.execute(remote(each)).fetchall()
                except duckdb.Error as error:
                    failures.append(str(error))
                    connection.execute(remote("ROLLBACK")).fetchall()
                written[worker] += 1

    def moved(before: int) -> bool:
        return sum(written) > before

    def define() -> None:
        with attached(pair, home) as connection:
            n = 0
            while not stop.is_set():
                connection.execute(remote(f"CREATE TABLE c{n} AS SELECT {n} AS i")).fetchall()
                connection.execute(remote(f"DROP TABLE c{n}")).fetchall()
                n += 1

    threads = [threading.Thread(target=write, args=(n,)) for n in range(2)] + [
        threading.Thread(target=define)
    ]
    for each in threads:
        each.start()
    try:
        wait_until(lambda: min(written) > 2, "nobody wrote", timeout=90)
        backups = backups_in(tmp_path / "backups")
        catalog = catalog_of(pair)
        taken = []
        for _ in range(5):
            before = sum(written)
            taken.append(backups.take(catalog))
            wait_until(partial(moved, before), "writers stood still during a backup", timeout=90)
    finally:
        stop.set()
        for each in threads:
            each.join()
    for n, backup in enumerate(taken):
        assert backup is not None
        copied = DiskLake(tmp_path / f"restored{n}")
        copied.path.mkdir()
        backups.fetch(backup, copied.catalog)
        assert checks.run(copied.catalog, copied.settings) == []
        assert copied.metadata("SELECT max(snapshot_id) FROM ducklake_snapshot") == [(backup.snapshot,)]
        copied.metadata(f"UPDATE ducklake_metadata SET value = '{copied.data}/' WHERE key = 'data_path'")
        assert copied.lake("SELECT (FROM (SELECT list(i ORDER BY i) FROM a)) = "
                           "(FROM (SELECT list(i ORDER BY i) FROM b))") == [(True,)]  # fmt: skip
    run(pair, home, "DROP TABLE a", "DROP TABLE b")


def test_a_copy_has_every_table_key_and_row(pair: TempPair, home: Path, tmp_path: Path) -> None:
    run(pair, home, "CREATE TABLE whole AS SELECT range AS i FROM range(5)", "INSERT INTO whole VALUES (9)")
    backups = backups_in(tmp_path / "backups")
    taken = backups.take(catalog_of(pair))
    assert taken is not None
    backups.fetch(taken, tmp_path / "copy.duckdb")
    every = "SELECT table_name, sql FROM duckdb_tables() ORDER BY ALL"
    with duckdb.connect(str(tmp_path / "copy.duckdb")) as copied:
        tables = copied.execute(every).fetchall()
        counts = [copied.execute(f'SELECT count(*) FROM "{name}"').fetchall() for name, _ in tables]
    pair.stop()
    with duckdb.connect(str(epochs.newest(pair.directory / "catalog")), read_only=True) as original:
        assert original.execute(every).fetchall() == tables
        assert [original.execute(f'SELECT count(*) FROM "{name}"').fetchall() for name, _ in tables] == counts
    pair.start()
    run(pair, home, "DROP TABLE whole")


def test_rows_of_every_kind_in_the_catalog_are_copied(pair: TempPair, home: Path, tmp_path: Path) -> None:
    run(
        pair,
        home,
        "CREATE TABLE kinds (v VARIANT, s STRUCT(a INTEGER[]))",
        "INSERT INTO kinds VALUES (42, {a: [1]})",
    )
    backups = backups_in(tmp_path / "backups")
    taken = backups.take(catalog_of(pair))
    assert taken is not None
    backups.fetch(taken, tmp_path / "copy.duckdb")
    with duckdb.connect(str(tmp_path / "copy.duckdb"), read_only=True) as copied:
        [(table,)] = copied.execute(
            "SELECT table_name FROM duckdb_columns() WHERE data_type = 'VARIANT'"
        ).fetchall()
        assert copied.execute(f'SELECT v::INTEGER, s FROM "{table}"').fetchall() == [(42, {"a": [1]})]
    run(pair, home, "DROP TABLE kinds")


def test_nothing_is_taken_when_nothing_changed(pair: TempPair, home: Path, tmp_path: Path) -> None:
    backups, catalog = backups_in(tmp_path), catalog_of(pair)
    first = backups.take(catalog)
    assert first is not None
    assert backups.take(catalog, unless=first.fingerprint) is None
    run(pair, home, "CREATE TABLE changed (i INTEGER)")
    second = backups.take(catalog, unless=first.fingerprint)
    assert second is not None
    assert [each.snapshot for each in backups.listed()] == [second.snapshot, first.snapshot]
    assert backups.newest(first.time) == first
    with pytest.raises(BackupError, match="no backup is that old: the oldest is of"):
        backups.newest(first.time - timedelta(seconds=1))
    run(pair, home, "DROP TABLE changed")


def test_what_retention_drops_and_what_was_cut_short_is_deleted(pair: TempPair, tmp_path: Path) -> None:
    backups, catalog = backups_in(tmp_path, recent=2, hourly=0, daily=0, weekly=0), catalog_of(pair)
    taken = [backups.take(catalog) for _ in range(3)]
    assert None not in taken
    cut_short = tmp_path / "20260101T000000.000000Z.duckdb.gz"
    cut_short.write_bytes(b"half")
    foreign = tmp_path / "readme.txt"
    foreign.write_text("not ours")
    assert backups.prune(datetime.now(UTC)) == [taken[0]]
    assert backups.listed() == [taken[2], taken[1]]
    assert len(list(tmp_path.iterdir())) == 5
    assert not cut_short.exists()
    assert foreign.exists()


def test_backups_go_to_a_container(pair: TempPair, azurite: Azurite, container: str, tmp_path: Path) -> None:
    env = {
        "AZQUACK_BACKUP_TO": f"az://{container}/backups",
        "AZQUACK_AZURE_CONNECTION_STRING": azurite.connection_string,
    }
    where = ("--dir", str(pair.directory))
    assert azquack("backup", "now", *where, cwd=tmp_path, env=env).returncode == 0
    listed = azquack("backup", "list", *where, "--json", cwd=tmp_path, env=env)
    assert len(azurite.blobs(container)) == 2
    assert '"sha256"' in listed.stdout
    verified = azquack("backup", "verify", *where, cwd=tmp_path, env=env)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    # The catalog keeps what these backups need until it is told to forget them; the next test is of another place.
    forgotten = azquack("backup", "forget", f"az://{container}/backups/", *where, cwd=tmp_path, env=env)
    assert forgotten.returncode == 0, forgotten.stderr


# Restores


@dataclass(frozen=True)
class Operator:
    """Whoever cares for the pair: its commands, with a backup place of this test's own."""

    pair: TempPair
    place: Path

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        where = ("--dir", str(self.pair.directory), "--backup-to", str(self.place))
        return azquack(*arguments, *where, cwd=self.place.parent)

    def well(self, *arguments: str) -> str:
        """What a command says that must succeed."""
        finished = self.run(*arguments)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        return finished.stdout

    def files(self, table: str) -> list[Path]:
        """The Parquet files of `table`."""
        return list((self.pair.directory / "data" / "main" / table).rglob("*.parquet"))


@pytest.fixture
def operator(pair: TempPair, tmp_path: Path) -> Iterator[Operator]:
    yield Operator(pair, tmp_path / "backups")
    if LakeDirectory(pair.directory).running() is None:
        pair.start()


# Nothing is old enough to be kept for its age.
HARD = ("--keep-snapshots", "0.001", "--keep-files", "0")


# Ten commands, each a process, and a restart of the pair: about as long as the limit of a test when others run beside.
@pytest.mark.timeout(480)
def test_a_dropped_table_comes_back_whole_though_the_lake_was_maintained(
    operator: Operator, home: Path
) -> None:
    pair = operator.pair
    run(pair, home, "CREATE TABLE back AS SELECT range AS i FROM range(5000)", "INSERT INTO back VALUES (-1)")
    run(pair, home, "DELETE FROM back WHERE i < 1000")
    operator.well("backup", "now")
    run(pair, home, "DROP TABLE back", "CREATE TABLE later AS SELECT range AS i FROM range(5000)")
    for _ in range(2):
        operator.well("maintain", *HARD)
    assert "nothing is wrong" in operator.well("backup", "verify")

    assert "is up already" in sentence_of(operator.run("restore", "--yes"))
    pair.stop()
    said = operator.well("restore", "--yes")
    [kept] = (pair.directory / "catalog").glob("*.before-restore-*")
    assert str(kept) in said
    pair.start()
    assert run(pair, home, "SELECT count(*), sum(i) FROM back") == [(4000, sum(range(1000, 5000)))]
    with duckdb.connect(str(kept), read_only=True) as old:
        live = "SELECT table_name FROM ducklake_table WHERE end_snapshot IS NULL"
        assert ("later",) in old.execute(live).fetchall()
        assert ("back",) not in old.execute(live).fetchall()
    assert "nothing is wrong" in operator.well("check")

    # What only the kept old file names is no orphan while a backup from before the restore is kept.
    [later] = operator.files("later")
    os.utime(later, (1, 1))
    assert "kept: backups from before the restore" in operator.well("maintain")
    assert later.exists()
    shutil.rmtree(operator.place)
    assert "nothing is deleted: backups were taken to" in operator.run("maintain").stdout
    assert later.exists()
    operator.well("backup", "forget", str(operator.place))
    operator.well("maintain")
    assert not later.exists()


@pytest.mark.timeout(480)
def test_files_of_a_dropped_table_go_once_no_backup_needs_them(operator: Operator, home: Path) -> None:
    run(operator.pair, home, "CREATE TABLE gone AS SELECT range AS i FROM range(5000)")
    operator.well("backup", "now")
    run(operator.pair, home, "DROP TABLE gone")
    operator.well("maintain", *HARD)
    [file] = operator.files("gone")
    shutil.rmtree(operator.place)
    operator.well("backup", "forget", str(operator.place))
    operator.well("maintain", *HARD)
    assert not file.exists()


def test_a_damaged_backup_is_found_and_not_restored(operator: Operator, home: Path) -> None:
    run(operator.pair, home, "CREATE TABLE kept AS SELECT range AS i FROM range(5000)")
    operator.well("backup", "now")
    at = ("--at", datetime.now(UTC).isoformat())
    operator.well("backup", "now")
    newest = max(operator.place.glob("*.duckdb.gz"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    assert "is damaged (SHA-256" in sentence_of(operator.run("backup", "verify"))
    operator.well("backup", "verify", *at)
    [file] = operator.files("kept")
    content = file.read_bytes()
    file.unlink()
    lost = operator.run("backup", "verify", *at)
    assert lost.returncode == 1
    assert "missing-file" in lost.stdout
    file.write_bytes(content)

    operator.pair.stop()
    catalog = epochs.newest(operator.pair.directory / "catalog")
    before = catalog.read_bytes()
    assert "is damaged (SHA-256" in sentence_of(operator.run("restore", "--yes"))
    assert catalog.read_bytes() == before
    # One that was cut short stops every maintenance, until one is finished.
    Note(datetime.now(UTC), done=False).write(DirectoryPlace(operator.place))
    operator.well("restore", "--yes", *at)
    assert all(each.done for each in backups_in(operator.place).inventory().notes)


def test_nothing_is_maintained_during_a_restore(operator: Operator) -> None:
    Note(datetime.now(UTC), done=False).write(DirectoryPlace(operator.place))
    assert "a restore is under way" in sentence_of(operator.run("maintain"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("backup", "now"), "no pair is up in"),
        (("backup", "verify"), "there is no backup yet"),
        (("restore", "--at", "yesterday"), "--at is 'yesterday'"),
        (("check",), "no pair is up in"),
        (("maintain",), "no pair is up in"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    arguments: tuple[str, ...], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "lake").mkdir()
    assert sentence in sentence_of(azquack(*arguments, cwd=tmp_path))


def test_without_a_lake_the_sentence_says_where_one_was_looked_for(tmp_path: Path) -> None:
    assert f"there is no lake in {tmp_path / 'lake'}" in sentence_of(azquack("check", cwd=tmp_path))


# The schedule


@pytest.fixture
def scheduled(tmp_path: Path) -> Iterator[TempPair]:
    with TempPair(tmp_path / "lake", "--backup-every", "0.2") as made:
        yield made


def metric(pair: TempPair, name: str) -> float:
    text = httpx.get(f"{pair.info['catalog_http_url']}/metrics").text
    return float(next((line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")), "nan"))


def backup_process(pair: TempPair) -> psutil.Process | None:
    children = psutil.Process(pair.pid).children()
    return next((each for each in children if "azquack.catalog.backup" in each.cmdline()), None)


def has_duckdb(process: psutil.Process) -> bool:
    return any("duckdb" in each.path for each in process.memory_maps())


def test_the_catalog_backs_itself_up_also_when_it_stops(scheduled: TempPair, home: Path) -> None:
    backups = backups_in(scheduled.directory / "catalog" / "backups")
    run(scheduled, home, "CREATE TABLE t (i INTEGER)")
    wait_until(lambda: backups.listed() and backups.listed()[0].snapshot == 1, "no backup was taken")
    wait_until(lambda: metric(scheduled, "azquack_backup_age_seconds") < 60, "the age is not in the metrics")
    count = len(backups.listed())
    assert metric(scheduled, "azquack_backups_kept") == count
    taken = metric(scheduled, "azquack_backups_taken_total")
    last = metric(scheduled, "azquack_backup_last_timestamp_seconds")
    run(scheduled, home, "INSERT INTO t VALUES (1)")
    scheduled.stop()
    assert backups.listed()[0].snapshot == 2
    assert backups.listed()[0].time.timestamp() > last
    assert len(backups.listed()) == count + 1
    assert taken == count


def test_a_failing_place_does_not_stop_the_catalog(tmp_path: Path, home: Path) -> None:
    # A new lake begins only where the backup place can be read: it might hold the lake that is looked for.
    pair = TempPair(tmp_path / "lake", "--backup-every", "0")
    pair.start()
    pair.stop()
    blocked = tmp_path / "blocked"
    blocked.write_text("no directory")
    with TempPair(tmp_path / "lake", "--backup-every", "0.2", "--backup-to", str(blocked)) as pair:
        run(pair, home, "CREATE TABLE t (i INTEGER)")
        wait_until(
            lambda: metric(pair, "azquack_backups_failed_total") > 0, "the failure is not in the metrics"
        )
        assert metric(pair, "azquack_backup_age_seconds") == float("inf")
        assert "cannot be" in pair.log_text()
        assert httpx.get(f"{pair.info['catalog_http_url']}/readyz").status_code == 200
        assert pair.stop() == 0


def test_a_quiet_catalog_says_that_its_backup_is_fresh(scheduled: TempPair, home: Path) -> None:
    run(scheduled, home, "CREATE TABLE quiet (i INTEGER)")
    wait_until(lambda: metric(scheduled, "azquack_backups_taken_total"), "no backup was taken")
    scheduled.stop()
    scheduled.start()
    wait_until(
        lambda: "the newest backup holds everything" in scheduled.log_text(),
        "the backup process says nothing",
    )
    process = backup_process(scheduled)
    assert process is not None
    wait_until(lambda: process.children() == [], "a run goes on for ever")
    assert not has_duckdb(process)
    rested = time.time()
    age = partial(metric, scheduled, "azquack_backup_age_seconds")
    wait_until(lambda: time.time() - age() > rested, "the backup grows old though nothing changes")


def test_a_killed_backup_process_comes_back_and_holds_nobody_up(scheduled: TempPair, home: Path) -> None:
    run(scheduled, home, "CREATE TABLE t (i INTEGER)")

    first = wait_until(lambda: backup_process(scheduled), "there is no backup process")
    first.send_signal(signal.SIGKILL)
    wait_until(lambda: not first.is_running(), "it did not die")
    assert httpx.get(f"{scheduled.info['catalog_http_url']}/readyz").status_code == 200
    run(scheduled, home, "INSERT INTO t VALUES (1)")
    backups = backups_in(scheduled.directory / "catalog" / "backups")
    wait_until(lambda: backups.listed() and backups.listed()[0].snapshot == 2, "no backup after the kill")


def test_the_session_of_a_killed_backup_ends(tmp_path: Path, home: Path) -> None:
    with TempPair(tmp_path / "lake", "--backup-every", "0", "--statement-timeout", "2") as pair:
        run(pair, home, "CREATE TABLE t (i INTEGER)")
        abandoned = (
            "import sys, time; from pathlib import Path; from azquack.catalog.backup.copy import session; "
            "from azquack.cli.site import site; opened = session(site(Path(sys.argv[1]), {}).catalog); "
            "print(opened.__enter__().state(), flush=True); time.sleep(600)"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", abandoned, str(pair.directory)], stdout=subprocess.PIPE, text=True
        )
        assert "State(snapshot=1" in read_line(process, "no session was opened")
        process.kill()
        end(process)
        wait_until(lambda: '"last": "/*"' in pair.log_text(), "the session was never ended")
        run(pair, home, "INSERT INTO t VALUES (1)")


# The process of the schedule, and its looks


class BackupProcess:
    """`python -m azquack.catalog.backup` for the catalog of `pair`, as a supervisor starts it, to `place`."""

    def __init__(self, pair: TempPair, place: Path, every: float = 0.2) -> None:
        catalog, self._place = catalog_of(pair), place
        self.scratch, self._log = place.with_name("scratch"), place.with_name("backup.log")
        self.scratch.mkdir()
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "azquack.catalog.backup"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, bufsize=0,
                env=os.environ | {"TMPDIR": str(self.scratch)},
            )  # fmt: skip
        self._reports: list[Message] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        file = epochs.newest(pair.directory / "catalog")
        config = {"op": "configure", "name": "catalog-backup", "log_level": "debug"}
        run = {
            "uri": catalog.uri,
            "token": catalog.token.get_secret_value(),
            "settings": {"backup_to": str(place)},
        }
        self.send({
            **config, "every": every, "files": [f"{file}{suffix}" for suffix in epochs.PARTS], "run": config | run,
        })  # fmt: skip

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self._process.pid)

    @property
    def backups(self) -> Backups:
        return backups_in(self._place)

    def send(self, message: Message) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(encode(message))

    def own(self, seconds: float) -> None:
        """Tell it that the replica holds the catalog for so long."""
        self.send({"op": "state", "lease": Grant(1, now() + seconds).to_message()})

    def status(self) -> BackupStatus:
        """As it reported last."""
        return BackupStatus(**self._reports[-1]["backup"]) if self._reports else BackupStatus()

    def run(self) -> psutil.Process | None:
        """The run that is under way."""
        return next(iter(self.process.children()), None)

    def run_with_a_copy(self) -> psutil.Process:
        """The run under way, once it has copied the catalog: it waits to hear that the replica owns that."""

        def copied() -> psutil.Process | None:
            run = self.run()
            files = [str(each) for each in self.scratch.glob("*/catalog.duckdb")]
            opened = {each.path for each in run.open_files()} if run else set()
            return run if files and not opened.intersection(files) else None

        run: psutil.Process = wait_until(copied, "the catalog is not copied")
        return run

    def rest(self, sentence: str) -> None:
        """Wait until it found five times in a row that there is nothing to look at."""
        seen: set[float] = set()

        def at_rest() -> bool:
            if self.run() is not None:
                seen.clear()
            seen.add(self.status().checked)
            return len(seen) > 5

        wait_until(at_rest, sentence)

    def log(self) -> str:
        return self._log.read_text()

    def stopped(self) -> None:
        """Wait until it ends by itself."""
        self._reader.join()
        assert end(self._process) == 0

    def kill(self) -> None:
        self._process.kill()
        self._reader.join()
        end(self._process)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            message = decode(line)
            if message["event"] == "probed":
                self._reports.append(message)


@pytest.fixture
def process(pair: TempPair, home: Path, tmp_path: Path) -> Iterator[BackupProcess]:
    run(pair, home, "CREATE TABLE IF NOT EXISTS looked_at (i INTEGER)")
    made = BackupProcess(pair, tmp_path / "backups")
    yield made
    made.kill()


def test_a_catalog_is_looked_at_once_it_changes_and_at_rest_no_duckdb_runs(
    process: BackupProcess, pair: TempPair, home: Path
) -> None:
    # So that what is not found at rest would be found.
    assert has_duckdb(process.run_with_a_copy())
    process.own(600)
    wait_until(lambda: process.status().taken == 1, "no backup was taken")
    process.rest("an unchanged catalog is looked at over and over")
    assert process.process.children() == []
    assert not has_duckdb(process.process)
    assert process.process.memory_full_info().pss < 15e6
    before = process.status()
    assert before.checked > before.last

    run(pair, home, "INSERT INTO looked_at VALUES (1)")
    wait_until(lambda: process.status().taken == 2, "what was written is not backed up")
    process.rest("the changed catalog is looked at over and over")
    assert len(process.backups.listed()) == 2
    # Whatever is in the files without a new snapshot costs a run, and no backup.
    os.utime(epochs.newest(pair.directory / "catalog"))
    wait_until(process.run, "files that changed are not looked at")
    process.rest("the catalog of before is looked at over and over")
    assert process.status().taken == 2
    assert list(process.scratch.iterdir()) == []


def test_what_was_copied_by_one_that_lost_the_catalog_is_no_backup(process: BackupProcess) -> None:
    process.run_with_a_copy()
    process.own(-1)
    wait_until(lambda: process.status().failed == 1, "one that owns no catalog backs it up")
    assert "this replica does not own the catalog any more" in process.status().problem
    assert process.backups.place.names() == []
    process.own(600)
    wait_until(lambda: process.status().taken == 1, "no backup was taken by the owner")
    assert process.status().problem == ""


def test_a_killed_look_is_a_failed_backup_and_the_next_one_succeeds(process: BackupProcess) -> None:
    process.run_with_a_copy().kill()
    wait_until(lambda: process.status().failed == 1, "nobody noticed that the run is dead")
    sentence = "the process that takes it ended with SIGKILL"
    assert process.status().problem == sentence
    process.own(600)
    wait_until(lambda: process.status().taken == 1, lambda: f"no backup after the kill:\n{process.log()}")
    assert process.status().problem == ""
    assert sentence in process.log()
    assert "Traceback" not in process.log()
    wait_until(lambda: list(process.scratch.iterdir()) == [], "the copy of the killed run stays")


def test_a_run_ends_with_the_process_that_started_it(process: BackupProcess) -> None:
    run = process.run_with_a_copy()
    process.kill()
    wait_until(lambda: not run.is_running(), "the run lives on")


def test_a_run_that_hangs_is_ended(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = {
            "op": "configure", "name": "n", "log_level": "info", "token": "t",
            "uri": f"quack:127.0.0.1:{silent.getsockname()[1]}", "settings": {"backup_to": str(tmp_path)},
        }  # fmt: skip
        runner = Runner(config, lambda: None, timeout=2)
        with pytest.raises(BackupError, match="it did not end within 2 s"):
            list(runner.run("known"))


def test_a_run_under_way_ends_before_a_stop(process: BackupProcess) -> None:
    process.run_with_a_copy()
    process.send({"op": "stop"})
    process.own(600)
    process.stopped()
    assert len(process.backups.listed()) == 1
