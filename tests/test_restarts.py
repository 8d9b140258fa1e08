"""What the policy lets through is the same whenever the processes of a lake were started."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import duckdb
import psutil
import pytest

from tests.cluster import TempPair, attached, remote, wait_until
from tests.test_faults import children, is_gone, ready
from tests.test_roles import principal

MACROS = (
    "CREATE SCHEMA demo",
    "CREATE MACRO twice(a) AS a * 2",
    "CREATE MACRO demo.thrice(a) AS a * 3",
    "CREATE MACRO upto(n) AS TABLE SELECT unnest(range(n)) AS i",
)
# What everybody may run, and what nobody may, whatever was restarted in between.
ALLOWED = {
    "SELECT twice(21)": 42,
    "SELECT lake.twice(21)": 42,
    "SELECT demo.thrice(14)": 42,
    "SELECT sum(i) FROM upto(4)": 6,
}
REFUSED = ("SELECT getenv('HOME')", "FROM duckdb_settings()", "FROM quack_server_list()")
PROCESSES = ("query-gateway", "query-node-1", "catalog-node", "catalog-gateway")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[TempPair]:
    """A pair with macros in its lake, and a principal of every role."""
    with TempPair(tmp_path / "lake") as made:
        yield made


def restart(pair: TempPair, names: tuple[str, ...]) -> None:
    """Ends the processes `names` with SIGKILL, or without names stops and starts the whole pair."""
    if not names:
        pair.stop()
        pair.start()
    found = children(pair)
    for name in names:
        found[name].kill()
    for name in names:
        wait_until(partial(is_gone, found[name]), f"{name} survived a SIGKILL")
    wait_until(lambda: up(pair, {name: found[name].pid for name in names}), f"{names} did not come back")


def up(pair: TempPair, before: dict[str, int]) -> bool:
    """Whether all is well, and each process of `before` is another than it was."""
    if not ready(pair):
        return False
    now = children(pair)
    return all(
        name in now and now[name].pid != pid and psutil.pid_exists(now[name].pid)
        for name, pid in before.items()
    )


def check(pair: TempPair, tokens: dict[str, str]) -> None:
    """Every role gets what it may, and nothing else."""
    for role, token in tokens.items():
        with attached(pair, pair.directory / "home", token) as client:
            for sql, answer in ALLOWED.items():
                assert client.execute(remote(sql)).fetchall() == [(answer,)], f"{role}: {sql}"
            for sql in REFUSED:
                with pytest.raises(duckdb.Error, match="is not allowed"):
                    client.execute(remote(sql))


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([("query-gateway",)], id="of the gateway"),
        pytest.param(
            [(), ("query-node-1", "query-gateway"), ("query-gateway", "catalog-node")],
            id="of several",
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [
                steps
                for count in range(1, len(PROCESSES) + 1)
                for steps in itertools.permutations(PROCESSES, count)
            ][: int(os.environ.get("AZQUACK_TEST_ROUNDS", "20"))],
            id="all orders",
            marks=[pytest.mark.slow, pytest.mark.timeout(1800)],
        ),
    ],
)
def test_macros_of_the_lake_stay_allowed_after_any_restart(
    pair: TempPair, steps: list[tuple[str, ...]]
) -> None:
    tokens = {
        role: principal(pair, "add", f"a-{role}", "--role", role).split()[-1]
        for role in ("reader", "writer", "admin")
    }
    with attached(pair, pair.directory / "home") as admin:
        for sql in MACROS:
            admin.execute(remote(sql)).fetchall()
    check(pair, tokens)
    for step in steps:
        restart(pair, step)
        check(pair, tokens)
