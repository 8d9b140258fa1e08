"""One socket to a Quack server, and the HTTP answers that come from it."""

from __future__ import annotations

import asyncio
import time
from typing import cast

import httptools

from azquack.errors import UpstreamError

HIGH_WATER = 4 << 20
MAX_HEAD = 16 << 10


class Connection(asyncio.Protocol):
    """One socket, one request at a time. Used through `Upstream.send` only."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._writable = asyncio.Event()
        self._writable.set()
        self._waiter: asyncio.Future[None] | None = None
        self._reset()
        self.closed = False
        self.idle_since = time.monotonic()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._head = b""
        self._left: int | None = None
        self.length: int | None = None
        self._chunks: list[bytes] = []
        self._buffered = 0
        self._paused = False
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.keep_alive = True
        self.head_complete = False
        self.complete = False

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclass of asyncio.Transport.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._writable.set()
        self._wake()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        if self.complete:
            # The server speaks unasked: nothing on this socket can be trusted.
            self.close()
            return
        try:
            rest = data if self.head_complete else self._take_head(data)
            if self.head_complete and rest:
                self._take_body(rest)
        except (httptools.HttpParserError, ValueError):
            self.close()
        self._wake()

    def _take_head(self, data: bytes) -> bytes:
        self._head += data
        end = self._head.find(b"\r\n\r\n")
        if end < 0:
            if len(self._head) > MAX_HEAD:
                self.close()
            return b""
        head, rest = self._head[: end + 4], self._head[end + 4 :]
        self._head = b""
        # The parser calls on_header and on_headers_complete; a body of known length goes past it uncopied.
        self._parser.feed_data(head)
        if not self.head_complete:  # 100 Continue
            return b""
        if self._left == 0:
            self._finish()
        return rest

    def _take_body(self, data: bytes) -> None:
        if self._left is None:
            self._parser.feed_data(data)
            return
        self._left -= len(data)
        if self._left < 0:
            raise ValueError("more bytes than the answer has")
        self.on_body(data)
        if self._left == 0:
            self._finish()

    # Called by the parser.

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        if self.status < 200:
            self._reset()
            return
        self.head_complete = True
        self.keep_alive = self._parser.should_keep_alive()
        for name, value in self.headers:
            if name == b"content-length":
                self.length = self._left = int(value)

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.head_complete and self._left is None:
            self._finish()

    def _finish(self) -> None:
        self.complete = True
        self.idle_since = time.monotonic()

    # Called by Upstream and Response.

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _event(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """Ends the connection at once; an answer in flight is lost."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()
        self._wake()

    async def write(self, data: bytes) -> None:
        """Sends `data`, waiting while the socket is full."""
        if self._transport is not None and not self.closed:
            self._transport.write(data)
            await self._writable.wait()

    def begin(self) -> None:
        """Makes ready for the next answer."""
        self._reset()

    async def wait_head(self) -> None:
        """Returns when the answer's head is there."""
        while not self.head_complete:
            if self.closed:
                raise UpstreamError("The DuckDB node broke off before it answered", sent=True)
            await self._event()

    async def read(self) -> bytes:
        """The next bytes of the body, empty at its end."""
        while not self._chunks:
            if self.complete:
                return b""
            if self.closed:
                raise UpstreamError("The DuckDB node broke off within its answer", sent=True)
            await self._event()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        if self._paused and self._transport is not None and not self.closed:
            self._paused = False
            self._transport.resume_reading()
        return data
