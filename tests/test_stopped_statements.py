"""A statement that takes too long, or whose client has left, is ended alone: its session and its neighbours go on."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from azquack.lake import extensions
from tests.cluster import TempPair, attach_as_r, attached, remote, wait_until

ENDLESS = "SELECT count(*) FROM range(1000000000000000) t(i) WHERE i % 2 = 5"
WRITES = {
    "insert": f"INSERT INTO {{0}} {ENDLESS}",
    "create as": f"CREATE TABLE {{0}}_new AS {ENDLESS}",
    "update": f"UPDATE {{0}} SET i = ({ENDLESS})",
    "delete": f"DELETE FROM {{0}} WHERE i < ({ENDLESS}) + 1000",
    "merge": f"MERGE INTO {{0}} USING ({ENDLESS}) s(n) ON i = n WHEN NOT MATCHED THEN INSERT VALUES (9)",
}
LIMITS = ("--statement-timeout", "2", "--abandoned-timeout", "1", "--interrupt-timeout", "3")
Connect = Callable[[], duckdb.DuckDBPyConnection]


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    pair = TempPair(tmp_path_factory.mktemp("stopped") / "lake", *LIMITS)
    try:
        pair.start()
        yield pair
    finally:
        pair.destroy()


@pytest.fixture
def connect(impatient: TempPair, tmp_path: Path) -> Iterator[Connect]:
    """Stock clients of the pair, attached as `r`."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(attached(impatient, tmp_path / "home"))


def there(client: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    """The rows of `sql`, run on the node."""
    return client.execute(remote(sql)).fetchall()


def restarts(pair: TempPair) -> dict[str, int]:
    status = httpx.get(f"{pair.http_url}/status", timeout=5, trust_env=False).json()
    return {each["name"]: each["restarts"] for each in status["processes"]}


def running(pair: TempPair) -> int:
    """How many statements the gateway has running."""
    told = httpx.get(f"{pair.http_url}/metrics", timeout=5, trust_env=False).text
    (line,) = (each for each in told.splitlines() if each.startswith("azquack_gateway_statements "))
    return int(float(line.split()[1]))


def test_one_that_runs_too_long_is_stopped_and_sessions_go_on(impatient: TempPair, connect: Connect) -> None:
    before = restarts(impatient)
    one, other = connect(), connect()
    there(one, "CREATE TEMP TABLE mine AS SELECT 42 AS a")
    there(other, "BEGIN")
    there(other, "CREATE TABLE kept AS SELECT 7 AS i")
    said: list[str] = []

    def run() -> None:
        try:
            there(one, ENDLESS)
        except duckdb.Error as error:
            said.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    counted = 0
    while thread.is_alive():
        # Work of the neighbour's, from before the interrupt to after it.
        assert there(other, "SELECT count(*) FROM kept, range(1000)") == [(1000,)]
        counted += 1
    assert counted > 1
    assert "This statement ran longer than 2 s and was stopped" in said[0]
    assert "known" not in said[0]
    assert there(one, "FROM mine") == [(42,)]
    there(other, "COMMIT")
    assert there(one, "FROM kept") == [(7,)]
    assert restarts(impatient) == before


def test_a_transaction_is_rolled_back_and_says_so(connect: Connect) -> None:
    client = connect()
    there(client, "CREATE TABLE whole (i INTEGER)")
    there(client, "BEGIN")
    there(client, "INSERT INTO whole VALUES (1)")
    with pytest.raises(duckdb.Error, match="its transaction was rolled back: nothing of it was kept"):
        there(client, ENDLESS)
    # Whoever has not read that is told once more, before anything is kept that should be part of it.
    with pytest.raises(duckdb.Error, match="rolled back"):
        there(client, "INSERT INTO whole VALUES (2)")
    assert there(client, "FROM whole") == []
    there(client, "INSERT INTO whole VALUES (3)")
    assert there(client, "FROM whole") == [(3,)]


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[] if kind in ("insert", "create as") else pytest.mark.slow)
        for kind in WRITES
    ],
)
def test_of_a_write_that_is_stopped_nothing_is_kept(connect: Connect, kind: str) -> None:
    client, name = connect(), f"w_{kind.replace(' ', '_')}"
    there(client, f"CREATE TABLE {name} AS SELECT 5::BIGINT AS i")
    with pytest.raises(duckdb.Error, match="was stopped: nothing of it was kept"):
        there(client, WRITES[kind].format(name))
    assert there(client, f"FROM {name}") == [(5,)]
    assert there(client, f"SELECT count(*) FROM duckdb_tables() WHERE table_name = '{name}_new'") == [(0,)]


