"""The pair that most tests share, the stock client, and the pair's log beside each failed test."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import duckdb
import pytest

from tests.cluster import Pair, RunningPair, Shell, TempPair, attached

pytest_plugins = ["tests.standins.fixtures", "tests.reliability.table"]

# A failed test shows this much of the log: what led to it, not the whole session.
LOG_LINES = 60


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A pair that serves, one for each test process; `AZQUACK_TEST_URI` names one that runs elsewhere."""
    if "AZQUACK_TEST_URI" in os.environ:
        yield RunningPair()
        return
    with TempPair(tmp_path_factory.mktemp("pair") / "lake") as temporary:
        yield temporary


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that a client's DuckDB takes its extensions from."""
    return tmp_path_factory.mktemp("client")


@pytest.fixture
def shell(pair: Pair, home: Path) -> Shell:
    """The stock `duckdb` program, attached to the pair as `r`."""
    return Shell(pair, home)


@pytest.fixture
def connection(pair: Pair, home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A stock DuckDB in Python, attached to the pair as `r`, for this test alone."""
    with attached(pair, home) as opened:
        yield opened


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the modules, and against a pair that runs elsewhere skip what is not about it.

    A module of few tests mostly starts processes, one of hundreds is quick. Those come last, so that no long module is
    left to one worker alone at the end.
    """
    sizes = Counter(item.path for item in items)
    items.sort(key=lambda item: (sizes[item.path], item.path))
    if "AZQUACK_TEST_URI" not in os.environ:
        return
    for item in items:
        if "pair" not in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip("uses no pair, or starts one within the test"))
        elif hasattr(getattr(item, "module", None), "pair"):
            item.add_marker(pytest.mark.skip("needs a pair of its own, to stop, to kill or to set up"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put the end of the log of every pair that a failed test used into its report."""
    report = yield
    if report.failed:
        for name, value in getattr(item, "funcargs", {}).items():
            if isinstance(value, TempPair):
                lines = value.log_text().splitlines()[-LOG_LINES:]
                report.sections.append((f"log of the pair {name!r}", "\n".join(lines)))
    return report
