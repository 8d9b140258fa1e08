"""kill -9 of each part of a lake in the middle of writing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.reliability.conftest import ROUNDS, Lake
from tests.reliability.ledger import Writers
from tests.reliability.table import Row

Run = Callable[..., Row]
pytestmark = [pytest.mark.slow, pytest.mark.timeout(7200)]


@pytest.mark.parametrize("what", ["inserts", "DDL"])
def test_a_killed_catalog(what: str, lake: Lake, run: Run, tmp_path: Path) -> None:
    rows, tables = (3, 0) if what == "inserts" else (0, 3)
    lake.writers = Writers(lake.writers.gateway, tmp_path / "home", rows=rows, tables=tables)
    lake.start()

    def kill(number: int) -> None:
        if number % 4 == 3:
            # The whole replica, as when its container goes.
            lake.catalog.kill()
            lake.catalog.begin()
        else:
            lake.catalog.process("catalog-node").kill()

    run(lake, f"kill -9 of the catalog within {what}", ROUNDS, kill)
    lake.end_clean()


def test_a_killed_query_node(lake: Lake, run: Run, tmp_path: Path) -> None:
    lake.start()
    run(
        lake, "kill -9 of a query node", ROUNDS,
        lambda _: lake.query.process("query-node-1").kill(),
    )  # fmt: skip
    lake.end_clean()


def test_a_killed_gateway(lake: Lake, run: Run, tmp_path: Path) -> None:
    lake.start()

    def kill(number: int) -> None:
        if number % 2:
            lake.catalog.process("catalog-gateway").kill()
        else:
            lake.query.process("query-gateway").kill()

    run(lake, "kill -9 of a gateway", ROUNDS, kill)
    lake.end_clean()
