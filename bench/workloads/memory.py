"""The most memory that a replica of 1 GiB takes while TPC-H runs in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from azquack.replicas.query import memory_limit
from bench.client import open_client
from bench.contenders import AzQuack, Contender
from bench.workloads import files
from bench.workloads.rest import memory
from bench.workloads.workload import Figure, Figures, Measure, Workload

# What a node takes in a container of 1 GiB: the default of AZQUACK_MEMORY_LIMIT.
LIMIT = memory_limit(1 << 30, 1)


class Memory(Workload):
    """The 22 queries, their results written as tables, and a table loaded."""

    name = "memory"
    title = "Memory under load"
    plots = (("Peak", "peak*"),)
    about = (
        f"TPC-H at scale {{scale:g}} as in the workload tpch, warm queries, results as tables and one load, while the "
        f"query node has the memory limit that it would give itself in a container of 1 GiB ({LIMIT}). The most "
        "that all processes of the role took together (proportional set size), looked at every 100 ms."
    )
    contenders = ("azquack",)

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        assert isinstance(contender, AzQuack)
        home = files.tpch(self.files, self.size.scale)
        contender.flags = ("--memory-limit", LIMIT)
        contender.make(*files.making(home))
        yield lambda: self._measure(contender)

    def _measure(self, contender: AzQuack) -> Figures:
        contender.start()
        client = open_client(contender.address())
        peaks = {"catalog": 0.0, "query": 0.0}
        done = threading.Event()

        def watch() -> None:
            processes = contender.processes()
            while not done.wait(0.1):
                for role in peaks:
                    parts = (memory(each) for name, each in processes.items() if name.startswith(role))
                    peaks[role] = max(peaks[role], sum(parts))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            for number, sql in enumerate(files.queries(), 1):
                client.rows(f"CREATE TABLE result_{number} AS {sql}")
                client.rows(f"DROP TABLE result_{number}")
            client.load("loaded", files.tpch(self.files, self.size.scale) / "lineitem.parquet")
            client.rows("DROP TABLE loaded")
        finally:
            done.set()
            watcher.join()
            client.close()
            contender.stop()
        return {f"peak, {role} role": Figure(value, "MB") for role, value in peaks.items()}
