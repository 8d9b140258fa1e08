"""A lake under faults: a catalog and a query replica, with a line between them that can be disturbed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from azquack.catalog import epochs
from azquack.catalog.check import checks
from azquack.config.sources import load
from tests.link.processes import TcpProxy
from tests.reliability import table
from tests.reliability.ledger import Damage, Gateway, Writers
from tests.reliability.replicas import Replica
from tests.reliability.table import Row

ROUNDS = int(os.environ.get("AZQUACK_TEST_ROUNDS", "100"))


class Lake:
    """The replicas, the line, the writers."""

    def __init__(self, directory: Path, **settings: object) -> None:
        self.directory = directory
        self.catalog_dir = Path(str(settings.pop("catalog_dir", directory / "catalog")))
        self.data_path = settings.pop("data_path", str(directory / "data"))
        (directory / "data").mkdir(exist_ok=True)
        shared = {"lease_seconds": 2, "backup_every": 0, **settings}
        self.catalogs = [
            Replica("catalog", name, directory, {"catalog_dir": self.catalog_dir, **shared})
            for name in ("catalog-a", "catalog-b")
        ]
        self.line = TcpProxy(self.catalogs[0].port)
        self.query = Replica(
            "query", "query-a", directory,
            {"catalog": f"quack:127.0.0.1:{self.line.port}", "data_path": self.data_path, **shared},
        )  # fmt: skip
        self.writers = Writers(Gateway(f"quack:127.0.0.1:{self.query.port}"), directory / "home")

    @property
    def catalog(self) -> Replica:
        return self.catalogs[0]

    def start(self) -> None:
        """The first catalog and the query replica."""
        self.catalog.start()
        self.query.start()

    def close(self) -> None:
        """End whatever runs."""
        for each in (self.query, *self.catalogs):
            if each.alive:
                each.resume()
                each.kill()
        self.line.close()

    def end_clean(self) -> None:
        """Stop the replicas, and see that `azquack check` finds nothing serious in the catalog that they leave.

        Files of statements that were cut short are no damage.
        """
        self.query.stop()
        self.catalog.stop()
        settings = load({"data_path": str(self.data_path)}, env_file=None).settings
        found = checks.run(epochs.newest(self.catalog_dir), settings)
        assert [each for each in found if each.serious] == []

    def log_text(self) -> str:
        """The logs of all replicas."""
        return "\n".join(each.log_text()[-6000:] for each in (*self.catalogs, self.query))


@pytest.fixture
def lakes(tmp_path: Path) -> Iterator[Callable[..., Lake]]:
    """Makes lakes with settings of their own, not started yet."""
    made: list[Lake] = []

    def make(**settings: object) -> Lake:
        made.append(Lake(tmp_path, **settings))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def lake(lakes: Callable[..., Lake]) -> Lake:
    """A lake on this machine's disk, not started yet."""
    return lakes()


# What does the damage; it gets the number of the round.
Inject = Callable[[int], object]
# How long a disturbance lasts, in seconds; the pause includes it.
LASTS = 1.0


def for_a_while(begin: Callable[[], object], end: Callable[[], object]) -> Inject:
    """A disturbance that lasts."""

    def inject(_: int) -> None:
        begin()
        try:
            time.sleep(LASTS)
        finally:
            end()

    return inject


@pytest.fixture
def run(record_property: Callable[[str, object], None]) -> Callable[[Lake, str, int, Inject], Row]:
    """Injects a fault so many times under writers, compares after each, and keeps the row for the table."""

    def rounds(lake: Lake, fault: str, times: int, inject: Inject) -> Row:
        row = Row(fault)
        with lake.writers.writing() as ledger:
            ledger.wait_for_success()
            for number in range(times):
                began = time.monotonic()
                try:
                    inject(number)
                    row.seconds.append(ledger.longest_pause(began))
                    damage = lake.writers.compare()
                except Exception:
                    print(lake.log_text())
                    raise
                row.rounds += 1
                row.damage += damage
                assert damage == Damage(), f"{fault}, round {number}: {damage}\n{lake.log_text()}"
        row.acknowledged = len(ledger.successes)
        record_property(table.PROPERTY, asdict(row))
        return row

    return rounds
