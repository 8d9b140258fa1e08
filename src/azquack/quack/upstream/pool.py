"""The connections to one Quack server.

What is known of it (DuckDB 1.5.5): it has 128 worker threads, one per open connection, and closes a
connection after 10 idle seconds or 128 requests, the last of which it answers with `Connection: close`. Its queue
of sockets to be accepted holds 5 (`ss -ltn`). A request that may have reached it is never sent twice, since
nothing tells whether it was executed.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from azquack.errors import UpstreamError
from azquack.quack.upstream.connection import Connection

IDLE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
# So many sockets are opened at once, and so long is each then given to be accepted.
OPENED = 4
ACCEPT_SECONDS = 0.005


class Response:
    """An answer: `status`, `headers` (lower-case names) and a body of `length` bytes (None when it does not say).

    Leave it with `async with`.
    """

    def __init__(self, upstream: Upstream, connection: Connection) -> None:
        self._upstream = upstream
        self._connection = connection
        self.status = connection.status
        self.headers = connection.headers
        self.length = connection.length

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._upstream.release(self._connection)

    async def read(self) -> bytes:
        """The next bytes of the body, as they come; empty at its end. Raises `UpstreamError` when it breaks off."""
        return await self._connection.read()

    async def body(self) -> bytes:
        """The whole body, or what is left of it."""
        pieces = []
        while piece := await self._connection.read():
            pieces.append(piece)
        return b"".join(pieces)


class Upstream:
    """The connections to the Quack server at `host`:`port`; TLS when `tls` is given.

    At most `limit` are open at once; a further `send` waits its turn.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        tls: ssl.SSLContext | None = None,
        limit: int = 96,
        idle: float = IDLE_SECONDS,
    ) -> None:
        self.host = host
        self.port = port
        self._tls = tls
        self._idle_seconds = idle
        self._free = limit
        self._accepting = asyncio.Semaphore(OPENED)
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[Connection] = []
        self._sweeper: asyncio.TimerHandle | None = None
        shown = f"[{host}]" if ":" in host else host
        self._head = (
            f"POST /quack HTTP/1.1\r\nHost: {shown}:{port}\r\nContent-Type: application/octet-stream\r\n"
        ).encode()

    async def send(self, body: bytes | AsyncIterator[bytes], *, length: int | None = None) -> Response:
        """Posts `body`; for an iterator, `length` is the sum of its chunks.

        Returns when the head of the answer is there. Raises `UpstreamError`; what the iterator raises comes
        through, and the server then sees a request that breaks off.
        """
        await self._acquire()
        connection: Connection | None = None
        try:
            connection = self._reuse() or await self._connect()
            connection.begin()
            await self._write(connection, body, length)
            await connection.wait_head()
        except BaseException:
            if connection is not None:
                connection.close()
            self._give_back()
            raise
        return Response(self, connection)

    async def _write(
        self, connection: Connection, body: bytes | AsyncIterator[bytes], length: int | None
    ) -> None:
        if isinstance(body, bytes):
            await connection.write(self._head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            return
        await connection.write(self._head + b"Content-Length: %d\r\n\r\n" % (length or 0))
        async for chunk in body:
            await connection.write(chunk)
            if connection.head_complete:  # refused before the body was there
                connection.keep_alive = False
                return

    def release(self, connection: Connection) -> None:
        """Takes a connection back: for the next request when its answer was read to the end."""
        if connection.complete and connection.keep_alive and not connection.closed:
            self._idle.append(connection)
            if self._sweeper is None:
                self._sweep()
        else:
            connection.close()
        self._give_back()

    async def close(self) -> None:
        """Closes the idle connections."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def _acquire(self) -> None:
        if self._free > 0:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._give_back()
            raise

    def _give_back(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _reuse(self) -> Connection | None:
        oldest = time.monotonic() - self._idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    def _sweep(self) -> None:
        oldest = time.monotonic() - self._idle_seconds
        for connection in [each for each in self._idle if each.closed or each.idle_since <= oldest]:
            self._idle.remove(connection)
            connection.close()
        self._sweeper = asyncio.get_running_loop().call_later(1.0, self._sweep) if self._idle else None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        # What finds the server's queue full is tried again by the kernel, a second later.
        await self._accepting.acquire()
        loop.call_later(ACCEPT_SECONDS, self._accepting.release)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(Connection, self.host, self.port, ssl=self._tls)
        except (OSError, TimeoutError) as error:
            reason = "no answer" if isinstance(error, TimeoutError) else type(error).__name__
            raise UpstreamError(
                f"The Quack server at {self.host}:{self.port} cannot be reached ({reason})", sent=False
            ) from None
        return connection
