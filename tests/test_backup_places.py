"""Places of backups in any state: what is whole is found, what is not is named, and nothing good is ever in its way."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from typer.testing import CliRunner

from azquack.catalog.backup.backups import Backups, newest
from azquack.catalog.backup.copy import State
from azquack.catalog.backup.inventory import take
from azquack.catalog.backup.manifest import Manifest
from azquack.catalog.backup.note import Note
from azquack.catalog.backup.places import BlobPlace, DirectoryPlace, Place, place_for
from azquack.catalog.backup.record import Noted
from azquack.catalog.backup.retention import Retention
from azquack.catalog.maintain import protection as protecting
from azquack.cli import application
from azquack.config.sources import load
from azquack.errors import AzQuackError, BackupError
from azquack.process import drafts
from tests.cluster import TempPair, attached, end, read_line, remote, wait_until
from tests.reliability.disks import small_disk
from tests.standins.azurite import Azurite
from tests.test_cli import azquack, sentence_of

NOW = datetime(2026, 6, 17, 12, 30, tzinfo=UTC)
ROUNDS = int(os.environ.get("AZQUACK_TEST_FUZZ_ROUNDS", "60"))
OWN, OTHER = "0123456789abcdef", "fedcba9876543210"


class Content:
    """Fills a place; `data` is what each backup holds."""

    def __init__(self, place: Place, scratch: Path) -> None:
        self.place, self._scratch = place, scratch
        self._scratch.mkdir(exist_ok=True)

    def put(self, name: str, content: bytes) -> None:
        path = self._scratch / "content"
        path.write_bytes(content)
        self.place.put(name, path)

    def backup(self, made: Manifest, *, data: bytes | None = None, text: bytes | None = None) -> Manifest:
        content = gzip.compress(f"{made.lake} {made.epoch} {made.snapshot}".encode())
        made = dataclasses.replace(
            made, size=len(content), sha256=hashlib.sha256(content).hexdigest(), fingerprint=made.name
        )
        self.put(made.file, content if data is None else data)
        self.put(made.manifest_file, made.dump() if text is None else text)
        return made


def a_backup(time: datetime, snapshot: int, epoch: int = 1, lake: str = OWN, sequence: int = 0) -> Manifest:
    return Manifest(time, 0, "", snapshot, time, "", {"duckdb": "1.5.5"}, lake, epoch, sequence)


@pytest.fixture(params=["directory", "azurite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "directory":
        return DirectoryPlace(tmp_path / "place")
    azurite: Azurite = request.getfixturevalue("azurite")
    container = request.getfixturevalue("container")
    made = place_for(
        load(
            {"backup_to": f"az://{container}/p", "azure_connection_string": azurite.connection_string},
            env_file=None,
        ).settings
    )
    assert isinstance(made, BlobPlace)
    return made


GARBAGE = [
    b"", b"{", b"[]", b"null", b"1e999", b'{"time": "2026-01-01"}', b"\xff\xfe\x00", b"[" * 100_000,
    b'{"time": 1, "size": {}, "sha256": []}', b"x" * 70_000, b'"' + b"\\ud800" * 20 + b'"',
]  # fmt: skip


def broken(text: bytes, rng: random.Random) -> bytes:
    """`text`, so that it is no manifest any more."""
    values = json.loads(text)
    wrong = rng.choice(["cut", "gone", "type", "negative", "garbage", "renamed", "time", "version"])
    key = rng.choice(["time", "size", "sha256", "snapshot", "snapshot_time", "fingerprint", "versions"])
    match wrong:
        case "cut":
            return text[: rng.randrange(len(text) - 3)]
        case "gone":
            del values[key]
        case "type":
            values[key] = rng.choice([None, [], {"a": {}}, True, 1.5])
            if key == "versions" and values[key] == {"a": {}}:
                values[key] = {"duckdb": "\ud800[/red]"}
        case "negative":
            values["size"] = -1
        case "garbage":
            return rng.choice(GARBAGE)
        case "renamed":
            values["time"] = "2001-01-01T00:00:00+00:00"
        case "time":
            values["time"] = rng.choice(["", "now", "9999-99-99", "0001-01-01T00:00:00+23:59", "12:00"])
        case "version":
            values["versions"] = {"duckdb": "1.5\n\x1b[31m"}
    return json.dumps(values).encode()


def test_whatever_else_lies_there_every_whole_backup_is_found_in_order(tmp_path: Path) -> None:
    for seed in range(ROUNDS):
        check_a_place(DirectoryPlace(tmp_path / f"place{seed}"), tmp_path / "scratch", seed)


def test_the_same_in_a_container(azurite: Azurite, container: str, tmp_path: Path) -> None:
    settings = {"azure_connection_string": azurite.connection_string}
    for seed in range(3):
        values = settings | {"backup_to": f"az://{container}/{seed}"}
        check_a_place(place_for(load(values, env_file=None).settings), tmp_path / "scratch", seed)


def check_a_place(place: Place, scratch: Path, seed: int) -> None:
    rng = random.Random(seed)
    content, said = Content(place, scratch), f"seed {seed}"
    good: list[Manifest] = []
    damaged: set[str] = set()
    foreign: set[str] = set()
    epoch = snapshot = 1
    for number in range(rng.randrange(4, 14)):
        epoch, snapshot = (epoch + 1, rng.randrange(9)) if rng.random() < 0.2 else (epoch, snapshot + 1)
        taken = NOW - timedelta(days=30) + timedelta(hours=number, microseconds=rng.randrange(10**6))
        # A clock that is wrong at times, by much.
        taken += rng.choice([timedelta()] * 4 + [timedelta(days=400), timedelta(days=-400)])
        made = a_backup(taken, snapshot, epoch, sequence=number)
        match rng.choice(["good"] * 4 + ["text", "data gone", "data cut", "foreign", "half", "note", "file"]):
            case "good":
                good.append(content.backup(made))
            case "text":
                content.backup(made, text=broken(made.dump(), rng))
                damaged.add(made.manifest_file)
            case "data gone":
                content.backup(made)
                place.delete(made.file)
                damaged.add(made.manifest_file)
            case "data cut":
                content.backup(made, data=b"cut")
                damaged.add(made.manifest_file)
            case "foreign":
                foreign.add(content.backup(dataclasses.replace(made, lake=OTHER, epoch=99)).name)
            case "half":
                content.put(made.file, b"no manifest yet")
            case "note":
                note = Note(made.time, done=True)
                content.put(note.name, rng.choice(GARBAGE))
                damaged.add(note.name)
            case "file":
                name = rng.choice(["readme.txt", "x.json", "[red].duckdb.gz", "20269999T000000.000000Z.json"])
                content.put(name, rng.choice(GARBAGE))
    backups = Backups(place, Retention(recent=2, hourly=1, daily=0, weekly=0), OWN)
    found = backups.inventory()
    assert list(found.backups) == good[::-1], said
    assert {each.name for each in found.damaged} == damaged, said
    assert {each.name for each in found.foreign} == foreign, said
    assert len(found.times()) == len(good), said
    assert found.times() == sorted(found.times(), reverse=True), said
    if good:
        assert newest(found, place) == good[-1], said
        assert newest(found, place, found.times()[-1]) in good, said
    else:
        with pytest.raises(BackupError):
            newest(found, place)
    before = place.names()
    dropped = backups.prune(datetime.now(UTC) + timedelta(hours=1))
    after = backups.inventory()
    assert [each for each in good[::-1] if each not in dropped] == list(after.backups), said
    assert list(after.backups[:2]) == good[::-1][:2], said
    assert set(after.damaged) == set(found.damaged), said
    assert after.foreign == found.foreign, said
    leftovers = set(found.unmanifested)
    files = {name for each in dropped for name in (each.file, each.manifest_file)}
    assert set(before) - set(place.names()) == files | leftovers, said
    for each in after.backups:
        backups.fetch(each, scratch / "fetched")


def test_a_clock_that_was_ahead_makes_nothing_the_newest(place: Place, tmp_path: Path) -> None:
    content = Content(place, tmp_path / "scratch")
    ahead = content.backup(a_backup(NOW + timedelta(days=1), 5))
    backups = Backups(place, Retention(recent=1, hourly=0, daily=0, weekly=0), OWN)
    later = content.backup(a_backup(NOW, 6))
    assert backups.newest() == later
    assert backups.newest(NOW) == later
    assert backups.inventory().misdated(NOW) == [ahead]
    assert backups.prune(NOW, later) == [ahead]
    restored = content.backup(a_backup(NOW + timedelta(minutes=1), 2, epoch=2))
    assert backups.newest() == restored
    assert backups.prune(NOW) == [later]


def test_one_clock_that_was_years_behind_costs_no_other_backup(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    old = [content.backup(a_backup(NOW + timedelta(hours=n), n)) for n in range(20)]
    content.backup(a_backup(datetime(1971, 1, 1, tzinfo=UTC), 20))
    backups = Backups(place, Retention(recent=1, hourly=24, daily=0, weekly=0), OWN)
    # It counts as of the hour of the one before it, of which it is the last.
    assert backups.prune(NOW + timedelta(hours=20)) == [old[19]]
    assert backups.newest(NOW + timedelta(hours=3, minutes=1)) == old[3]


def test_backups_from_before_the_epochs_go_by_their_times_between_restores(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    hour = timedelta(hours=1)
    ahead = content.backup(a_backup(NOW + hour, 7, epoch=0, lake=""))
    newer = content.backup(a_backup(NOW, 8, epoch=0, lake=""))
    Note(NOW + 2 * hour, done=True).write(place)
    after = content.backup(a_backup(NOW + 3 * hour, 4, epoch=0, lake=""))
    assert take(place, OWN).backups == (after, newer, ahead)
    own = content.backup(a_backup(NOW - hour, 1, epoch=1))
    assert take(place, OWN).backups[0] == own


def test_two_lakes_in_one_place_do_not_mix(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    own = [content.backup(a_backup(NOW + timedelta(hours=n), n)) for n in range(3)]
    busy = [content.backup(a_backup(NOW + timedelta(days=n), n, 9, OTHER)) for n in range(1, 9)]
    Note(NOW, done=False, lake=OTHER, epoch=9).write(place)
    few = Retention(recent=1, hourly=0, daily=0, weekly=0)
    assert Backups(place, few, OWN).listed() == own[::-1]
    assert Backups(place, few, OWN).inventory().notes == ()
    assert Backups(place, few, OTHER).newest() == busy[-1]
    assert Backups(place, few, OTHER).prune(NOW) == busy[-2::-1]
    assert Backups(place, few, OWN).listed() == own[::-1]
    with pytest.raises(BackupError, match=r"are of 2 lakes .* choose one with --lake"):
        Backups(place, few).newest()
    with pytest.raises(BackupError, match="holds no backup of this lake"):
        Backups(place, few, "a" * 16).newest()


# What must stay, as a maintenance learns it


def protection_in(
    place: DirectoryPlace, state: State | None, noted: list[Noted] | None
) -> protecting.Protection:
    settings = load({"data_path": "data"}, env_file=None).settings
    return protecting.protection(settings, state, noted)


def a_state(snapshot: int, epoch: int = 3) -> State:
    return State(snapshot, NOW, "", OWN, epoch)


def test_what_the_catalog_knows_of_its_backups_is_protected_without_a_setting(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    noted = [Noted(place.uri, True)]
    assert "none of this lake is there any more" in protection_in(place, a_state(1), noted).reason
    made = content.backup(a_backup(NOW, 5, epoch=3))
    found = protection_in(place, a_state(5), noted)
    assert [each for _, each in found.kept] == [made]
    assert (found.reason, found.orphans_reason) == ("", "")
    for older in (a_state(4), a_state(9, epoch=2)):
        assert "is newer than the catalog" in protection_in(place, older, noted).reason
    assert protection_in(place, a_state(1, epoch=4), noted).reason == ""
    assert "does not say where" in protection_in(place, a_state(5), None).reason
    content.put("20260101T000000.000000Z.json", b"{")
    damaged = protection_in(place, a_state(5), noted)
    assert "20260101T000000.000000Z.json is damaged" in damaged.reason
    assert not damaged.wrong


def a_catalog(scratch: Path, path: str) -> bytes:
    """A packed catalog that names one file."""
    file = scratch / path
    with duckdb.connect(str(file)) as connection:
        for table in ("ducklake_data_file", "ducklake_delete_file"):
            connection.execute(f"CREATE TABLE {table} (path VARCHAR)")
        connection.execute("INSERT INTO ducklake_data_file VALUES (?)", [path])
    return gzip.compress(file.read_bytes())


def test_a_backup_that_was_pruned_meanwhile_is_passed_over_and_a_lost_place_is_not(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    made = []
    for number in range(3):
        packed = a_catalog(tmp_path, f"{number}.parquet")
        taken = dataclasses.replace(
            a_backup(NOW + timedelta(hours=number), number, epoch=3),
            size=len(packed), sha256=hashlib.sha256(packed).hexdigest(),
        )  # fmt: skip
        content.put(taken.file, packed)
        content.put(taken.manifest_file, taken.dump())
        made.append(taken)
    found = protection_in(place, a_state(2), [Noted(place.uri, True)])
    assert list(found.named()) == [{"2.parquet"}, {"1.parquet"}, {"0.parquet"}]
    for name in (made[0].file, made[0].manifest_file):
        place.delete(name)
    assert list(found.named()) == [{"2.parquet"}, {"1.parquet"}]
    shutil.rmtree(place.path)
    with pytest.raises(BackupError, match="cannot be read"):
        list(found.named())


def test_another_lakes_backups_in_the_place_protect_everything(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    content.backup(a_backup(NOW, 5, epoch=3))
    content.backup(a_backup(NOW - timedelta(hours=1), 5, 3, OTHER))
    found = protection_in(place, a_state(5), [Noted(place.uri, True)])
    assert f"holds backups of another lake ({OTHER})" in found.reason
    assert found.wrong


def test_a_place_that_this_shell_cannot_read_protects_everything(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("no directory")
    place = DirectoryPlace(blocked)
    for uri in (place.uri, "az://backups/catalog", "s3://bucket"):
        found = protection_in(place, a_state(1), [Noted(uri, True)])
        assert uri in found.reason
        assert found.wrong


def test_files_from_before_a_restore_stay_as_long_as_its_backups(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    noted = [Noted(place.uri, True)]
    content.backup(a_backup(NOW, 5, epoch=3))
    Note(NOW - timedelta(days=9), done=True, lake=OWN, epoch=4).write(place)
    assert "from before the restore" in protection_in(place, a_state(5, epoch=4), noted).orphans_reason
    Note(NOW, done=False, lake=OWN, epoch=5).write(place)
    with pytest.raises(BackupError, match="a restore is under way"):
        protection_in(place, a_state(5, epoch=4), noted)


# Drafts

WRITING = """
import sys, time; from pathlib import Path; from azquack.process import drafts
with drafts.file(Path(sys.argv[1]) / "name") as out, drafts.directory(Path(sys.argv[1]), ".restoring-") as made:
    out.write(b"half"); (made / "copy").write_bytes(b"half"); out.flush(); print("writing", flush=True)
    time.sleep(600)
