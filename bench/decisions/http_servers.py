"""Our HTTP/1.1 server, and the libraries in its place: docs/decisions/http-server.md."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import uvloop

from bench.decisions.measure import Figures, Table, cpu, family, memory, rounds
from bench.decisions.servers import HEAD_SECONDS, LARGE, SERVERS
from tests import cluster

CLIENTS = 16
REQUESTS = 500
DOWNLOADS = 5
BODY = b"z" * 300
SMALL = b"POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY
MEBIBYTE = 1 << 20
UPLOAD = 512 * MEBIBYTE


def run(count: int) -> list[Table]:
    """The table of `count` rounds."""
    return [rounds("HTTP server", {name: partial(measured, name) for name in SERVERS}, count)]


def measured(name: str) -> Figures:
    """The figures of the server `name`: its CPU for the work, and what it holds for a client that stops reading."""
    with served(name) as (process, port):
        uvloop.run(_small(port, 50))
        small = _spent(process.pid, lambda: uvloop.run(_small(port, REQUESTS)))
        large = _spent(process.pid, lambda: _download(port))
        upload = _spent(process.pid, lambda: _upload(port))
        return {
            "CPU of a small request": small,
            "CPU of a large answer": large,
            "CPU of a large body": upload,
            "MiB held for a client that does not read!": _held(process.pid, port, b"GET /large"),
            "MiB held of a body that nobody reads!": _held(process.pid, port, b"POST /deaf"),
            "seconds until half a head is given up!": _half_a_head(port),
        }


@contextmanager
def served(name: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The server `name` in a process of its own, and its port."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.decisions.servers", name], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        cluster.wait_until(lambda: _listens(port), f"{name} does not listen")
        yield process, port
    finally:
        # A graceful end would wait for the requests that are never answered.
        for each in family(process.pid):
            each.kill()
        process.wait()
        cluster.close(process.stdout)


def _listens(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1):
            return True
    except OSError:
        return False


def _spent(pid: int, work: object) -> float:
    before = cpu(pid)
    work()  # type: ignore[operator]
    return cpu(pid) - before


async def _small(port: int, requests: int) -> None:
    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(requests):
            writer.write(SMALL)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            await reader.readexactly(200)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))


def _download(port: int) -> None:
    for _ in range(DOWNLOADS):
        _download_one(port)


def _download_one(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /large HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        seen = 0
        while data := client.recv(MEBIBYTE):
            seen += len(data)
    assert LARGE < seen < LARGE + 1000, seen


def _upload(port: int) -> None:
    piece = b"u" * MEBIBYTE
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /small HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % UPLOAD)
        for _ in range(UPLOAD // MEBIBYTE):
            client.sendall(piece)
        assert client.recv(4096).startswith(b"HTTP/1.1 200")


def _held(pid: int, port: int, request: bytes) -> float:
    """MiB by which the server grows in a second and a half, with a client that neither reads nor stops to send."""
    before = memory(pid)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(request + b" HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (
            UPLOAD if request.startswith(b"POST") else 0
        ))  # fmt: skip
        client.settimeout(0.2)
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            if not request.startswith(b"POST"):
                time.sleep(0.1)
                continue
            with suppress(TimeoutError):
                client.send(b"u" * MEBIBYTE)
        return max(0.0, (memory(pid) - before) / MEBIBYTE)


def _half_a_head(port: int) -> float:
    """Seconds after which a socket with half a head is closed; three times what was asked for when it is not."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"POST /small HTT")
        client.settimeout(3 * HEAD_SECONDS)
        try:
            while client.recv(4096):
                pass
        except (TimeoutError, ConnectionError):
            pass
    return time.monotonic() - began