def test_of_several_statements_in_one_text_it_is_said_that_nobody_knows(connect: Connect) -> None:
    client = connect()
    there(client, "CREATE TABLE several (i BIGINT)")
    with pytest.raises(duckdb.Error, match="whether this statement took effect is not known: look"):
        there(client, f"INSERT INTO several VALUES (1); INSERT INTO several {ENDLESS}")
    assert there(client, "FROM several") == [(1,)]
    with pytest.raises(duckdb.Error, match="whether this statement took effect is not known"):
        there(client, f"BEGIN; INSERT INTO several VALUES (2); INSERT INTO several {ENDLESS}; COMMIT")
    # It has left no transaction open in the session.
    with pytest.raises(duckdb.Error, match="rolled back"):
        there(client, "FROM several")
    assert there(client, "FROM several") == [(1,)]
    there(client, "INSERT INTO several VALUES (3)")
    assert there(connect(), "FROM several ORDER BY i") == [(1,), (3,)]


def test_a_result_that_is_fetched_too_slowly_by_its_node_is_stopped(connect: Connect) -> None:
    client = connect()
    with pytest.raises(duckdb.Error, match="ran longer than 2 s and was stopped"):
        there(client, "SELECT i FROM range(1000000000000000) t(i) WHERE i < 30000 OR i % 2 = 5")
    assert there(client, "SELECT 1") == [(1,)]


def test_one_whose_client_was_killed_is_stopped_and_costs_nobody_anything(
    impatient: TempPair, connect: Connect, tmp_path: Path
) -> None:
    before, neighbour = restarts(impatient), connect()
    there(neighbour, "CREATE TEMP TABLE mine AS SELECT 42 AS a")
    script = [*attach_as_r(impatient, tmp_path / "killed"), remote(f"{ENDLESS} -- of the killed one")]
    client = subprocess.Popen(
        [str(extensions.program()), "-no-init", ":memory:"],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert client.stdin is not None
    client.stdin.write(";\n".join(script) + ";\n")
    client.stdin.close()
    wait_until(lambda: running(impatient) == 1, "the statement did not begin")
    client.kill()
    client.wait()
    wait_until(lambda: running(impatient) == 0, "the statement went on", timeout=10)
    assert there(neighbour, "FROM mine") == [(42,)]
    assert restarts(impatient) == before


# One call of a function that takes minutes: DuckDB looks at interrupts between two calls.
STUCK = "SELECT levenshtein(repeat('ab', 200000), repeat('ba', 200000))"


def test_one_that_does_not_react_costs_its_node(impatient: TempPair, connect: Connect) -> None:
    client = connect()
    before = restarts(impatient)
    began = time.monotonic()
    with pytest.raises(
        duckdb.Error, match="could not be brought to end it alone; whether this statement took"
    ):
        there(client, STUCK)
    assert time.monotonic() - began > 5
    wait_until(lambda: sum(restarts(impatient).values()) > sum(before.values()), "the node was not restarted")


def test_whoever_runs_too_much_is_seen_and_cancelled_and_goes_on(
    impatient: TempPair, connect: Connect
) -> None:
    one, other = connect(), connect()
    there(one, "CREATE TEMP TABLE mine AS SELECT 42 AS a")
    said: list[str] = []

    def run() -> None:
        try:
            there(one, f"{ENDLESS} -- cancel me")
        except duckdb.Error as error:
            said.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    mine = "SELECT id, state, seconds FROM azquack.sessions() WHERE statement LIKE '%cancel me' AND state = 'running'"
    seen = wait_until(lambda: there(other, f"{mine} AND NOT contains(statement, 'LIKE')"), "it is not seen")
    assert there(other, f"CALL azquack.cancel('{seen[0][0]}')") == [("cancelled",)]
    thread.join()
    assert "was cancelled by" in said[0]
    assert there(one, "FROM mine") == [(42,)]
    with pytest.raises(duckdb.Error, match="No session of yours has this id"):
        there(other, "CALL azquack.cancel('0123456789ab')")


def test_the_command_line_says_who_is_here_and_cancels(impatient: TempPair, connect: Connect) -> None:
    there(connect(), "SELECT 1")

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "azquack", *arguments, "--dir", str(impatient.directory)],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    shown = json.loads(command("sessions", "--json").stdout)
    assert {each["state"] for each in shown} == {"idle"}
    assert shown[0]["id"] in command("sessions").stdout
    idle = next(each["id"] for each in shown if each["state"] == "idle")
    assert command("cancel", idle).stdout == "nothing ran in this session\n"
    unknown = command("cancel", "it's nothing")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "Traceback" not in unknown.stderr
