"""The lineitem table of TPC-H out of the lake, all columns and two of them, and into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from azquack.sql import literal
from bench.client import Client, open_client
from bench.contenders import Contender
from bench.workloads import files
from bench.workloads.workload import Figure, Figures, Measure, Workload, check

NARROW = "SELECT l_orderkey, l_extendedprice FROM lineitem"


class Transfer(Workload):
    """One client; the result is an Arrow table in its memory, the source a Parquet file on its disk."""

    name = "transfer"
    title = "Fetch and load"
    plots = (("Fetch and load", "*"),)
    about = (
        "One client fetches the lineitem table of TPC-H at scale {scale:g} as an Arrow table: all 16 columns, then 2 "
        "of them; then it loads the same rows from a local Parquet file into a new table, by way of "
        "`docs/loading.md` for those that speak Quack. Rows and a sum are compared."
    )

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        made = files.tpch(self.files, self.size.scale)
        lineitem = made / "lineitem.parquet"
        contender.make(f"CREATE TABLE lineitem AS FROM {literal(str(lineitem))}")
        contender.start()
        client = open_client(contender.address())
        expected = client.rows("SELECT count(*), sum(l_orderkey)::BIGINT FROM lineitem")
        try:
            yield lambda: self._measure(client, lineitem, expected)
        finally:
            client.close()

    def _measure(self, client: Client, lineitem: Path, expected: list[tuple[object, ...]]) -> Figures:
        figures = {}
        rows = expected[0][0]
        for name, sql in (("fetch, 16 columns", "FROM lineitem"), ("fetch, 2 columns", NARROW)):
            began = time.perf_counter()
            table = client.arrow(sql)
            figures[name] = Figure(time.perf_counter() - began, "s")
            check(name, table.num_rows, rows)
            del table
        figures["load"] = Figure(timed(lambda: client.load("loaded", lineitem)), "s")
        check("load", client.rows("SELECT count(*), sum(l_orderkey)::BIGINT FROM loaded"), expected)
        client.rows("DROP TABLE loaded")
        return figures


def timed(work: Callable[[], object]) -> float:
    """How many seconds `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
