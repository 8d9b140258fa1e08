"""JSON lines between a supervisor and its child, and what could carry them: docs/decisions/pipes.md."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.connection import Pipe as connection_pair
from typing import Any

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from azquack.process.pipes import decode, encode
from bench.decisions.measure import Figures, Table, rounds

MESSAGES = 5000
MESSAGE = {"event": "probed", "probes": {"lake": "", "storage": ""}, "sessions": 12, "backup": {"last": 1.5}}
CHILDREN = {
    "ours": "import azquack.process.pipes",
    "multiprocessing.connection": "import multiprocessing.connection",
    "anyio": "import anyio, anyio.streams.buffered, anyio._backends._asyncio",
}


def run(count: int) -> list[Table]:
    """The table of `count` rounds."""
    carriers: dict[str, Callable[[], float]] = {
        "ours": ours, "multiprocessing.connection": with_connection, "anyio": with_anyio,
    }  # fmt: skip
    return [rounds("Pipes", {name: partial(measured, name, each) for name, each in carriers.items()}, count)]


def measured(name: str, carry: Callable[[], float]) -> Figures:
    """CPU of a message there and back in one process, and what its import costs a child."""
    return {"CPU of a message": carry(), **_imported(CHILDREN[name])}


def ours() -> float:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as lines, os.fdopen(write, "wb", buffering=0) as out:
        before = time.process_time()
        for _ in range(MESSAGES):
            out.write(encode(MESSAGE))
            assert decode(lines.readline())["sessions"] == 12
        return time.process_time() - before


def with_connection() -> float:
    ends: tuple[Connection[Any, Any], Connection[Any, Any]] = connection_pair()
    before = time.process_time()
    for _ in range(MESSAGES):
        ends[0].send(MESSAGE)
        assert ends[1].recv()["sessions"] == 12
    return time.process_time() - before


def with_anyio() -> float:
    async def main() -> float:
        first, second = socket.socketpair()
        send, receive = await SocketStream.from_socket(first), await SocketStream.from_socket(second)
        lines = BufferedByteReceiveStream(receive)
        before = time.process_time()
        for _ in range(MESSAGES):
            await send.send(encode(MESSAGE))
            assert decode(await lines.receive_until(b"\n", 1 << 24))["sessions"] == 12
        return time.process_time() - before

    return anyio.run(main)


def _imported(code: str) -> Figures:
    usage = "import resource; u = resource.getrusage(resource.RUSAGE_SELF)"
    script = f"{code}\n{usage}\nprint(u.ru_utime + u.ru_stime, u.ru_maxrss)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    seconds, kilobytes = map(float, answer.split())
    return {"CPU of a child's start": seconds, "memory of a child": kilobytes}
