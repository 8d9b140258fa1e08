"""Many clients at once, in processes of their own so that the one who measures is not what is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.client import Address
from tests import cluster

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Sample:
    """What the clients did in one measure. `times` are the seconds of each success, `seconds` the whole."""

    times: list[float]
    failures: int
    failure: str
    seconds: float

    @property
    def rate(self) -> float:
        """Successes per second."""
        return len(self.times) / self.seconds

    def quantile(self, part: float) -> float:
        """Seconds within which `part` of the successes came."""
        ordered = sorted(self.times)
        return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


class Workers:
    """`clients` clients of `address`, spread over the cores. Leave it with `with`."""

    def __init__(self, address: Address, clients: int = 1) -> None:
        count = 1 if address.kind == "lake" and address.shared else min(clients, os.cpu_count() or 1)
        # A crowd of DuckDBs with all threads each would measure the threads.
        address = replace(
            address, threads=address.threads or (1 if clients > 1 and not address.shared else 0)
        )
        self._shares = [clients // count + (number < clients % count) for number in range(count)]
        self._workers = [
            subprocess.Popen(
                [sys.executable, "-m", "bench.worker"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT,
            )
            for _ in self._shares
        ]  # fmt: skip
        self._next = 0
        for worker, share in zip(self._workers, self._shares, strict=True):
            _write(worker, address.to_json())
            _write(worker, str(share))
        for worker in self._workers:
            _read(worker)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pids(self) -> list[int]:
        """The processes of the clients."""
        return [worker.pid for worker in self._workers]

    def rows(self, sql: str) -> list[list[Any]]:
        """The rows of `sql`, run by one of the clients; values that JSON does not know as text."""
        _write(self._workers[0], json.dumps({"sql": sql}))
        rows: list[list[Any]] = _read(self._workers[0])["rows"]
        return rows

    def measure(self, *texts: Sequence[str], seconds: float, most: int = 1 << 30, clients: int = 0) -> Sample:
        """Has `clients` clients (all of them by default) run for `seconds`, or until each ran `most` statements.

        Each of `texts` is one client's list, which it runs over and over; the lists go round when there are more
        clients. `{n}` stands for a number that no other statement gets.
        """
        number, left = 0, clients or sum(self._shares)
        workers = []
        for worker, most_here in zip(self._workers, self._shares, strict=True):
            share = min(most_here, left - number)
            if not share:
                break
            workers.append(worker)
            lists = [texts[(number + each) % len(texts)] for each in range(share)]
            first = [self._next + (number + each) * 1_000_000 for each in range(share)]
            until = {"seconds": seconds, "most": most}
            _write(worker, json.dumps({"texts": lists, "first": first, "until": until}))
            number += share
        self._next += number * 1_000_000
        results = [each for worker in workers for each in _read(worker)["results"]]
        return Sample(
            [time for each in results for time in each["times"]],
            sum(each["failures"] for each in results),
            next((each["failure"][0] for each in results if each["failure"]), ""),
            max(each["seconds"] for each in results),
        )

    def close(self) -> None:
        """Ends the processes."""
        for worker in self._workers:
            cluster.close(worker.stdin)
        for worker in self._workers:
            cluster.end(worker)


def _write(worker: subprocess.Popen[str], line: str) -> None:
    assert worker.stdin is not None
    worker.stdin.write(line + "\n")
    worker.stdin.flush()


def _read(worker: subprocess.Popen[str]) -> Any:
    answer = json.loads(cluster.read_line(worker, "a process of clients ended", timeout=600))
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer
