"""kill -9 of each part of a lake in the middle of writing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from azquack import epochs
from azquack.check import checks
from azquack.settings import Settings, load
from tests.reliability.conftest import ROUNDS, Lake
from tests.reliability.ledger import Writers
from tests.reliability.table import Row

Run = Callable[..., Row]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


def settings_of(lake: Lake) -> Settings:
    return load({"data_path": str(lake.data_path)}, env_file=None).settings


def check_is_clean(lake: Lake, tmp_path: Path) -> None:
    """`azquack check` of the catalog that the replicas left; files of cut statements are no damage."""
    lake.query.stop()
    lake.catalog.stop()
    left = epochs.newest(lake.catalog_dir)
    assert [each for each in checks.run(left, settings_of(lake)) if each.serious] == []


@pytest.mark.parametrize("what", ["inserts", "DDL"])
def test_a_killed_catalog(what: str, lake: Lake, run: Run, tmp_path: Path) -> None:
    rows, tables = (3, 0) if what == "inserts" else (0, 3)
    lake.writers = Writers(lake.writers.door, tmp_path / "home", rows=rows, tables=tables)
    lake.start()

    def kill(number: int) -> None:
        if number % 4 == 3:
            # The whole replica, as when its container goes.
            lake.catalog.kill()
            lake.catalog.begin()
        else:
            lake.catalog.process("catalog-node").kill()

    run(lake, f"kill -9 of the catalog within {what}", ROUNDS, kill)
    check_is_clean(lake, tmp_path)


def test_a_killed_query_node(lake: Lake, run: Run, tmp_path: Path) -> None:
    lake.start()
    run(
        lake, "kill -9 of a query node", ROUNDS,
        lambda _: lake.query.process("query-node-1").kill(),
    )  # fmt: skip
    check_is_clean(lake, tmp_path)


def test_a_killed_gateway(lake: Lake, run: Run, tmp_path: Path) -> None:
    lake.start()

    def kill(number: int) -> None:
        if number % 2:
            lake.catalog.process("catalog-door").kill()
        else:
            lake.query.process("query-door").kill()

    run(lake, "kill -9 of a gateway", ROUNDS, kill)
    check_is_clean(lake, tmp_path)
