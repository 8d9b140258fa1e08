"""Bars of a workload's figures, one SVG each."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.contenders import CONTENDERS
from bench.results import Results, Row
from bench.workloads import WORKLOADS

COLOURS = {
    "limit": "#8c8c8c",
    "stock": "#e0a030",
    "azquack": "#1f6fb4",
    "postgres": "#5f9e6e",
    "flight": "#b55d60",
}
OTHERS = ("#1f6fb4", "#e0a030")
# The same figures give the same bytes.
STYLE: dict[Any, Any] = {"svg.hashsalt": "azquack", "svg.fonttype": "none", "font.size": 9}


def plot(workload: str, results: Results, path: Path) -> bool:
    """Draws the plots that `workload` names into `path`; False when it names none or has no figures."""
    wanted = [
        (title, [row for row in results.rows if row.workload == workload and fnmatch(row.figure, pattern)])
        for title, pattern in WORKLOADS[workload].plots
    ]
    drawn = [(title, rows) for title, rows in wanted if rows]
    if not drawn:
        return False
    with mpl.rc_context(STYLE):
        width = max(7.0, 0.35 * max(len(_figures(rows)) for _, rows in drawn) + 3)
        figure = Figure(figsize=(width, 2.6 * len(drawn)), layout="constrained")
        for axes, (title, rows) in zip(figure.subplots(len(drawn), squeeze=False)[:, 0], drawn, strict=True):
            _bars(axes, title, rows)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path, format="svg", metadata={"Date": None})
    return True


def _figures(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.figure for row in rows))


def _bars(axes: mpl.axes.Axes, title: str, rows: Sequence[Row]) -> None:
    figures = _figures(rows)
    contenders = [name for name in CONTENDERS if any(row.contender == name for row in rows)]
    width = 0.8 / len(contenders)
    for place, contender in enumerate(contenders):
        mine = [row for row in rows if row.contender == contender]
        at = [figures.index(row.figure) + (place - (len(contenders) - 1) / 2) * width for row in mine]
        spread = [[row.median - row.min for row in mine], [row.max - row.median for row in mine]]
        axes.bar(
            at, [row.median for row in mine], width, label=contender, color=COLOURS[contender],
            yerr=spread, error_kw={"elinewidth": 0.8},
        )  # fmt: skip
    names = [name.removeprefix("query ") for name in figures]
    axes.set_xticks(range(len(figures)), names, rotation=0 if len(figures) < 6 or len(names[-1]) < 4 else 20)
    axes.set_title(f"{title} ({rows[0].unit})", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    if len(contenders) > 1:
        axes.legend(frameon=False, ncols=len(contenders), fontsize=8)
