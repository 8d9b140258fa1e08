"""Real nodes, real gateways and stock clients, each in a process of its own, for the tests of the gateway."""

from __future__ import annotations

import atexit
import functools
import json
import os
import queue
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx

from azquack.lake import extensions
from azquack.process import malloc

ROOT = Path(__file__).parents[2]
SECRET = "internal-token-of-the-tests"
ANN, BOB = "token-of-ann", "token-of-bob"
PEOPLE = {ANN: ["ann", "writer"], BOB: ["bob", "writer"]}


@functools.cache
def extensions_home() -> Path:
    """A directory in which DuckDB finds its extensions, removed when the tests end."""
    home = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    extensions.link_all(home)
    return home


class Child:
    """A Python module of the tests in a process of its own; its first line of output is its port."""

    def __init__(
        self,
        module: str,
        *args: str,
        config: dict[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", module, *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**(environment or {}), **os.environ},
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        if config is not None:
            self._write(config)
        self.port = int(self.line(f"{module} did not start to serve"))

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.strip())
        self._lines.put("")

    def _write(self, order: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def line(self, sentence: str, timeout: float = 30.0) -> str:
        """Its next line of output; fails with `sentence`."""
        try:
            line = self._lines.get(timeout=timeout)
        except queue.Empty:
            line = ""
        assert line, sentence
        return line

    def order(self, order: dict[str, Any]) -> None:
        """Sends an order and waits until it was carried out."""
        self._write(order)
        while self.line(f"no answer to {list(order)}") != "done":
            pass

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """Closes its standard input, upon which it ends."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process.stdout.close()


class NodeProcess(Child):
    """A DuckDB node that has run `statements`."""

    def __init__(self, name: str, *statements: str, access: str = "write") -> None:
        self.name = name
        self.token = f"node-token-{name}"
        self.access = access
        super().__init__("tests.gateway.run_node", self.token, *statements)

    @property
    def address(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "host": "127.0.0.1",
            "port": self.port,
            "token": self.token,
            "access": self.access,
        }


class GatewayProcess(Child):
    """A gateway before `nodes`."""

    def __init__(self, *nodes: NodeProcess, **config: Any) -> None:
        config = {"nodes": [node.address for node in nodes], "secret": SECRET, "principals": PEOPLE} | config
        super().__init__("tests.gateway.run_gateway", config=config, environment=malloc.BUFFERS)


class Client:
    """A stock DuckDB of this process, attached to `port` as `r`."""

    def __init__(self, port: int, token: str = ANN) -> None:
        self.db = duckdb.connect(config=extensions.config(extensions_home()))
        self.db.execute("LOAD httpfs; LOAD quack")
        try:
            self.attach(port, token)
        except duckdb.Error:
            self.close()
            raise

    def attach(self, port: int, token: str = ANN) -> None:
        self.db.execute(f"ATTACH 'quack:127.0.0.1:{port}' AS r (TOKEN '{token}')")

    def rows(self, sql: str) -> list[Any]:
        """The rows of `sql`."""
        return self.db.execute(sql).fetchall()

    def there(self, sql: str) -> list[Any]:
        """The rows of `sql`, run on the node."""
        return self.rows("FROM r.query('" + sql.replace("'", "''") + "')")

    def close(self) -> None:
        self.db.close()


@contextmanager
def client(port: int, token: str = ANN) -> Iterator[Client]:
    """A `Client`, closed at the end."""
    each = Client(port, token)
    try:
        yield each
    finally:
        each.close()


def program(port: int, sql: str, token: str = ANN) -> subprocess.Popen[str]:
    """The stock `duckdb` program, started on `sql` with `r` attached."""
    script = (
        f"SET extension_directory='{extensions_home()}'; SET autoinstall_known_extensions=false;\n"
        "LOAD httpfs; LOAD quack;\n"
        f"ATTACH 'quack:127.0.0.1:{port}' AS r (TOKEN '{token}');\n{sql}\n"
    )
    process = subprocess.Popen(
        [extensions.program(), "-bail", "-csv", "-noheader", "-init", os.devnull],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdin is not None
    process.stdin.write(script)
    process.stdin.close()
    process.stdin = None
    return process


class RoundRobin:
    """A TCP load balancer that knows nothing: each connection goes to the next port."""

    def __init__(self, *ports: int) -> None:
        self.ports = list(ports)
        self._next = 0
        balancer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                balancer.carry(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            request_queue_size = 1024

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        ).start()

    def carry(self, inbound: socket.socket) -> None:
        """Joins a client's socket to the next gateway's."""
        self._next += 1
        with socket.create_connection(("127.0.0.1", self.ports[self._next % len(self.ports)])) as outbound:
            back = threading.Thread(target=pump, args=(outbound, inbound), daemon=True)
            back.start()
            pump(inbound, outbound)
            back.join()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Carries bytes until one side closes."""
    try:
        while data := source.recv(1 << 18):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, sink):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


def post(port: int, body: bytes) -> httpx.Response:
    """A raw POST to the gateway."""
    headers = {"content-type": "application/octet-stream"}
    return httpx.post(
        f"http://127.0.0.1:{port}/quack", content=body, headers=headers, trust_env=False, timeout=20
    )
