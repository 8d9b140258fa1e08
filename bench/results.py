"""What was measured, as `docs/benchmarks.json` keeps it."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from azquack.lake import extensions


@dataclass(frozen=True)
class Row:
    """One figure of one contender in one workload, over `rounds` rounds."""

    workload: str
    contender: str
    figure: str
    unit: str
    median: float
    min: float
    max: float
    rounds: int

    @staticmethod
    def of(workload: str, contender: str, figure: str, unit: str, values: Sequence[float]) -> Row:
        """The row of `values`, one per round."""
        middle, least, most = (
            float(f"{each:.5g}") for each in (statistics.median(values), min(values), max(values))
        )
        return Row(workload, contender, figure, unit, middle, least, most, len(values))


@dataclass
class Results:
    """Rows, the runs that they came from (by workload), and what could not be measured."""

    rows: list[Row] = field(default_factory=list)
    runs: dict[str, dict[str, Any]] = field(default_factory=dict)

    @staticmethod
    def load(path: Path) -> Results:
        """What `path` holds; nothing when it is not there."""
        if not path.exists():
            return Results()
        content = json.loads(path.read_text())
        return Results([Row(**each) for each in content["rows"]], content["runs"])

    def replace(self, workload: str, rows: Sequence[Row], run: dict[str, Any]) -> None:
        """Puts `rows` in the place of all rows of `workload`."""
        self.rows = [each for each in self.rows if each.workload != workload] + list(rows)
        self.runs[workload] = run

    def save(self, path: Path) -> None:
        """Writes them; a reader sees the old file or the new one."""
        draft = path.with_suffix(".draft")
        content = {"runs": self.runs, "rows": [asdict(each) for each in self.rows]}
        draft.write_text(json.dumps(content, indent=1) + "\n")
        draft.replace(path)

    def get(self, workload: str, contender: str, figure: str) -> Row | None:
        """One row, if it was measured."""
        for each in self.rows:
            if (each.workload, each.contender, each.figure) == (workload, contender, figure):
                return each
        return None


def machine() -> dict[str, Any]:
    """The machine as far as it bears on the figures."""
    cpus = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    model = next((line.partition(":")[2].strip() for line in cpus if line.startswith("model name")), "")
    return {
        "cores": os.cpu_count(),
        "cpu": model or platform.machine(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "kernel": platform.release(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """What took part."""
    others = ("azquack", "pyarrow", "uvloop")
    return (
        extensions.versions()
        | {"python": platform.python_version()}
        | {each: version(each) for each in others}
    )


def now() -> str:
    """The time, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
