"""The link's side towards the node: HTTP/1.1 requests on loopback, one at a time per socket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import httptools

Handler = Callable[[bytes], Awaitable[bytes]]
MAX_BODY = 1 << 30


class HttpServer(asyncio.Protocol):
    """Hands each body that is posted to `handle` and answers with what it returns.

    `handle` must not raise. It is not cancelled when the client goes away: a write that has begun must find
    out how it ended. `open_sockets` holds every open server of the link, so that a stop can close them.
    """

    def __init__(
        self, handle: Handler, open_sockets: set[HttpServer], tasks: set[asyncio.Task[None]]
    ) -> None:
        self._handle = handle
        self._open = open_sockets
        self._tasks = tasks
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._body: list[bytes] = []
        self._length = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self)

    def close(self) -> None:
        """Ends the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.close()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._body.clear()
        self._length = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"expect" and value.lower() == b"100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)
        self._length += len(body)
        if self._length > MAX_BODY:
            self.close()

    def on_message_complete(self) -> None:
        keep_alive = self._parser.should_keep_alive()
        task = asyncio.ensure_future(self._answer(b"".join(self._body), keep_alive))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, body: bytes, keep_alive: bool) -> None:
        answer = await self._handle(body)
        if self._transport is None or self._transport.is_closing():
            return
        connection = b"" if keep_alive else b"Connection: close\r\n"
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.duckdb\r\n%sContent-Length: %d\r\n\r\n"
        self._transport.write(head % (connection, len(answer)) + answer)
        if not keep_alive:
            self._transport.close()
