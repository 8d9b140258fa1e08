"""A lake whose disks, lines, storage and clock fail for a while."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster import attach_as_r, read_line, remote
from tests.link.processes import TcpProxy
from tests.reliability.conftest import ROUNDS, Lake, for_a_while
from tests.reliability.disks import small_disk
from tests.reliability.ledger import Writers
from tests.reliability.replicas import INTERNAL
from tests.reliability.table import Row
from tests.standins import debian
from tests.standins.azurite import ACCOUNT, KEY, Azurite

Run = Callable[..., Row]
Lakes = Callable[..., Lake]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]
FEWER = max(1, ROUNDS // 5)
UNAVAILABLE = (
    b"HTTP/1.1 503 Service Unavailable\r\nx-ms-error-code: ServerBusy\r\n"
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def test_a_full_disk_under_the_catalog(lakes: Lakes, run: Run, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        lake = lakes(catalog_dir=disk.path / "catalog")
        lake.start()
        run(lake, "disk full under the catalog", FEWER, for_a_while(disk.fill, disk.free))
        assert any("Failed to commit" in each for each in lake.writers.ledger.errors), (
            lake.writers.ledger.errors
        )
        lake.close()


def test_a_full_disk_under_the_data_path(lakes: Lakes, run: Run, tmp_path: Path) -> None:
    with small_disk(tmp_path / "small") as disk:
        lake = lakes(data_path=disk.path / "data")
        lake.writers = Writers(lake.writers.gateway, tmp_path / "home", rows=0, tables=2)
        lake.start()
        run(lake, "disk full under the data path", FEWER, for_a_while(disk.fill, disk.free))
        assert any("No space left" in each for each in lake.writers.ledger.errors), lake.writers.ledger.errors
        lake.close()


@pytest.mark.parametrize("what", ["cut", "frozen", "slowed"])
def test_a_bad_line_between_query_and_catalog(what: str, lake: Lake, run: Run) -> None:
    lake.start()
    begin = {"cut": lake.line.cut, "frozen": lake.line.freeze, "slowed": lambda: lake.line.slow(0.1)}[what]
    run(lake, f"line to the catalog {what}", FEWER, for_a_while(begin, lake.line.restore))


@pytest.fixture
def storage(tmp_path: Path) -> Iterator[Azurite]:
    """Blob Storage of this test's own, with a container."""
    (tmp_path / "azurite").mkdir()
    server = Azurite(tmp_path / "azurite")
    server.start()
    server.make_container("lake")
    yield server
    server.stop()


@pytest.fixture
def in_storage(storage: Azurite, lakes: Lakes, tmp_path: Path) -> Iterator[tuple[Lake, TcpProxy]]:
    """A lake whose data lies in `storage`, and the line to there."""
    line = TcpProxy(storage.port)
    endpoint = f"http://127.0.0.1:{line.port}/{ACCOUNT}"
    account = f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={endpoint};"
    lake = lakes(data_path="az://lake/data/", azure_connection_string=account)
    # Single rows stay in the catalog, and would go on.
    lake.writers = Writers(lake.writers.gateway, tmp_path / "home", rows=0, tables=3)
    lake.start()
    yield lake, line
    line.close()


def test_a_killed_storage(storage: Azurite, in_storage: tuple[Lake, TcpProxy], run: Run) -> None:
    lake, _ = in_storage

    def kill(_: int) -> None:
        storage.kill()
        storage.start()

    run(lake, "kill -9 of the storage", ROUNDS, kill)


@pytest.mark.parametrize("what", ["503", "time-outs"])
def test_a_storage_that_does_not_answer(what: str, in_storage: tuple[Lake, TcpProxy], run: Run) -> None:
    lake, line = in_storage
    begin = line.freeze if what == "time-outs" else lambda: line.answer_instead(UNAVAILABLE)
    run(lake, f"storage answers {what}", FEWER, for_a_while(begin, line.restore))


def test_a_clock_that_jumps(lakes: Lakes, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not FAKETIME.exists() and (why := debian.install("libfaketime")):
        pytest.skip(why)
    clock = tmp_path / "clock"
    clock.write_text("+0")
    # The clock of the policy alone: that is the one which somebody sets.
    for name, value in (
        ("LD_PRELOAD", str(FAKETIME)), ("FAKETIME_TIMESTAMP_FILE", str(clock)), ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    lake = lakes()
    for name in ("LD_PRELOAD", "FAKETIME_TIMESTAMP_FILE"):
        monkeypatch.delenv(name)
    lake.start()

    def jump(number: int) -> None:
        clock.write_text(("+3600", "-3600", "+0")[number % 3])

    run(lake, "clock jumps by an hour", FEWER, jump)


@pytest.mark.parametrize("clock", ["+1d", "-1d"])
def test_a_maintenance_with_a_wrong_clock_deletes_nothing(lake: Lake, clock: str) -> None:
    if not FAKETIME.exists() and (why := debian.install("libfaketime")):
        pytest.skip(why)
    lake.start()
    environment = {
        "LD_PRELOAD": str(FAKETIME), "FAKETIME": clock, "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "AZQUACK_CATALOG": f"quack:127.0.0.1:{lake.catalog.port}", "AZQUACK_INTERNAL_TOKEN": INTERNAL,
        "AZQUACK_DATA_PATH": str(lake.data_path), "AZQUACK_KEEP_FILES": "0",
    }  # fmt: skip
    with lake.writers.connected() as connection:
        connection.execute(remote("CREATE TABLE t (i BIGINT)")).fetchall()
        for each in ("BEGIN", "INSERT INTO t FROM range(100)"):
            connection.execute(remote(each)).fetchall()
        done = subprocess.run(
            [sys.executable, "-m", "azquack", "maintain"], env=os.environ | environment, cwd=lake.directory,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 1, done.stdout
        assert "azquack: the clocks differ" in done.stderr, done.stderr
        connection.execute(remote("COMMIT")).fetchall()
        assert connection.execute(remote("SELECT count(*), sum(i) FROM t")).fetchall() == [(100, 4950)]


def test_a_client_that_vanishes_in_a_transaction(lakes: Lakes, run: Run, tmp_path: Path) -> None:
    lake = lakes(idle_timeout=2)
    lake.start()
    with lake.writers.connected() as connection:
        connection.execute(remote("CREATE TABLE counter AS SELECT 0 AS n")).fetchall()
    begin = [*attach_as_r(lake.writers.gateway, tmp_path / "vanishing"), remote("BEGIN")]
    begin.append(remote("UPDATE counter SET n = -1"))
    script = (
        "import duckdb, json, sys\nconnection = duckdb.connect()\n"
        "for each in json.loads(sys.stdin.readline()): connection.execute(each).fetchall()\n"
        "print('open', flush=True); sys.stdin.read()"
    )

    def vanish(number: int) -> None:
        client = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert client.stdin
        client.stdin.write(json.dumps(begin) + "\n")
        client.stdin.flush()
        read_line(client, "the client never opened its transaction")
        client.kill()
        client.communicate()
        with lake.writers.connected() as connection:
            connection.execute(remote("UPDATE counter SET n = n + 1")).fetchall()
            assert connection.execute(remote("FROM counter")).fetchall() == [(number + 1,)]

    run(lake, "client vanishes in a transaction", FEWER, vanish)
