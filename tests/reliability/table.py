"""The table of the faults: printed at the end of a run that injected some.

`AZQUACK_TEST_RELIABILITY` names a file that it is written to as well; that is how docs/reliability.md gets it.
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
    "next success, median s", "worst s",
)  # fmt: skip


def markdown(rows: Iterable[Row]) -> str:
    """The table as Markdown."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---" + "|--:" * (len(HEAD) - 1) + "|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows of all tests that injected faults."""
    rows = [
        Row(**value | {"damage": Damage(**value["damage"])})
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if rows:
        text = markdown(sorted(rows, key=lambda row: row.fault))
        terminalreporter.section("reliability")
        terminalreporter.write_line(text)
        if where := os.environ.get("AZQUACK_TEST_RELIABILITY"):
            Path(where).write_text(text)
