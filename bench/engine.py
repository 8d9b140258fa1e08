"""Runs a workload over its contenders, interleaved: A B C, then B C A, and so on."""

from __future__ import annotations

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.contenders import CONTENDERS
from bench.results import Results, Row, machine, now, versions
from bench.workloads import Measure, Size, Workload

Progress = Callable[[str, int, int], None]
"""Told what is done next, how many steps are behind and how many there are."""


def run(
    kind: type[Workload],
    contenders: Sequence[str],
    rounds: int,
    size: Size,
    files: Path,
    results: Results,
    tell: Progress,
    command: str,
) -> None:
    """Measures one workload and puts its rows into `results`."""
    workload = kind(size, files)
    names = [each for each in contenders if each in kind.contenders]
    steps = len(names) * (rounds + 1)
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    about, began = machine(), time.monotonic()
    # Contenders must not share a directory, nor leave one behind.
    with tempfile.TemporaryDirectory(prefix="bench-") as root, ExitStack() as stack:
        measures: dict[str, Measure] = {}
        for done, name in enumerate(names):
            tell(f"{kind.name}: {name} gets ready", done, steps)
            contender = CONTENDERS[name](Path(root) / name)
            stack.callback(contender.destroy)
            contender.prepare()
            measures[name] = stack.enter_context(workload.measured(contender))
        for turn in range(rounds):
            for place in range(len(names)):
                name = names[(turn + place) % len(names)]
                tell(f"{kind.name}: {name}, round {turn + 1}", len(names) * (turn + 1) + place, steps)
                for figure, measured in measures[name]().items():
                    values[name, figure, measured.unit].append(measured.value)
        tell(f"{kind.name}: ends", steps, steps)
    rows = [Row.of(kind.name, *key, each) for key, each in values.items()]
    results.replace(kind.name, rows, _run(about, size, rounds, command, time.monotonic() - began))


def _run(about: dict[str, Any], size: Size, rounds: int, command: str, seconds: float) -> dict[str, Any]:
    return {
        "when": now(),
        "command": command,
        "scale": size.scale,
        "seconds_of_a_measure": size.seconds,
        "rounds": rounds,
        "took_seconds": round(seconds),
        "machine": about,
        "versions": versions(),
    }
