"""A catalog that is far away: what each operation takes and how often it asks."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from bench.client import Client, open_client
from bench.contenders import AzQuack, Contender, Postgres, Stock
from bench.delay import DelayProxy
from bench.workloads.transfer import timed
from bench.workloads.workload import Figure, Figures, Measure, Workload

DELAYS = (0, 1, 10)
REPEATS = 5
OPERATIONS = (
    ("SELECT", "SELECT count(*) FROM t"),
    ("INSERT", "INSERT INTO t VALUES ({n})"),
    ("UPDATE", "UPDATE t SET i = i + 1 WHERE i = {n}"),
    ("DELETE", "DELETE FROM t WHERE i = {n}"),
    ("CREATE TABLE", "CREATE TABLE made_{n} (i BIGINT)"),
    ("CREATE TABLE AS", "CREATE TABLE filled_{n} AS SELECT range AS i FROM range(1000)"),
    ("DROP TABLE", "DROP TABLE made_{n}"),
)


class Links(Workload):
    """One client."""

    name = "links"
    title = "A catalog far away"
    plots = (("Round trips to the catalog", "*, round trips"), ("10 ms each way", "*, 10 ms each way"))
    about = (
        "A proxy between the DuckLake that runs the statement (the query node; with PostgreSQL the client itself) and "
        "its catalog delays each way by 0, 1 and 10 ms. Each operation 5 times a round, the median; round trips are "
        "counted at the proxy. The storage is a local disk throughout."
    )
    contenders = ("stock", "azquack", "postgres")

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        contender.make("CREATE TABLE t (i BIGINT)")
        if isinstance(contender, Postgres):
            proxy = DelayProxy(contender.catalog_port)
            client = open_client(contender.address(proxy.port))
        else:
            assert isinstance(contender, AzQuack | Stock)
            contender.start_catalog()
            proxy = DelayProxy(contender.catalog_port)
            contender.start_query(proxy.port)
            client = open_client(contender.address())
        numbers = iter(range(1_000_000))
        try:
            yield lambda: measured_at(DELAYS, OPERATIONS, client, proxy, numbers)
        finally:
            client.close()
            contender.stop()
            proxy.close()


def measured_at(
    delays: Sequence[int],
    operations: Sequence[tuple[str, str]],
    client: Client,
    proxy: DelayProxy,
    numbers: Iterator[int],
) -> Figures:
    """The median time of each operation at each delay (milliseconds each way), and its round trips.

    Of `numbers`, whatever stands for `{n}` in the operations is taken, so that each may make things of its own.
    """
    figures = {}
    for delay in delays:
        proxy.seconds = delay / 1000
        chosen = [next(numbers) for _ in range(REPEATS)]
        for name, sql in operations:
            times, trips = [], []
            for n in chosen:
                before = proxy.trips
                times.append(timed(lambda sql=sql, n=n: client.rows(sql.replace("{n}", str(n)))))  # type: ignore[misc]
                trips.append(proxy.trips - before)
            figures[f"{name}, {delay} ms each way"] = Figure(statistics.median(times) * 1000, "ms")
            if not delay:
                # Probes of the node's health travel the same way now and then.
                figures[f"{name}, round trips"] = Figure(statistics.median_low(trips), "count")
    proxy.seconds = 0
    return figures
