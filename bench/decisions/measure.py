"""Rounds through contenders, and their figures as ratios to the first one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import psutil

Figures = dict[str, float]


@dataclass(frozen=True)
class Table:
    """What was measured: contender → figure → one value for each round."""

    title: str
    found: Mapping[str, Mapping[str, Sequence[float]]]

    def text(self) -> str:
        """As Markdown; every figure but those that end with `!` as a ratio to the first contender's of the round."""
        names = list(self.found)
        figures = list(self.found[names[0]])
        lines = [
            f"### {self.title}",
            "",
            f"| contender | {' | '.join(each.rstrip('!') for each in figures)} |",
        ]
        lines.append("|---" * (len(figures) + 1) + "|")
        for name in names:
            cells = [self._cell(name, names[0], each) for each in figures]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def _cell(self, name: str, first: str, figure: str) -> str:
        values = self.found[name].get(figure, [])
        if not values:
            return "not measured"
        if figure.endswith("!"):
            return f"{median(values):,.1f}"
        if name == first:
            return "1"
        ratios = [
            each / max(base, 1e-9) for each, base in zip(values, self.found[first][figure], strict=True)
        ]
        return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def rounds(title: str, contenders: Mapping[str, Callable[[], Figures]], count: int) -> Table:
    """`count` rounds through `contenders`; the first is what the others are compared with."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in contenders}
    names = list(contenders)
    for number in range(count):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            for figure, value in contenders[name]().items():
                found[name].setdefault(figure, []).append(value)
    return Table(title, found)


def cpu(pid: int) -> float:
    """Seconds of CPU that process `pid` and its children have had."""
    return sum(sum(each.cpu_times()[:2]) for each in family(pid))


def memory(pid: int) -> int:
    """Bytes of memory that process `pid` and its children hold."""
    return sum(each.memory_info().rss for each in family(pid))


def family(pid: int) -> list[psutil.Process]:
    """Process `pid` and its children."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
