"""The table of the faults: printed at the end of a run that injected some.

`AZQUACK_TEST_RELIABILITY` names a file that it is written to as well, after each test; that is how
docs/reliability.md gets it.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.reliability.ledger import Damage


@dataclass
class Row:
    """One fault: how often it was injected, what it damaged, how long nothing was acknowledged."""

    fault: str
    rounds: int = 0
    acknowledged: int = 0
    damage: Damage = field(default_factory=Damage)
    seconds: list[float] = field(default_factory=list)

    def cells(self) -> list[str]:
        """As text, in the order of `HEAD`."""
        times = (
            [f"{statistics.median(self.seconds):.1f}", f"{max(self.seconds):.1f}"]
            if self.seconds
            else ["", ""]
        )
        damage = [str(each) for each in (self.damage.lost, self.damage.doubled, self.damage.torn)]
        return [self.fault, str(self.rounds), f"{self.acknowledged:,}", *damage, *times]


# What a test says of the faults that it injected; it reaches the first process of a parallel run by itself.
PROPERTY = "reliability"
HEAD = (
    "fault", "rounds", "acknowledged", "lost", "doubled", "torn",
    "pause, median s", "worst s",
)  # fmt: skip


def markdown(rows: Iterable[Row]) -> str:
    """The table as Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" + "|--:" * (len(HEAD) - 1) + "|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


class Faults:
    """Gathers the rows of all tests that injected faults; `file` has those so far, for a run that is broken off."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._rows: dict[str, Row] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in the row of a test that has run."""
        found = dict(report.user_properties).get(PROPERTY) if report.when == "call" else None
        if isinstance(found, dict):
            row = Row(**found | {"damage": Damage(**found["damage"])})
            self._rows[row.fault] = row
            if self._file:
                self._file.write_text(self._table())

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print the table."""
        if self._rows:
            terminalreporter.section("reliability")
            terminalreporter.write_line(self._table())

    def _table(self) -> str:
        return markdown(sorted(self._rows.values(), key=lambda row: row.fault))


def pytest_configure(config: pytest.Config) -> None:
    """Gather in the process that gets the reports of all others."""
    if not hasattr(config, "workerinput"):
        where = os.environ.get("AZQUACK_TEST_RELIABILITY")
        config.pluginmanager.register(Faults(Path(where) if where else None))
