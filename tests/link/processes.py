"""A catalog and query nodes as real processes, to be killed, frozen and cut off."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests import cluster

HERE = Path(__file__).parent
TOKEN = "internal-token-of-the-tests"
# What a query node sets: see docs/architecture.md.
NODE_SETTINGS: Mapping[str, str] = {
    "httpfs_connection_caching": "true",
    "ducklake_max_retry_count": "200",
    "ducklake_retry_wait_ms": "5",
    "ducklake_retry_backoff": "1.05",
}


def free_port() -> int:
    """A port for a process that shall keep it: none of those that the kernel gives to whoever connects."""
    while True:
        port = random.randrange(10000, 32000)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port


class CatalogProcess:
    """The catalog on `file`, always on the same port."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.port = free_port()
        self._log = file.with_suffix(".log")
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "catalog_process.py"), str(self.file), str(self.port), TOKEN],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            )  # fmt: skip
        cluster.read_line(self._process, lambda: f"the catalog did not start: {self._log.read_text()}")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """As a crash: no shutdown, no checkpoint."""
        if self._process is not None:
            self._process.kill()
            cluster.end(self._process)
            self._process = None


class QueryProcess:
    """A query node; `settings` replace `NODE_SETTINGS`, `stock` leaves the link out."""

    def __init__(
        self,
        port: int,
        data: Path,
        *,
        name: str = "query-1",
        stock: bool = False,
        hold: float = 30.0,
        answer: float = 30.0,
        settings: Mapping[str, str] = NODE_SETTINGS,
    ) -> None:
        self._log = data.parent / f"{name}.log"
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, str(HERE / "query_process.py")],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env=os.environ | {"PYTHONFAULTHANDLER": "1"},
            )  # fmt: skip
        self._send(
            port=port, token=TOKEN, data=str(data), name=name, stock=stock, hold=hold, answer=answer,
            settings=dict(settings),
        )  # fmt: skip
        # What the node's DuckLake speaks to: the link, or the catalog itself.
        self.address: str = self._receive()["address"]

    def _send(self, **job: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def _receive(self, timeout: float = 120.0) -> Any:
        return json.loads(
            cluster.read_line(
                self._process, lambda: f"the query node gave no answer: {self._log.read_text()}", timeout
            )
        )

    def results(self, *statements: str) -> list[dict[str, Any]]:
        """For each statement its rows or its error."""
        self._send(sql=statements)
        result: list[dict[str, Any]] = self._receive()
        return result

    def rows(self, statement: str) -> list[list[Any]]:
        """The rows of a statement that must succeed."""
        (result,) = self.results(statement)
        assert "rows" in result, f"{statement}: {result}\n{self._log.read_text()}"
        rows: list[list[Any]] = result["rows"]
        return rows

    def begin_threads(self, lists: list[list[str]]) -> None:
        """Starts one thread per list; `finish_threads` waits for them."""
        self._send(threads=lists)

    def finish_threads(self, timeout: float = 120.0) -> list[list[dict[str, Any]]]:
        """The results of `begin_threads`."""
        results: list[list[dict[str, Any]]] = self._receive(timeout)
        return results

    def counters(self) -> dict[str, Any]:
        """The link's counters."""
        self._send(counters=True)
        counters: dict[str, Any] = self._receive()
        return counters

    def log_text(self) -> str:
        return self._log.read_text()

    def close(self) -> None:
        """Closes its input, at which it ends itself."""
        if self._process.stdin is not None:
            cluster.close(self._process.stdin)
        cluster.end(self._process)

    def kill(self) -> None:
        self._process.kill()
        cluster.end(self._process)


class TcpProxy:
    """Sits between link and catalog; after asyncpg's `TCPFuzzingProxy`.

    `cut` breaks every connection and refuses new ones, `freeze` passes nothing on and tells nobody,
    `slow` makes it long, `drop_answers` lets requests through and breaks the connection where the answer would
    come; `restore` ends all of it.
    """

    def __init__(self, target: int, tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._flowing = threading.Event()
        self._flowing.set()
        self._refusing = False
        self._dropping: bytes | None = None
        self._dropping_answers = True
        self._then_cut = False
        self._delay = 0.0
        self._instead = b""
        self.refused = 0
        self.connections = 0
        self.dropped = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def route(self, target: int) -> None:
        """Another port for new connections."""
        self._target = target

    def slow(self, seconds: float) -> None:
        """Every piece takes so much longer."""
        self._delay = seconds

    def answer_instead(self, answer: bytes) -> None:
        """Answers every request with these bytes and breaks the connection; nothing gets through."""
        self._instead = answer

    def cut(self) -> None:
        self._refusing = True
        self._break_all()

    def freeze(self) -> None:
        self._flowing.clear()

    def drop_answers(self, request: bytes, *, then_cut: bool = False) -> None:
        """Loses the answers to requests that hold the text `request`."""
        self.dropped.clear()
        self._then_cut = then_cut
        self._dropping, self._dropping_answers = request, True

    def drop_requests(self, request: bytes) -> None:
        """Loses the requests that hold the text `request`, on their way."""
        self.dropped.clear()
        self._dropping, self._dropping_answers = request, False

    def restore(self) -> None:
        self._refusing, self._dropping = False, None
        self._delay, self._instead = 0.0, b""
        self._flowing.set()

    def close(self) -> None:
        self._listener.close()
        self._break_all()
        self._flowing.set()

    def _break_all(self) -> None:
        with self._lock:
            sockets = tuple(self._sockets)
            self._sockets.clear()
        for each in sockets:
            _abort(each)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            if self._refusing:
                self.refused += 1
                _abort(client)
                continue
            try:
                if self._tls is not None:
                    client = self._tls.wrap_socket(client, server_side=True)
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                self.refused += 1
                _abort(client)
                continue
            with self._lock:
                self._sockets |= {client, server}
            doomed = threading.Event()
            threading.Thread(target=self._pump, args=(client, server, doomed, True), daemon=True).start()
            threading.Thread(target=self._pump, args=(server, client, doomed, False), daemon=True).start()

    def _pump(
        self, source: socket.socket, sink: socket.socket, doomed: threading.Event, asking: bool
    ) -> None:
        try:
            while data := source.recv(1 << 16):
                self._flowing.wait()
                # A line has a length; that is what is imitated, not awaited.
                time.sleep(self._delay)
                if asking and self._instead:
                    source.sendall(self._instead)
                    break
                if asking and self._dropping and self._dropping in data:
                    if not self._dropping_answers:
                        self.dropped.set()
                        break
                    doomed.set()
                if not asking and doomed.is_set():
                    self._refusing = self._refusing or self._then_cut
                    self.dropped.set()
                    break
                sink.sendall(data)
        except OSError:
            pass
        with self._lock:
            self._sockets -= {source, sink}
        _abort(source)
        _abort(sink)


def _abort(each: socket.socket) -> None:
    """Closes with a reset, as a cut line does."""
    try:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        each.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    each.close()
