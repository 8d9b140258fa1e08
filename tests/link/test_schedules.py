"""What sessions did at once is there once, whatever they did and in whatever order they committed.

`AZQUACK_TEST_SCHEDULES` is the number of random schedules of the long form.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from azquack.catalog.check import metadata
from tests.link.schedules import FATAL, SESSIONS, Run, Step, Wrong, schedule, shrunk
from tests.link.sessions import Cluster, cluster

SCHEDULES = int(os.environ.get("AZQUACK_TEST_SCHEDULES", "10000"))
# So many share a lake; afterwards the listing of its old snapshots and files takes longer than a new one.
TO_A_LAKE = 150

B, C = "begin", "commit"
# Each was answered wrongly by DuckLake's own check; session 2 is at the same node as session 0.
KNOWN = {
    "a small deletion, then a large one": [
        Step(0, B), Step(1, B), Step(0, "delete", 0, 1), Step(1, "delete", 0, 30), Step(0, C), Step(1, C),
    ],
    "a large deletion, then a small one": [
        Step(0, B), Step(1, B), Step(0, "delete", 0, 1), Step(1, "delete", 0, 20), Step(1, C), Step(0, C),
    ],
    "a small change, then all rows": [
        Step(0, B), Step(0, "update", 3, 4), Step(1, "truncate"), Step(0, C),
    ],
    "a small deletion, then a merge": [
        Step(0, B), Step(0, "merge"), Step(1, "delete", 3, 4), Step(0, C),
    ],
    "a merge, then a small deletion": [
        Step(0, B), Step(0, "delete", 3, 4), Step(1, "merge"), Step(0, C),
    ],
    "a small deletion, then a rewrite": [
        Step(1, "delete", 0, 20), Step(0, B), Step(0, "rewrite"), Step(1, "delete", 25, 26), Step(0, C),
    ],
    "a rewrite, then a small change": [
        Step(1, "delete", 0, 20), Step(0, B), Step(0, "update", 25, 26), Step(1, "rewrite"), Step(0, C),
    ],
    "a flush, then a large deletion": [
        Step(1, "delete", 3, 4), Step(0, B), Step(0, "delete", 5, 25), Step(1, "flush"), Step(0, C),
    ],
    "snapshots in between that were expired": [
        Step(0, B), Step(0, "delete", 5, 6), Step(1, "delete", 0, 20), Step(1, "insert", 1000, 1001),
        Step(1, "expire"), Step(0, C),
    ],
    "a count in a transaction from before a flush": [
        Step(0, "update", 53, 54), Step(1, B), Step(0, "merge_into", 45, 105), Step(2, "flush"),
    ],
    "rows flushed and changed in one transaction": [
        Step(0, "update", 42, 43), Step(0, B), Step(0, "flush"), Step(0, "update", 42, 43), Step(0, C),
    ],
    "a flush after a change of columns, seen by another node": [
        Step(1, "insert", 1000, 1001), Step(1, "add_column", 1), Step(0, "insert", 1002, 1003),
        Step(0, "flush"), Step(1, "insert", 1004, 1005),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("schedules") / "lake", nodes=2) as made:
        yield made


def sessions(lake: Cluster) -> list[duckdb.DuckDBPyConnection]:
    return [lake.nodes[number % len(lake.nodes)].session() for number in range(SESSIONS)]


def checked(lake: Cluster, scratch: Path) -> Callable[[], None]:
    """Raises `Wrong` when `azquack check` finds anything in the catalog."""

    def check() -> None:
        lake.copy(scratch)
        if found := metadata.damage(scratch):
            raise Wrong(f"azquack check: {[(each.rule.name, each.subject) for each in found]}")

    return check


@pytest.mark.parametrize("name", KNOWN)
def test_what_the_catalogs_own_check_misses_is_refused(lake: Cluster, name: str, tmp_path: Path) -> None:
    number = list(KNOWN).index(name)
    Run(sessions(lake), f"known_{number}").run(KNOWN[name])
    checked(lake, tmp_path / "copy.duckdb")()


def test_what_follows_a_flush_in_its_transaction_may_end_the_node(tmp_path: Path) -> None:
    """In a process of its own, which ends."""
    script = (
        "import sys, pathlib; from tests.link.schedules import FATAL, Run; from tests.link.sessions import cluster\n"
        "with cluster(pathlib.Path(sys.argv[1]), nodes=1) as lake:\n"
        "    Run([lake.nodes[0].session()], 'ends').run(FATAL[0])\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "lake")], capture_output=True, text=True, timeout=120
    )
    assert ended.returncode != 0
    assert FATAL[1] in ended.stdout + ended.stderr


def test_schedules_of_fixed_seeds(lake: Cluster, tmp_path: Path) -> None:
    check = checked(lake, tmp_path / "copy.duckdb")
    for seed in range(8):
        run(lake, seed, None)
    check()


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, SCHEDULES, TO_A_LAKE))
def test_random_schedules(tmp_path: Path, first: int) -> None:
    with cluster(tmp_path / "lake", nodes=2) as lake:
        check = checked(lake, tmp_path / "copy.duckdb")
        for seed in range(first, min(first + TO_A_LAKE, SCHEDULES)):
            # Every thirtieth is checked after each of its steps, all others once they are over.
            run(lake, seed, check if seed % 30 == 0 else None)
            if seed % 10 == 9:
                check()
            with lake.nodes[0].session() as session:
                session.execute(f"DROP TABLE IF EXISTS seed_{seed}")


def run(lake: Cluster, seed: int, check: Callable[[], None] | None) -> None:
    """The schedule of `seed`; what goes wrong is shown with as few steps as do."""
    steps = schedule(seed)
    try:
        Run(sessions(lake), f"seed_{seed}", check).run(steps)
    except (Wrong, duckdb.Error) as error:
        tries = 0

        def fails(fewer: list[Step]) -> bool:
            nonlocal tries
            tries += 1
            try:
                Run(sessions(lake), f"seed_{seed}_{tries}", check).run(fewer)
            except (Wrong, duckdb.Error):
                return True
            return False

        few = shrunk(steps, fails)
        pytest.fail(f"seed {seed}: {error}\nas few steps as fail: [{', '.join(map(str, few))}]")
