"""The two ways to build the gateway's listening side, bare: no sessions, no policy, one node.

`python -m bench.passthrough (uvicorn|asyncio) NODE_PORT` prints its port and serves until its standard input
closes. They bound what any gateway on that footing can reach.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httptools
import uvicorn
import uvloop

from azquack.quack.upstream import Upstream

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


class App:
    """Pass-through as an ASGI application."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message.get("more_body", False)
        async with await self._upstream.send(body) as response:
            await send(
                {"type": "http.response.start", "status": response.status, "headers": response.headers}
            )
            left = int(dict(response.headers)[b"content-length"])
            while chunk := await response.read():
                left -= len(chunk)
                await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})


class Protocol(asyncio.Protocol):
    """Pass-through as an asyncio protocol."""

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._parser = httptools.HttpRequestParser(self)
        self._writable = asyncio.Event()
        self._writable.set()
        self._body: list[bytes] = []
        self._expects = False
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._writable.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._expects = self._expects or name.lower() == b"expect"

    def on_headers_complete(self) -> None:
        if self._expects:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_message_complete(self) -> None:
        body = b"".join(self._body)
        self._body, self._expects = [], False
        task = asyncio.get_running_loop().create_task(self._answer(body))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, body: bytes) -> None:
        async with await self._upstream.send(body) as response:
            head = b"HTTP/1.1 %d OK\r\n" % response.status
            for name, value in response.headers:
                head += name + b": " + value + b"\r\n"
            head += b"\r\n"
            while chunk := await response.read():
                self._transport.write(head + chunk if head else chunk)
                head = b""
                await self._writable.wait()


async def main() -> None:
    kind, port = sys.argv[1], int(sys.argv[2])
    upstream = Upstream("127.0.0.1", port)
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(sock.getsockname()[1], flush=True)
    ended = asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    if kind == "asyncio":
        server = await asyncio.get_running_loop().create_server(lambda: Protocol(upstream), sock=sock)
        await ended
        server.close()
        return
    settings: dict[str, Any] = {
        "http": "httptools",
        "lifespan": "off",
        "access_log": False,
        "log_config": None,
    }
    server_task = uvicorn.Server(uvicorn.Config(App(upstream), **settings))
    serving = asyncio.create_task(server_task.serve(sockets=[sock]))
    await ended
    server_task.should_exit = True
    await serving


if __name__ == "__main__":
    uvloop.run(main())
