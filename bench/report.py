"""`docs/benchmarks.md`, written from `docs/benchmarks.json` and the findings beside this file."""

from __future__ import annotations

from pathlib import Path

from bench.contenders import CONTENDERS
from bench.plots import plot
from bench.results import Results, Row
from bench.targets import verdicts
from bench.workloads import WORKLOADS

FINDINGS = Path(__file__).with_name("findings.md")
HEAD = """# Benchmarks

Written by `make bench` from `docs/benchmarks.json`: do not edit. All contenders of a workload run in one go on one
machine, clients and servers together, a round through all of them before the next begins, in turn first. Medians,
and in brackets the least and the most of the rounds. Answers are checked: a wrong one ends the run.

| contender | what it is |
|---|---|
| limit | DuckDB in the client's process, the catalog in a local file: what sharing costs is measured against it |
| stock | `quack_serve` and `ducklake:quack:` from stock parts, default settings, no gateway, no link |
| azquack | a catalog and a query replica, default settings, through the public gateway with a writer's token |
| postgres | DuckLake in the client's process, the catalog in Debian's PostgreSQL, default settings, AzQuack's retries |
| flight | an Arrow Flight server (pyarrow) over DuckDB, the catalog in a local file |
"""


def write(results: Results, path: Path) -> None:
    """Writes the page to `path` and the plots beside it."""
    parts = [
        HEAD,
        _targets(results),
        *(_workload(name, results, path) for name in WORKLOADS if name in results.runs),
    ]
    if FINDINGS.exists():
        parts.append(FINDINGS.read_text().strip())
    path.write_text("\n\n".join(part.strip() for part in parts) + "\n")


def _targets(results: Results) -> str:
    rows = "\n".join(each.row() for each in verdicts(results))
    return f"## Targets\n\n| target | goal | measured | |\n|---|---|---|---|\n{rows}"


def _workload(name: str, results: Results, path: Path) -> str:
    workload, run = WORKLOADS[name], results.runs[name]
    about = workload.about.format(scale=run["scale"], seconds=run["seconds_of_a_measure"])
    machine = run["machine"]
    versions = run["versions"]
    where = (
        f"`{run['command']}`, {run['when'][:10]}, {run['took_seconds']} s, {run['rounds']} rounds. "
        f"{machine['cores']} cores of {machine['cpu']}, {machine['memory_gb']:g} GB, Linux {machine['kernel']}, "
        f"load {machine['load_before']} before; DuckDB {versions['duckdb']}, Python {versions['python']}."
    )
    picture = path.with_name("plots") / f"{name}.svg"
    image = f"\n![{workload.title}](plots/{name}.svg)\n" if plot(name, results, picture) else ""
    return f"## {workload.title}\n\n{about}\n{image}\n{_table(name, results)}\n\n{where}"


def _table(name: str, results: Results) -> str:
    rows = [row for row in results.rows if row.workload == name]
    contenders = [each for each in CONTENDERS if any(row.contender == each for row in rows)]
    lines = [
        f"| | unit | {' | '.join(contenders)} |",
        f"|---|---|{'---|' * len(contenders)}",
    ]
    for figure, unit in dict.fromkeys((row.figure, row.unit) for row in rows):
        found = [results.get(name, each, figure) for each in contenders]
        # What nobody suffered need not be read; the JSON file has it.
        if any(row and row.max for row in found):
            lines.append(f"| {figure} | {unit} | {' | '.join(_cell(row) for row in found)} |")
    return "\n".join(lines)


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    return f"{row.median:.4g} ({row.min:.4g} – {row.max:.4g})" if row.rounds > 1 else f"{row.median:.4g}"