"""


def test_what_a_killed_process_was_writing_is_removed_and_what_another_writes_is_not(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        read_line(process, "it does not write")
        for each in tmp_path.iterdir():
            os.utime(each, (1, 1))
        assert drafts.sweep_files(tmp_path) == []
        assert drafts.sweep_directories(tmp_path, ".restoring-") == []
        assert DirectoryPlace(tmp_path).names() == []
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        end(process)
    DirectoryPlace(tmp_path).sweep()
    assert len(drafts.sweep_directories(tmp_path, ".restoring-")) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    place = DirectoryPlace(tmp_path / "place")
    with pytest.raises(BackupError, match="cannot be written"):
        place.put("name", tmp_path / "not there")
    assert list(place.path.iterdir()) == []


def test_drafts_of_older_versions_go_once_nobody_writes_to_them(tmp_path: Path) -> None:
    old = tmp_path / ".20260101T000000.000000Z.duckdb.gz"
    young = tmp_path / ".20260101T000001.000000Z.json"
    foreign = tmp_path / ".keep"
    for each in (old, young, foreign):
        each.write_bytes(b"half")
    for each in (old, foreign):
        os.utime(each, (1, 1))
    DirectoryPlace(tmp_path).sweep()
    assert sorted(tmp_path.iterdir()) == [young, foreign]


# The command line


@pytest.mark.parametrize(
    "at",
    ["", "now", "2026-13-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00+14:00", "2026-01-31T12:00:61",
     "1e9", "٢٠٢٦", "--", "2026-01-31T12:00 Europe/Berlin", "\x1b[31m", "[red]"],
)  # fmt: skip
def test_an_odd_time_is_refused_in_one_sentence(at: str, tmp_path: Path) -> None:
    from azquack.cli import backup as commands

    with pytest.raises(AzQuackError, match=r"^--at is .*: write a time such as"):
        commands._time(at)


def test_a_damaged_place_is_listed_and_restored_from(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    good = content.backup(a_backup(NOW, 5))
    content.put("20260101T000000.000000Z.json", b"{")
    content.put("restored-x.note", b'{"time": "2026')
    content.backup(a_backup(NOW + timedelta(hours=1), 5, 9, OTHER))
    where = ("--backup-to", str(place.path))
    listed = azquack("backup", "list", *where, cwd=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "damaged: 20260101T000000.000000Z.json" in listed.stdout
    assert "damaged: restored-x.note" in listed.stdout
    rows = json.loads(azquack("backup", "list", "--json", *where, cwd=tmp_path).stdout)
    assert {each["name"] for each in rows if "damaged" in each} == {
        "20260101T000000.000000Z.json",
        "restored-x.note",
    }
    assert "is no catalog of a lake" in sentence_of(
        azquack("restore", "--yes", "--lake", OWN, *where, cwd=tmp_path)
    )
    assert good.name in listed.stdout


# Real pairs


def test_a_full_place_recovers_by_itself_and_keeps_no_halves(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        place = DirectoryPlace(disk.path / "place")
        content = Content(place, tmp_path / "scratch")
        old = [content.backup(a_backup(NOW + timedelta(hours=n), n)) for n in range(3)]
        few = Backups(place, Retention(recent=2, hourly=0, daily=0, weekly=0), OWN)
        packed = tmp_path / "packed"
        packed.write_bytes(os.urandom(1 << 20))
        state = State(9, NOW, "state", OWN, 1)
        disk.fill()
        with pytest.raises(BackupError, match="cannot be written: no space left on device"):
            few._keep(NOW + timedelta(hours=9), state, packed, 1, tmp_path)
        assert {each.name for each in place.path.iterdir()} == set(place.names())
        assert all(each in old for each in few.listed())
        assert old[-1] in few.listed()
        # What the retention would drop anyway makes room for one that is small enough.
        packed.write_bytes(b"small")
        taken = few._keep(NOW + timedelta(hours=9), state, packed, 1, tmp_path)
        assert few.newest() == taken


@pytest.fixture
def scheduled(tmp_path: Path) -> Iterator[TempPair]:
    with TempPair(tmp_path / "lake", "--backup-every", "0.3") as made:
        yield made


def test_a_newest_backup_that_is_cut_short_or_deleted_is_taken_anew(scheduled: TempPair, home: Path) -> None:
    with attached(scheduled, home) as connection:
        connection.execute(remote("CREATE TABLE t (i INTEGER)")).fetchall()
    backups = Backups(DirectoryPlace(scheduled.directory / "catalog" / "backups"), Retention())
    path = scheduled.directory / "catalog" / "backups"
    first = wait_until(lambda: next((b for b in backups.listed() if b.snapshot == 1), None), "no backup", 90)
    (path / first.file).write_bytes(b"cut")
    second = wait_until(
        lambda: next((b for b in backups.listed() if b != first), None), "a cut one is believed in", 90
    )
    (path / second.file).unlink()
    wait_until(
        lambda: backups.listed() and backups.newest() not in (first, second), "a lost one is believed in", 90
    )
    assert backups.newest().snapshot == 1


def test_up_on_a_lake_that_is_up_says_so_and_a_maintenance_ends_with_it(
    scheduled: TempPair, home: Path
) -> None:
    where = ("--dir", str(scheduled.directory))
    again = azquack("up", "--detach", *where, cwd=scheduled.directory.parent)
    assert again.returncode == 0, again.stderr
    assert "is up already" in again.stdout
    assert scheduled.uri in again.stdout
    with attached(scheduled, home) as connection:
        for n in range(8):
            connection.execute(remote(f"CREATE TABLE t{n} AS SELECT range AS i FROM range(5000)")).fetchall()
    process = subprocess.Popen(
        [sys.executable, "-m", "azquack", "maintain", *where], stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    wait_until(lambda: any((scheduled.directory / "data").glob("clock.azquack")) or process.poll() is not None,
               "it does not begin", 90)  # fmt: skip
    scheduled.stop()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0 or "was stopped, and the maintenance with it" in said, said
    assert "Traceback" not in said


ARGUMENTS = [
    "now", "list", "verify", "forget", "--at", "--lake", "--dir", "--yes", "--json", "--dry-run", "--quick", "--repair",
    "--deleted-share", "--keep-files", "--keep-snapshots", "--backup-to", "--backup-recent", "--backup-weekly",
    "--data-path", "", "0", "-1", "nan", "inf", "1e999", "2026-01-31T12:00", "0001-01-01T00:00+14:00", "[red]",
    "\x1b[0m", "az://", "az://b/c", "s3://x", "place", "lake", "/dev/null", "/proc/self/mem", "a" * 300, "\udcff", "--",
]  # fmt: skip


def test_no_arguments_end_in_a_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lake").mkdir()
    place = DirectoryPlace(tmp_path / "place")
    content = Content(place, tmp_path / "scratch")
    content.backup(a_backup(NOW, 5))
    content.put("20260101T000000.000000Z.json", b"{")
    rng = random.Random(7)
    for _ in range(ROUNDS // 4):
        command = rng.choice(["backup", "backup", "restore", "maintain", "check"])
        arguments = [command, *rng.choices(ARGUMENTS, k=rng.randrange(1, 6))]
        if rng.random() < 0.5:
            arguments += ["--backup-to", "place"]
        # What `main` makes a sentence of.
        result = CliRunner().invoke(application(), arguments)
        raised = result.exception
        assert raised is None or isinstance(raised, SystemExit | AzQuackError | OSError), (arguments, raised)
