"""Two query nodes against one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.contenders import AzQuack, Contender
from bench.workers import Workers
from bench.workloads.workload import Figure, Figures, Measure, Workload, WrongAnswerError

CLIENTS = 16
ROWS = 2_000_000
LIGHT = "SELECT count(*), sum(v) FROM facts WHERE k = {n} % 1000"
HEAVY = "SELECT k % 97 AS g, count(DISTINCT v), avg(v) FROM facts GROUP BY g ORDER BY g"


class Nodes(Workload):
    """16 clients."""

    name = "nodes"
    title = "Two nodes"
    plots = (("Two nodes", "*[s0-9e]"),)
    about = (
        "One query replica with `AZQUACK_QUERY_NODES` 1 and 2, the same 16 clients: selective aggregates, and "
        "aggregates over all of 2 million rows. On two cores a second node has no core of its own; what it can show "
        "here is that it costs little and that no node stands in the way of the other."
    )
    contenders = ("azquack",)

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        rows = ROWS // 100 if self.size.quick else ROWS
        contender.make(f"CREATE TABLE facts AS SELECT range % 1000 AS k, range AS v FROM range({rows})")
        assert isinstance(contender, AzQuack)
        yield lambda: self._measure(contender)

    def _measure(self, contender: AzQuack) -> Figures:
        figures = {}
        for nodes in (1, 2):
            contender.flags = ("--query-nodes", str(nodes))
            contender.start()
            try:
                with Workers(contender.address(), CLIENTS) as workers:
                    for name, sql in (("selective", LIGHT), ("all rows", HEAVY)):
                        sample = workers.measure((sql,), seconds=2 * self.size.seconds)
                        if sample.failures:
                            raise WrongAnswerError(f"{nodes} nodes: {sample.failure}")
                        label = f"{name}, {nodes} node{'s' * (nodes > 1)}"
                        figures[label] = Figure(sample.rate, "/s")
                        figures[f"{label}, p50"] = Figure(sample.quantile(0.5) * 1000, "ms")
            finally:
                contender.stop()
        return figures
