"""One owner of the catalog: the lease in a directory and on a blob, and the file of each epoch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from azure.storage.blob import BlobClient

from azquack.catalog import epochs
from azquack.catalog.lease import BlobLease, FileLease, Grant, Lease, lease_for
from azquack.catalog.lease.grant import now
from azquack.catalog.lease.held import held
from azquack.config.sources import load
from azquack.errors import LakeError, LeaseError, LeaseLostError, SettingError
from azquack.lake.state import LeaseRecord, Seen
from azquack.process import drafts
from tests.cluster import wait_until
from tests.reliability.disks import small_disk
from tests.standins.azurite import Azurite

SECONDS = 15
Leases = Callable[[], Lease]


@pytest.fixture(params=["directory", "blob"])
def leases(request: pytest.FixtureRequest, tmp_path: Path) -> Leases:
    """Makes contenders for one lease, of each kind."""
    if request.param == "directory":
        return lambda: FileLease(tmp_path / "lease", SECONDS, "a test")
    azurite: Azurite = request.getfixturevalue("azurite")
    container: str = request.getfixturevalue("container")
    return lambda: BlobLease(
        BlobClient.from_connection_string(azurite.connection_string, container, "catalog"), SECONDS
    )


def acquired(lease: Lease) -> Grant:
    grant = lease.acquire()
    assert grant is not None, "the lease could not be had"
    return grant


def test_one_holds_it_until_it_gives_it_back(leases: Leases) -> None:
    first, second = leases(), leases()
    grant = acquired(first)
    assert grant.held()
    assert second.acquire() is None
    renewed = first.renew(grant)
    assert renewed.until >= grant.until
    assert renewed.epoch == grant.epoch
    first.release(renewed)
    successor = acquired(second)
    assert successor.epoch == grant.epoch + 1
    with pytest.raises(LeaseLostError):
        first.renew(renewed)
    second.release(successor)


def test_the_lease_keeps_what_was_served_and_a_number_never_goes_back(leases: Leases) -> None:
    first = leases()
    grant = acquired(first)
    assert (grant.lake, grant.served, grant.number) == ("", 0, 0)
    first.settle(grant, "abc")
    first.release(grant)
    second = leases()
    assert second.record() == LeaseRecord(Seen.THERE, second.record().where, "abc", grant.epoch, grant.epoch)
    failed = second.acquire(41)
    assert failed is not None
    assert (failed.epoch, failed.lake, failed.served, failed.number) == (42, "abc", grant.epoch, grant.epoch)
    second.release(failed)
    third = acquired(leases())
    assert (third.epoch, third.lake, third.served, third.number) == (43, "abc", grant.epoch, 42)


def test_of_many_that_ask_with_different_floors_one_keeps_it(leases: Leases) -> None:
    start, got = threading.Barrier(8), []

    def ask(floor: int) -> None:
        lease = leases()
        start.wait()
        got.append(lease.acquire(floor))

    threads = [threading.Thread(target=ask, args=(floor,)) for floor in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([grant for grant in got if grant and grant.held()]) <= 1


def test_a_lease_that_is_removed_is_lost(leases: Leases, tmp_path: Path) -> None:
    lease = leases()
    grant = acquired(lease)
    if isinstance(lease, FileLease):
        shutil.rmtree(tmp_path / "lease")
        assert not grant.held()
    else:
        assert isinstance(lease, BlobLease)
        assert lease._lease is not None
        lease._blob.delete_blob(lease=lease._lease)
    with pytest.raises(LeaseLostError, match="removed"):
        lease.renew(grant)


def test_a_damaged_lease_is_said_in_a_sentence(tmp_path: Path) -> None:
    for text in ("", "{", "[]", "{}", "\x00"):
        (tmp_path / "7").write_text(text)
        with pytest.raises(LeaseError, match=r"the lease .*7 is damaged: once nothing serves"):
            FileLease(tmp_path, SECONDS, "x").acquire()


def test_an_owner_whose_file_is_gone_or_followed_answers_nothing(tmp_path: Path) -> None:
    write(epochs.begin(tmp_path / "c", 1), "CREATE TABLE t AS SELECT 1 AS i")
    file = epochs.newest(tmp_path / "c")
    grant = acquired(FileLease(tmp_path / "lease", SECONDS, "x"))
    seen = replace(grant, file=str(file), followed=str(epochs.followed_by(file)))
    assert seen.held()
    # Another lease, the same catalog: whoever copies the file says so first.
    epochs.begin(tmp_path / "c", 2)
    assert seen.lost() == "another process has taken the catalog over"
    gone = replace(seen, followed=None)
    assert gone.held()
    file.unlink()
    assert "is gone" in gone.lost()


def test_of_many_that_ask_at_once_one_gets_it(leases: Leases) -> None:
    start, got = threading.Barrier(8), []

    def ask() -> None:
        lease = leases()
        start.wait()
        got.append(lease.acquire())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert len([grant for grant in got if grant]) == 1


def test_a_grant_is_not_held_once_its_time_is_over() -> None:
    assert not Grant(1, now() - 0.001).held()
    assert Grant(1, now() + 60).held()
    assert Grant.from_message(json.loads(json.dumps(Grant(1, 2.5, "a", "b").to_message()))) == Grant(
        1, 2.5, "a", "b"
    )


@pytest.fixture
def dead(tmp_path: Path) -> int:
    """The epoch of an owner that was killed."""
    take = (
        "import sys; from pathlib import Path; from azquack.catalog.lease import FileLease;"
        f"print(FileLease(Path(sys.argv[1]), {SECONDS}, 'x').acquire().epoch, flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", take, str(tmp_path / "lease")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout
    epoch = int(process.stdout.readline())
    assert FileLease(tmp_path / "lease", SECONDS, "y").acquire() is None
    process.kill()
    process.communicate()
    return epoch


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path, dead: int) -> None:
    began = now()
    assert acquired(FileLease(tmp_path / "lease", SECONDS, "y")).epoch == dead + 1
    assert now() - began < SECONDS


def test_an_owner_that_shows_no_life_is_followed_and_never_answers_again(tmp_path: Path) -> None:
    paused, other = FileLease(tmp_path, 1, "paused"), FileLease(tmp_path, 1, "other")
    grant = acquired(paused)
    assert other.acquire() is None
    assert "paused (pid" in other.holder()
    successor = wait_until(other.acquire, "the lease of a silent owner was never taken over", timeout=10)
    # Even with its own clock stopped: the successor's claim is there to see.
    asleep = Grant(grant.epoch, now() + 60, grant.claim, grant.successor)
    assert not asleep.held()
    with pytest.raises(LeaseLostError, match="another process has taken the catalog over"):
        paused.renew(asleep)
    other.release(successor)
    assert acquired(FileLease(tmp_path, 1, "third")).epoch == successor.epoch + 1
    assert not asleep.held(), "a claim that came and went must not bring an old one back"


def test_an_owner_that_shows_life_is_not_followed(tmp_path: Path) -> None:
    owner, other = FileLease(tmp_path, 1, "owner"), FileLease(tmp_path, 1, "other")
    grant = acquired(owner)
    until = now() + 3
    while now() < until:
        assert other.acquire() is None
        grant = owner.renew(grant)


def test_a_directory_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LeaseError, match=r"the lease in .* cannot be used"):
        FileLease(tmp_path / "file" / "lease", SECONDS, "x").acquire()


def test_a_blob_that_cannot_be_reached_is_said_in_a_sentence(azurite: Azurite) -> None:
    lease = BlobLease(BlobClient.from_connection_string(azurite.connection_string, "nowhere", "x"), SECONDS)
    with pytest.raises(LeaseError, match="the lease az://nowhere/x cannot be used: The specified container"):
        lease.acquire()


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"lease": "s3://bucket/x"}, "AZQUACK_LEASE is 's3://bucket/x'"),
        ({"lease": "az://lease/catalog"}, "AZQUACK_AZURE_ACCOUNT is not set"),
        ({"lease": "az://lease/catalog", "lease_seconds": 5}, "a lease on a blob lasts 15 to 60 seconds"),
        ({}, "AZQUACK_CATALOG_DIR is not set"),
    ],
)
def test_a_lease_that_cannot_be_is_refused(given: dict[str, object], sentence: str) -> None:
    with pytest.raises(SettingError, match=sentence.replace("?", r"\?")):
        lease_for(load(given, env_file=None).settings, "x")


# The files.


def write(file: Path, *statements: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(file)) as connection:
        for each in statements:
            connection.execute(each)


def test_each_epoch_has_a_copy_of_the_one_before(tmp_path: Path) -> None:
    first = epochs.begin(tmp_path, 1)
    assert not first.exists()
    assert epochs.newest(tmp_path) == first
    write(first, "CREATE TABLE t AS SELECT 1 AS i")
    second = epochs.begin(tmp_path, 2)
    write(first, "UPDATE t SET i = 99")
    with duckdb.connect(str(second)) as connection:
        assert connection.execute("FROM t").fetchall() == [(1,)]
    fourth = epochs.begin(tmp_path, 4)
    assert first.exists(), "nothing goes before the new file was found whole"
    epochs.settle(fourth)
    assert not first.exists()
    assert second.exists(), "the file of the owner before is kept"


def test_a_file_that_did_not_prove_whole_leaves_its_predecessor_the_newest(tmp_path: Path) -> None:
    first = epochs.begin(tmp_path, 1)
    write(first, "CREATE TABLE t AS SELECT 1 AS i")
    epochs.discard(epochs.begin(tmp_path, 2))
    assert epochs.found(tmp_path) == (first, 1, ())


def test_an_epoch_without_a_file_is_seen(tmp_path: Path) -> None:
    assert epochs.found(tmp_path / "nowhere") == (None, 0, ())
    first = epochs.begin(tmp_path, 1)
    assert epochs.found(tmp_path) == (None, 0, (1,))
    write(first, "CREATE TABLE t AS SELECT 1 AS i")
    second = epochs.begin(tmp_path, 2)
    second.unlink()
    assert epochs.found(tmp_path) == (first, 1, (2,))


def test_what_only_the_log_holds_is_copied_too(tmp_path: Path) -> None:
    first = epochs.begin(tmp_path, 1)
    crash = (
        "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE t (i INTEGER)');"
        "c.execute('INSERT INTO t VALUES (7)'); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", crash, str(first)], check=False)
    assert Path(f"{first}.wal").stat().st_size > 0
    with duckdb.connect(str(epochs.begin(tmp_path, 2))) as connection:
        assert connection.execute("FROM t").fetchall() == [(7,)]


def test_a_copy_of_a_file_that_is_being_written_holds_whole_transactions(tmp_path: Path) -> None:
    first = epochs.begin(tmp_path, 1)
    churn = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE t (i INTEGER)')\n"
        "for n in range(10**9):\n"
        " c.execute('BEGIN'); c.execute(f'INSERT INTO t VALUES ({n})'); c.execute(f'INSERT INTO t VALUES ({n})')\n"
        " c.execute('COMMIT')\n"
        " if n % 50 == 0: c.execute('CHECKPOINT'); print(n, flush=True); sys.stdin.readline()"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", churn, str(first)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert writer.stdin
    assert writer.stdout
    try:
        for epoch in range(2, 12):
            done = int(writer.stdout.readline())
            writer.stdin.write("on\n")
            writer.stdin.flush()
            copy = tmp_path / "taken" / str(epoch)
            copy.mkdir(parents=True)
            epochs.copy(first, copy / epochs.FILE)
            with duckdb.connect(str(copy / epochs.FILE)) as connection:
                odd = "SELECT count(*), coalesce(max(i), -1) FROM t GROUP BY i HAVING count(*) <> 2"
                assert connection.execute(odd).fetchall() == []
                assert connection.execute("SELECT count(DISTINCT i) > ? FROM t", [done]).fetchall() == [
                    (True,)
                ]
    finally:
        writer.kill()
        writer.communicate()


def test_an_owner_that_was_paused_at_its_start_takes_nothing_away(tmp_path: Path) -> None:
    write(epochs.begin(tmp_path, 1), "CREATE TABLE t AS SELECT 1 AS i")
    third = epochs.begin(tmp_path, 3)
    write(third, "UPDATE t SET i = 3")
    late = epochs.begin(tmp_path, 2)
    assert epochs.newest(tmp_path) == third
    with duckdb.connect(str(late)) as connection:
        assert connection.execute("FROM t").fetchall() == [(1,)]
    with duckdb.connect(str(epochs.begin(tmp_path, 4))) as connection:
        assert connection.execute("FROM t").fetchall() == [(3,)]


def test_a_catalog_from_before_the_epochs_is_adopted_once_it_serves(tmp_path: Path) -> None:
    write(tmp_path / epochs.FILE, "CREATE TABLE t AS SELECT 1 AS i")
    first = epochs.begin(tmp_path, 1)
    assert (tmp_path / epochs.FILE).exists()
    epochs.settle(first)
    assert not (tmp_path / epochs.FILE).exists()
    assert (tmp_path / f"{epochs.FILE}.before-epochs").exists()
    assert epochs.directory_of(first) == tmp_path
    with duckdb.connect(str(first)) as connection:
        assert connection.execute("FROM t").fetchall() == [(1,)]


def test_a_full_disk_is_said_in_a_sentence_and_leaves_no_half_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(epochs.begin(tmp_path, 1), "CREATE TABLE t AS SELECT 1 AS i")

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LakeError, match="cannot be copied: no space left on device"):
        epochs.begin(tmp_path, 2)
    monkeypatch.undo()
    assert [each.name for each in tmp_path.iterdir()] == ["epoch-1"]


def test_what_a_killed_restore_or_upgrade_left_goes_at_the_next_start(tmp_path: Path) -> None:
    left = [tmp_path / f"{prefix}abc" for prefix in (".restoring-", ".upgrading-")]
    for each in left:
        each.mkdir()
        (each / "catalog.duckdb").write_bytes(b"a whole copy")
        os.utime(each, (1, 1))
    write(epochs.begin(tmp_path, 1), "CREATE TABLE t AS SELECT 1 AS i")
    with drafts.directory(tmp_path, ".restoring-") as used:
        epochs.settle(tmp_path / "epoch-1" / "catalog.duckdb")
        assert not any(each.exists() for each in left)
        assert used.exists()


def test_a_lease_on_a_full_disk_leaves_no_drafts(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk:
        lease = FileLease(disk.path / "lease", 9.0, "full")
        (disk.path / "lease").mkdir()
        disk.fill()
        for _ in range(3):
            with pytest.raises(LeaseError, match="no space left"):
                lease.acquire()
        assert list((disk.path / "lease").iterdir()) == []


def test_a_command_holds_it_for_longer_than_it_lasts(tmp_path: Path) -> None:
    lease, other = (FileLease(tmp_path / "lease", 0.5, name) for name in ("a command", "another"))
    first = acquired(lease)
    with held(lease, first) as owned:
        wait_until(lambda: now() > first.until + 0.5, "time stands still")
        assert owned.grant.until > first.until
        assert other.acquire() is None
    assert acquired(other).epoch == 2


def test_a_command_whose_lease_was_taken_says_so(tmp_path: Path) -> None:
    lease = FileLease(tmp_path / "lease", 0.5, "a command")
    grant = acquired(lease)
    with held(lease, grant) as owned:
        (tmp_path / "lease" / "2").write_text('{"name": "another", "pid": 1}')

        with pytest.raises(LeaseLostError, match="was lost meanwhile"):
            assert owned.grant is None
