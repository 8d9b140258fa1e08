"""A lake under mixed load and a fault every so often, for a long time."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from tests.reliability.conftest import Lake, for_a_while
from tests.reliability.ledger import Damage, Writers
from tests.reliability.table import PROPERTY, Row

MINUTES = float(os.environ.get("AZQUACK_TEST_SOAK_MINUTES", "30"))
EVERY = 20.0
# What may be added to the memory of a process between the first and the last third, in bytes: once it is warm,
# and within a short run, whose first third sees it empty.
GROWTH, WARMING = 48 << 20, 160 << 20
WARM_ROUNDS = 30


def memory(lake: Lake) -> Iterator[tuple[str, int]]:
    """The resident memory of every process by its name."""
    for replica in (lake.catalog, lake.query):
        for each in replica.status().get("processes", []):
            try:
                yield each["name"], psutil.Process(each["pid"]).memory_info().rss
            except (psutil.NoSuchProcess, TypeError):
                continue


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_soak(lake: Lake, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    lake.writers = Writers(lake.writers.gateway, tmp_path / "home", rows=3, tables=1)
    lake.start()
    faults: dict[str, Callable[[], object]] = {
        "catalog node killed": lambda: lake.catalog.process("catalog-node").kill(),
        "query node killed": lambda: lake.query.process("query-node-1").kill(),
        "public gateway killed": lambda: lake.query.process("query-gateway").kill(),
        "internal gateway killed": lambda: lake.catalog.process("catalog-gateway").kill(),
        "catalog replica restarted": lambda: _restart(lake),
        "line cut": lambda: for_a_while(lake.line.cut, lake.line.restore)(0),
        "line frozen": lambda: for_a_while(lake.line.freeze, lake.line.restore)(0),
    }
    row = Row(f"soak: {MINUTES:g} min, a fault every {EVERY:g} s")
    resident: dict[str, list[int]] = defaultdict(list)
    dice = random.Random(4711)
    end = time.monotonic() + 60 * MINUTES
    with lake.writers.writing() as ledger:
        ledger.wait_for_success()
        while time.monotonic() < end:
            began = time.monotonic()
            name = dice.choice(sorted(faults))
            faults[name]()
            row.seconds.append(ledger.longest_pause(began))
            damage = lake.writers.compare()
            assert damage == Damage(), f"{name}: {damage}\n{lake.log_text()}"
            row.rounds += 1
            for process, size in memory(lake):
                resident[process].append(size)
            # The load goes on until the next fault; there is nothing to wait for.
            time.sleep(max(0.0, min(began + EVERY, end) - time.monotonic()))
    row.acknowledged = len(ledger.successes)
    record_property(PROPERTY, asdict(row))
    lake.end_clean()
    for process, sizes in resident.items():
        third = max(1, len(sizes) // 3)
        grown = statistics.median(sizes[-third:]) - statistics.median(sizes[:third])
        allowed = GROWTH if row.rounds >= WARM_ROUNDS else WARMING
        assert grown < allowed, f"{process} grew by {grown / 2**20:.0f} MiB"


def _restart(lake: Lake) -> None:
    assert lake.catalog.stop() == 0
    lake.catalog.start()
