"""What the gateway costs against a direct Quack server: `python -m bench.gateway [--rounds N] [--soak N]`.

In one run, interleaved, with stock DuckDB clients: a direct node, the gateway, bare pass-throughs on the same
footing (uvicorn, asyncio) and HAProxy when it is installed. Prints the median of each and its ratio to the
direct node; then the gateway's memory before, within and after a soak of small requests.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psutil

from azquack.quack.upstream import Session, Upstream
from tests.cluster import wait_until
from tests.gateway.parts import ANN, Child, Client, GatewayProcess, NodeProcess, client

ROWS = 5_000_000
TABLES = (
    f"CREATE TABLE big AS SELECT range AS i, range * 2 AS j, 'row ' || range AS s FROM range({ROWS})",
    "CREATE TABLE sink (i BIGINT)",
    "CREATE TABLE wide AS FROM big LIMIT 0",
)
INSERTED = 1_000_000
# The soak asks for more each second than an address may.
LIMITS = {"requests_per_address": 1e9, "requests_per_principal": 1e9}
HAPROXY = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse safe
frontend gateway
  bind 127.0.0.1:{port}
  default_backend node
backend node
  server node 127.0.0.1:{node}
"""


def small(ann: Client) -> float:
    """Median seconds of 100 small queries."""
    times = []
    for _ in range(100):
        began = time.perf_counter()
        ann.there("SELECT 42")
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def fetch(ann: Client) -> float:
    """Seconds to fetch all rows of `big` with r.query."""
    began = time.perf_counter()
    ann.rows("CREATE OR REPLACE TEMP TABLE fetched AS FROM r.query('FROM big')")
    return time.perf_counter() - began


def scan(ann: Client) -> float:
    """Seconds to fetch all rows of `big` natively."""
    began = time.perf_counter()
    ann.rows("CREATE OR REPLACE TEMP TABLE fetched AS FROM r.big")
    return time.perf_counter() - began


def generate(ann: Client) -> float:
    """Seconds to insert a million numbers natively that follow one another: messages of a hundred bytes."""
    return _insert(ann, "sink", f"range({INSERTED})")


def load(ann: Client) -> float:
    """Seconds to insert a million rows natively that `scan` has fetched."""
    return _insert(ann, "wide", f"(FROM fetched LIMIT {INSERTED})")


def _insert(ann: Client, table: str, rows: str) -> float:
    began = time.perf_counter()
    ann.rows(f"INSERT INTO r.{table} FROM {rows}")
    seconds = time.perf_counter() - began
    ann.there(f"TRUNCATE {table}")
    return seconds


def crowd(port: int, token: str) -> float:
    """Seconds that 64 clients at once take for 10 small queries each."""
    with ExitStack() as stack, ThreadPoolExecutor(64) as pool:
        clients = [stack.enter_context(client(port, token)) for _ in range(64)]

        def work(each: Client) -> None:
            for _ in range(10):
                each.there("SELECT 42")

        began = time.perf_counter()
        list(pool.map(work, clients))
        return time.perf_counter() - began


MEASURES: dict[str, Callable[[Client], float]] = {
    "small query": small,
    "5M rows, r.query": fetch,
    "5M rows, native": scan,
    "1M rows inserted": load,
    "1M numbers inserted": generate,
}


@contextmanager
def haproxy(node: int) -> Iterator[int]:
    """HAProxy before the node at port `node`; its port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with tempfile.NamedTemporaryFile("w", suffix=".cfg") as file:
        file.write(HAPROXY.format(port=port, node=node))
        file.flush()
        process = subprocess.Popen(["haproxy", "-f", file.name])
        try:
            wait_until(lambda: not socket.socket().connect_ex(("127.0.0.1", port)), "HAProxy does not listen")
            yield port
        finally:
            process.terminate()
            process.wait()


async def soak(port: int, requests: int, measure: Callable[[], float]) -> list[float]:
    """Sends small queries on 16 sessions; the gateway's memory at the start and after each tenth."""
    upstream = Upstream("127.0.0.1", port)
    sessions = [await Session.login(upstream, ANN) for _ in range(16)]

    async def share(session: Session) -> None:
        for _ in range(requests // 10 // len(sessions)):
            await session.run("SELECT 42")

    sizes = []
    for _ in range(10):
        sizes.append(measure())
        await asyncio.gather(*(share(session) for session in sessions))
    for session in sessions:
        await session.close()
    await upstream.close()
    return [*sizes, measure()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--soak", type=int, default=100_000, help="requests of the memory run; 0 for none")
    options = parser.parse_args()
    with ExitStack() as stack:
        node = NodeProcess("n1", *TABLES)
        gateway = GatewayProcess(node, limits=LIMITS)
        bare = {kind: Child("bench.passthrough", kind, str(node.port)) for kind in ("uvicorn", "asyncio")}
        for child in (node, gateway, *bare.values()):
            stack.callback(child.stop)
        ways = {"direct": (node.port, node.token), "gateway": (gateway.port, ANN)}
        ways |= {f"bare {kind}": (child.port, node.token) for kind, child in bare.items()}
        if shutil.which("haproxy"):
            ways["haproxy"] = (stack.enter_context(haproxy(node.port)), node.token)
        times = measured(ways, options.rounds)
        show(times)
        memory = psutil.Process(gateway.process.pid).memory_info
        print(f"\nmemory of the gateway: {memory().rss / 1e6:.0f} MB")
        if options.soak:
            sizes = asyncio.run(soak(gateway.port, options.soak, lambda: memory().rss / 1e6))
            print(f"over {options.soak} requests: " + " ".join(f"{size:.0f}" for size in sizes) + " MB")


def measured(ways: dict[str, tuple[int, str]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """The times of every measure and way; each round goes through all ways before the next begins."""
    times: dict[str, dict[str, list[float]]] = {name: {way: [] for way in ways} for name in MEASURES}
    times["64 clients"] = {way: [] for way in ways}
    with ExitStack() as stack:
        clients = {way: stack.enter_context(client(*where)) for way, where in ways.items()}
        for _ in range(rounds):
            for name, measure in MEASURES.items():
                for way, each in clients.items():
                    times[name][way].append(noted(name, way, measure(each)))
    for _ in range(rounds):
        for way, where in ways.items():
            times["64 clients"][way].append(noted("64 clients", way, crowd(*where)))
    return times


def noted(name: str, way: str, seconds: float) -> float:
    """`seconds`, shown on standard error as the run goes on."""
    print(f"{name:20} {way:14} {seconds * 1000:10.2f} ms", file=sys.stderr, flush=True)
    return seconds


def show(times: dict[str, dict[str, list[float]]]) -> None:
    """Prints the medians in milliseconds, and in brackets their ratio to direct."""
    ways = list(next(iter(times.values())))
    print(f"{'median':20}" + "".join(f"{way:>22}" for way in ways))
    for name, per_way in times.items():
        base = statistics.median(per_way["direct"])
        cells = (statistics.median(per_way[way]) for way in ways)
        print(f"{name:20}" + "".join(f"{cell * 1000:12.2f} ms ({cell / base:.2f})" for cell in cells))


if __name__ == "__main__":
    main()
