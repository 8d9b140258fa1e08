"""The 22 queries of TPC-H, cold and warm, and as a pipeline that writes what they find."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.client import Client, open_client
from bench.contenders import Contender
from bench.workloads import files
from bench.workloads.transfer import timed
from bench.workloads.workload import Figure, Figures, Measure, Workload, WrongAnswerError


class Tpch(Workload):
    """One client."""

    name = "tpch"
    title = "TPC-H"
    plots = (("22 queries and the pipeline", "[2p]*"), ("Each query, warm", "query *"))
    about = (
        "One client, scale {scale:g}. Cold: the 22 queries by a contender that was just started (the operating "
        "system still has the files in memory); warm: once more. Pipeline: the table orders is loaded from a Parquet "
        "file of the client, the 22 queries run, each of their results becomes a table. The answers are those of "
        "the tpch extension, where it has them for the scale, and else those of the first contender."
    )

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        self._home = files.tpch(self.files, self.size.scale)
        self._queries = files.queries()
        self._answers: list[list[list[str]]] = files.answers(self.size.scale)
        contender.make(*files.making(self._home))
        yield lambda: self._measure(contender)

    def _measure(self, contender: Contender) -> Figures:
        contender.start()
        client = open_client(contender.address())
        try:
            figures: dict[str, Figure] = {}
            cold = [timed(lambda sql=sql: client.rows(sql)) for sql in self._queries]  # type: ignore[misc]
            figures["22 queries, cold"] = Figure(sum(cold), "s")
            warm = [self._checked(client, number) for number in range(len(self._queries))]
            figures["22 queries, warm"] = Figure(sum(warm), "s")
            for number, seconds in enumerate(warm, 1):
                figures[f"query {number}"] = Figure(seconds, "s")
            figures["pipeline"] = Figure(timed(lambda: self._pipeline(client)), "s")
            for name in ("loaded", *(f"result_{number}" for number in range(1, 23))):
                client.rows(f"DROP TABLE {name}")
            return figures
        finally:
            client.close()
            contender.stop()

    def _pipeline(self, client: Client) -> None:
        client.load("loaded", self._home / "orders.parquet")
        for number, sql in enumerate(self._queries, 1):
            client.rows(f"CREATE TABLE result_{number} AS {sql}")

    def _checked(self, client: Client, number: int) -> float:
        """Seconds of one query, whose answer is right."""
        found: list[tuple[object, ...]] = []
        seconds = timed(lambda: found.extend(client.rows(self._queries[number])))
        if len(self._answers) <= number:
            self._answers.append([[files.text(cell) for cell in row] for row in found])
        elif not files.same(found, self._answers[number]):
            raise WrongAnswerError(f"query {number + 1} has another answer: {found[:1]}")
        return seconds
