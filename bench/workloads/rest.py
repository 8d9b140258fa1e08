"""What it costs to be there: memory and CPU of each process while nobody asks."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

from bench.client import open_client
from bench.contenders import Contender
from bench.workloads.workload import Figure, Figures, Measure, Workload


class Rest(Workload):
    """One client that asked once and stays."""

    name = "rest"
    title = "At rest"
    plots = (("Memory at rest", "memory, * role"),)
    about = (
        "One client has attached and asked once; ten seconds later, over ten seconds. Memory is the proportional set "
        "size: pages that processes share count once in the sum."
    )
    contenders = ("stock", "azquack", "postgres", "flight")

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        contender.make("CREATE TABLE one AS SELECT 42 AS i")
        contender.start()
        client = open_client(contender.address())
        client.rows("FROM one")
        try:
            yield lambda: self._measure(contender)
        finally:
            client.close()

    def _measure(self, contender: Contender) -> Figures:
        seconds = 1.0 if self.size.quick else 10.0
        time.sleep(seconds)
        processes = contender.processes()
        before = {name: _cpu(each) for name, each in processes.items()}
        began = time.perf_counter()
        time.sleep(seconds)
        took = time.perf_counter() - began
        figures: dict[str, Figure] = {}
        for name, each in processes.items():
            figures[f"memory, {name}"] = Figure(memory(each), "MB")
            figures[f"CPU, {name}"] = Figure((_cpu(each) - before[name]) / took, "cores")
        for role in dict.fromkeys(name.partition(":")[0] for name in processes if ":" in name):
            for kind, unit in (("memory", "MB"), ("CPU", "cores")):
                parts = [each.value for name, each in figures.items() if name.startswith(f"{kind}, {role}:")]
                figures[f"{kind}, {role} role"] = Figure(sum(parts), unit)
        return figures


def memory(process: psutil.Process) -> float:
    """The proportional set size of `process` in MB; 0 when it is gone."""
    try:
        return float(process.memory_full_info().pss) / 1e6
    except psutil.NoSuchProcess:
        return 0.0


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
