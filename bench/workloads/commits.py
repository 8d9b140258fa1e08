"""Commits per second: one row each, batches of 100, updates of different rows and of the same one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.contenders import Contender
from bench.workers import Sample, Workers
from bench.workloads.workload import Figure, Figures, Measure, Workload, WrongAnswerError

CLIENTS = (1, 4, 16)
ROWS = 64


@dataclass(frozen=True)
class Shape:
    """One kind of commit: what each client runs over and over, and how many clients there are."""

    name: str
    texts: tuple[tuple[str, ...], ...]
    clients: tuple[int, ...]
    count: str
    """What tells how often it was applied."""


SHAPES = (
    Shape("1 row", (("INSERT INTO one VALUES ({n}, 'row {n}')",),), CLIENTS, "SELECT count(*) FROM one"),
    Shape(
        "100 rows",
        (("INSERT INTO many SELECT {n}, 'row ' || range FROM range(100)",),),
        (1, 16),
        "SELECT count(DISTINCT i) FROM many WHERE i IN (SELECT i FROM many GROUP BY i HAVING count(*) = 100)",
    ),
    Shape(
        "update of different rows",
        tuple((f"UPDATE apart SET n = n + 1 WHERE i = {row}",) for row in range(4)),
        (4,),
        "SELECT sum(n)::BIGINT FROM apart",
    ),
    Shape(
        "update of the same row", (("UPDATE same SET n = n + 1 WHERE i = 0",),), (4,), "SELECT n FROM same"
    ),
)
TABLES = (
    "CREATE TABLE one (i BIGINT, s VARCHAR)",
    "CREATE TABLE many (i BIGINT, s VARCHAR)",
    f"CREATE TABLE apart AS SELECT range AS i, 0 AS n FROM range({ROWS})",
    "CREATE TABLE same AS SELECT 0 AS i, 0 AS n",
)


class Commits(Workload):
    """Writers, each waiting for its own answer."""

    name = "commits"
    title = "Commits"
    plots = (
        ("Commits of one row", "1 row, * client*[s0-9t]"),
        ("Batches of 100 rows", "100 rows, *[0-9] client*[st]"),
    )
    about = (
        "Each client runs one statement after the other, each of them a commit of its own, for {seconds} s a round. "
        "After each measure it is counted how many were applied. Refused commits are counted apart; DuckLake "
        "refuses one of two that change the same file at once."
    )

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        contender.make(*TABLES)
        contender.start()
        with ExitStack() as stack:
            workers = {}
            if contender.address().shared:
                # One process holds the file, so one pool of workers serves all.
                most = stack.enter_context(Workers(contender.address(), max(CLIENTS)))
                workers = dict.fromkeys(CLIENTS, most)
            else:
                workers = {many: stack.enter_context(Workers(contender.address(), many)) for many in CLIENTS}
            yield lambda: self._measure(workers)

    def _measure(self, pools: dict[int, Workers]) -> Figures:
        figures: dict[str, Figure] = {}
        for shape in SHAPES:
            for clients in shape.clients:
                workers = pools[clients]
                before = int(workers.rows(shape.count)[0][0])
                sample = workers.measure(*shape.texts, seconds=self.size.seconds, clients=clients)
                applied = int(workers.rows(shape.count)[0][0]) - before
                figures |= _figures(f"{shape.name}, {clients} client{'s' * (clients > 1)}", sample, applied)
        return figures


def _figures(name: str, sample: Sample, applied: int) -> Figures:
    acknowledged = len(sample.times)
    if not acknowledged:
        raise WrongAnswerError(f"{name}: no commit succeeded: {sample.failure}")
    return {
        name: Figure(min(applied, acknowledged) / sample.seconds, "/s"),
        f"{name}, p50": Figure(sample.quantile(0.5) * 1000, "ms"),
        f"{name}, refused": Figure(sample.failures, "count"),
        f"{name}, acknowledged but not applied once": Figure(abs(acknowledged - applied), "count"),
    }
