"""From nothing to the first row: ATTACH, the start of each role, and a catalog that died."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from bench.client import QuackClient, attach, database, open_client, run
from bench.contenders import AzQuack, Contender, Stock
from bench.workloads.transfer import timed
from bench.workloads.workload import Figure, Figures, Measure, Workload, check

ATTEMPTS = 10


class Starts(Workload):
    """One client."""

    name = "starts"
    title = "Starts"
    plots = (("ATTACH", "ATTACH*"), ("Start", "*[!w]*"))
    about = (
        "ATTACH: the secret and the ATTACH of a stock DuckDB whose extensions are loaded, median of 10; to first row: "
        "and a SELECT of one row. Start: from the command until the role says that it serves. Catalog killed: from "
        "`kill -9` of the catalog's DuckDB until the next commit is acknowledged, its replica's supervisor "
        "starting it anew; stock parts need their query node started anew as well and are not measured."
    )
    contenders = ("stock", "azquack", "flight")

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        contender.make("CREATE TABLE one AS SELECT 42 AS i", "CREATE TABLE kept (i BIGINT)")
        yield lambda: self._measure(contender)

    def _measure(self, contender: Contender) -> Figures:
        figures: dict[str, Figure] = {}
        try:
            if isinstance(contender, AzQuack | Stock):
                figures["start, catalog"] = Figure(timed(contender.start_catalog), "s")
                begin = time.perf_counter()
                contender.start_query(contender.catalog_port)
                figures["start, query"] = Figure(time.perf_counter() - begin, "s")
                figures.update(_attach(contender))
                if isinstance(contender, AzQuack):
                    figures.update(_killed(contender))
                return figures
            return {"start, query": Figure(timed(contender.start), "s")}
        finally:
            contender.stop()


def _attach(contender: Contender) -> Figures:
    times, rows = [], []
    for _ in range(ATTEMPTS):
        with database(contender.home, threads=1) as connection:
            run(connection, ("LOAD httpfs", "LOAD quack"))
            began = time.perf_counter()
            run(connection, attach(contender.address()))
            times.append(time.perf_counter() - began)
            check("the first row", QuackClient(connection).rows("SELECT i FROM one"), [(42,)])
            rows.append(time.perf_counter() - began)
    middle = ATTEMPTS // 2
    return {
        "ATTACH": Figure(sorted(times)[middle] * 1000, "ms"),
        "ATTACH to first row": Figure(sorted(rows)[middle] * 1000, "ms"),
    }


def _killed(contender: AzQuack) -> Figures:
    client = open_client(contender.address())
    client.rows("INSERT INTO kept VALUES (1)")
    before = int(client.rows("SELECT count(*) FROM kept")[0][0])
    contender.processes()["catalog: node"].kill()
    began = time.perf_counter()
    client.rows("INSERT INTO kept VALUES (2)")
    seconds = time.perf_counter() - began
    check("the rows after the catalog died", client.rows("SELECT count(*) FROM kept")[0][0], before + 1)
    client.close()
    return {"catalog killed to next commit": Figure(seconds, "s")}
