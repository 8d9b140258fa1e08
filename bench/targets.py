"""What the project wants to reach, as ratios within one run, and whether it did."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bench.results import Results
from bench.workloads.growth import LAKES, OPERATIONS

US = "azquack"


@dataclass(frozen=True)
class Verdict:
    """One target: `value` against `goal`; `least` when more is better. None: not measured."""

    target: str
    goal: float
    value: float | None
    unit: str = ""
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is on the right side of the goal."""
        return self.value is not None and (self.value >= self.goal if self.least else self.value <= self.goal)

    def row(self) -> str:
        """As a row of a Markdown table."""
        sign = "≥" if self.least else "≤"
        if self.value is None:
            return f"| {self.target} | {sign} {self.goal:g}{self.unit} | | not measured |"
        word = "met" if self.met else "**missed**"
        return f"| {self.target} | {sign} {self.goal:g}{self.unit} | {self.value:.3g}{self.unit} | {word} |"


def verdicts(results: Results) -> list[Verdict]:
    """Every target of the project."""
    return [Verdict(*each) for each in _ratios(results)] + [*_absolute(results), *_growth(results)]


def ratio(results: Results, workload: str, figure: str, other: str) -> float | None:
    """AzQuack's median in parts of another contender's."""
    ours, theirs = results.get(workload, US, figure), results.get(workload, other, figure)
    return ours.median / theirs.median if ours and theirs and theirs.median else None


def _worst(values: Sequence[float | None]) -> float | None:
    known = [each for each in values if each is not None]
    return max(known) if known else None


def _ratios(results: Results) -> Iterator[tuple[str, float, float | None, str, bool]]:
    def of(workload: str, figure: str, other: str) -> float | None:
        return ratio(results, workload, figure, other)

    queries = _worst([of("tpch", f"query {number}", "limit") for number in range(1, 23)])
    yield "TPC-H, 22 queries warm, of the limit", 1.05, of("tpch", "22 queries, warm", "limit"), "", False
    yield "TPC-H, the worst query, of the limit", 1.2, queries, "", False
    for figure in ("fetch, 16 columns", "fetch, 2 columns", "load"):
        yield f"{figure}, time of stock", 1.25, of("transfer", figure, "stock"), "", False
        yield f"{figure}, time of flight", 1.0, of("transfer", figure, "flight"), "", False
    yield "Commits, 1 client, rate of postgres", 1.0, of("commits", "1 row, 1 client", "postgres"), "", True
    yield (
        "Commits, 16 clients, rate of postgres",
        3.0,
        of("commits", "1 row, 16 clients", "postgres"),
        "",
        True,
    )
    yield "Small query p50, 1 client, of stock", 1.15, of("queries", "1 client, p50", "stock"), "", False
    yield "Small queries, 64 clients, rate of stock", 1.0, of("queries", "64 clients", "stock"), "", True


def _absolute(results: Results) -> Iterator[Verdict]:
    for target, workload, figure, goal, unit in (
        ("ATTACH", "starts", "ATTACH", 60, " ms"),
        ("Query role ready after the catalog", "starts", "start, query", 2, " s"),
        ("Catalog killed to the next commit", "starts", "catalog killed to next commit", 2, " s"),
        ("Catalog role at rest, memory", "rest", "memory, catalog role", 150, " MB"),
        ("Query role at rest, memory", "rest", "memory, query role", 250, " MB"),
        ("Catalog role at rest, cores", "rest", "CPU, catalog role", 0.01, ""),
        ("Query role at rest, cores", "rest", "CPU, query role", 0.01, ""),
        ("Query role, peak in 1 GiB under TPC-H", "memory", "peak, query role", 1074, " MB"),
    ):
        row = results.get(workload, US, figure)
        yield Verdict(target, goal, row.median if row else None, unit)


def _growth(results: Results) -> Iterator[Verdict]:
    """How many times slower the worst operation is than in the smallest lake, counted as the target counts."""
    smallest = LAKES[0].name
    for lake in LAKES[1:]:
        worst: tuple[float, str] | None = None
        for operation in ("first SELECT", *(name for name, _ in OPERATIONS)):
            slower = {who: _slower(results, who, operation, lake.name, smallest) for who in (US, "limit")}
            ours, limit = slower[US], slower["limit"]
            if ours is not None:
                # What the limit suffers as well is DuckLake's own.
                counted = (1.0, "") if limit is not None and limit >= ours else (ours, f" ({operation})")
                worst = max(worst or counted, counted)
        name = f"Growth to {lake.name}, worst operation" + (worst[1] if worst else "")
        yield Verdict(name, 3, worst[0] if worst else None, " times slower")


def _slower(results: Results, who: str, operation: str, lake: str, smallest: str) -> float | None:
    grown = results.get("growth", who, f"{operation}, {lake}")
    base = results.get("growth", who, f"{operation}, {smallest}")
    return grown.median / base.median if grown and base and base.median else None
