"""Small queries of 1, 16 and 64 clients, and readers beside writers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from bench.contenders import Contender
from bench.workers import Sample, Workers
from bench.workloads.workload import Figure, Figures, Measure, Workload, WrongAnswerError, check

CLIENTS = (1, 16, 64)
ROWS = 100_000
READ = "SELECT count(*), sum(v)::BIGINT FROM small WHERE k = {n} % 1000"
WRITE = "INSERT INTO trickle VALUES ({n}, 'row {n}')"
TABLES = (
    f"CREATE TABLE small AS SELECT range % 1000 AS k, range AS v FROM range({ROWS})",
    "CREATE TABLE trickle (i BIGINT, s VARCHAR)",
)


class Queries(Workload):
    """Readers, each waiting for its own answer."""

    name = "queries"
    title = "Small queries"
    plots = (("Small queries", "*[st]"), ("Median", "* client*, p50"), ("99 of 100", "* client*, p99"))
    about = (
        "Each client runs one aggregate after the other over 100 of 100,000 rows, one Parquet file, for "
        "{seconds} s a round; then 12 of 16 clients read while 4 insert single rows."
    )

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        contender.make(*TABLES)
        contender.start()
        with ExitStack() as stack:
            most = stack.enter_context(Workers(contender.address(), max(CLIENTS)))
            # One client has a process of its own, unless one process holds the file.
            one = most if contender.address().shared else stack.enter_context(Workers(contender.address()))
            rows = ROWS // 1000
            expected = [rows, sum(7 + 1000 * number for number in range(rows))]
            check("the sum", most.rows(READ.replace("{n}", "7"))[0], expected)
            yield lambda: self._measure(one, most)

    def _measure(self, one: Workers, most: Workers) -> Figures:
        figures: dict[str, Figure] = {}
        for clients in CLIENTS:
            workers = one if clients == 1 else most
            sample = workers.measure((READ,), seconds=self.size.seconds, clients=clients)
            figures |= _figures(f"{clients} client{'s' * (clients > 1)}", sample)
        before = int(most.rows("SELECT count(*) FROM trickle")[0][0])
        mixed = ((WRITE,), (READ,), (READ,), (READ,))
        sample = most.measure(*mixed, seconds=self.size.seconds, clients=16)
        written = int(most.rows("SELECT count(*) FROM trickle")[0][0]) - before
        return (
            figures
            | _figures("12 readers and 4 writers", sample)
            | {"12 readers and 4 writers, commits": Figure(written / sample.seconds, "/s")}
        )


def _figures(name: str, sample: Sample) -> dict[str, Figure]:
    if sample.failures:
        raise WrongAnswerError(f"{name}: {sample.failures} queries failed: {sample.failure}")
    return {
        f"{name}, p50": Figure(sample.quantile(0.5) * 1000, "ms"),
        f"{name}, p99": Figure(sample.quantile(0.99) * 1000, "ms"),
        name: Figure(sample.rate, "/s"),
    }
