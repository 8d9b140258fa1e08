"""The numbers: `python -m bench`, or `make bench`. Writes docs/benchmarks.json and docs/benchmarks.md."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench import engine, report
from bench.contenders import CONTENDERS
from bench.results import Results
from bench.workloads import WORKLOADS, Size, WrongAnswerError

DOCS = Path(__file__).parents[1] / "docs"
QUICK = Size(scale=0.01, seconds=0.2, quick=True)


def main(
    workload: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(WORKLOADS)}; repeatable.")
    ] = None,
    contender: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(CONTENDERS)}; repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds; each goes through all contenders.")] = 5,
    scale: Annotated[float, typer.Option(help="Scale factor of TPC-H; 1 has 6 million lineitem rows.")] = 1.0,
    seconds: Annotated[float, typer.Option(help="How long each measure of many clients lasts.")] = 1.5,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes: whether it works, no figures.")] = False,
    json: Annotated[
        Path,
        typer.Option(
            help="Where the figures go, a page of the same name beside it; a run replaces those of its workloads."
        ),
    ] = (DOCS / "benchmarks.json"),
) -> None:
    """Measures workloads side by side and writes the figures."""
    size = QUICK if quick else Size(scale, seconds)
    results = Results.load(json)
    console = Console(stderr=True)
    command = "python -m bench " + " ".join(sys.argv[1:])
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    chosen = [named(each, WORKLOADS, "workload") for each in workload or WORKLOADS]
    names = [named(each, CONTENDERS, "contender") for each in contender or CONTENDERS]
    with (
        tempfile.TemporaryDirectory(prefix="bench-files-") as files,
        Progress(*columns, console=console) as bar,
    ):
        for name in chosen:
            task = bar.add_task(name, total=None)
            try:
                engine.run(
                    WORKLOADS[name], names, rounds, size, Path(files), results,
                    lambda what, done, steps, task=task: bar.update(  # type: ignore[misc]
                        task, description=what, completed=done, total=steps
                    ),
                    command.strip(),
                )  # fmt: skip
            except WrongAnswerError as error:
                console.print(f"{name}: {error}", style="red")
                raise typer.Exit(1) from None
            results.save(json)
            report.write(results, json.with_suffix(".md"))
            show(name, results)


def named(name: str, known: dict[str, type], what: str) -> str:
    """`name`, if there is such a thing."""
    if name not in known:
        raise typer.BadParameter(f"{name!r} is no {what}: {', '.join(known)}")
    return name


def show(workload: str, results: Results) -> None:
    """Prints the medians of one workload."""
    rows = [each for each in results.rows if each.workload == workload]
    contenders = [each for each in CONTENDERS if any(row.contender == each for row in rows)]
    table = Table(title=workload, title_justify="left", box=None)
    table.add_column("figure")
    table.add_column("unit")
    for each in contenders:
        table.add_column(each, justify="right")
    for figure, unit in dict.fromkeys((row.figure, row.unit) for row in rows):
        found = (results.get(workload, each, figure) for each in contenders)
        table.add_row(figure, unit, *(f"{row.median:g}" if row else "" for row in found))
    Console().print(table)


if __name__ == "__main__":
    # As Ctrl-C does, so that what was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    typer.run(main)
