"""Kept-alive HTTP/1.1 connections to one Quack server, and a session on top of them.

What is known of the server (DuckDB 1.5.5): it has 128 worker threads, one per open connection, and closes a
connection after 10 idle seconds or 128 requests, the last of which it answers with `Connection: close`. A
request that may have reached it is never sent twice, since nothing tells whether it was executed.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self, cast

import httptools

from azquack import wire
from azquack.errors import StatementError, UpstreamError, WireError

IDLE_SECONDS = 5.0
CONNECT_SECONDS = 5.0
HIGH_WATER = 4 << 20
MAX_HEAD = 16 << 10
SOCKET_BUFFER = 4 << 20


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
        self.idle_since = self._loop.time()

    def _reset(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._head = b""
        self._length: int | None = None
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
        if self._length == 0:
            self._finish()
        return rest

    def _take_body(self, data: bytes) -> None:
        if self._length is None:
            self._parser.feed_data(data)
            return
        self._length -= len(data)
        if self._length < 0:
            raise ValueError("more bytes than the answer has")
        self.on_body(data)
        if self._length == 0:
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
                self._length = int(value)

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)
        if self._buffered > HIGH_WATER and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def on_message_complete(self) -> None:
        if self.head_complete and self._length is None:
            self._finish()

    def _finish(self) -> None:
        self.complete = True
        self.idle_since = self._loop.time()

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


class Response:
    """An answer: `status`, `headers` (lower-case names) and a body. Leave it with `async with`."""

    def __init__(self, upstream: Upstream, connection: Connection) -> None:
        self._upstream = upstream
        self._connection = connection
        self.status = connection.status
        self.headers = connection.headers

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._upstream.release(self._connection)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; `UpstreamError` when it breaks off."""
        while chunk := await self._connection.read():
            yield chunk

    async def body(self) -> bytes:
        """The whole body."""
        return b"".join([chunk async for chunk in self.chunks()])


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
        oldest = asyncio.get_running_loop().time() - self._idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if not connection.closed and connection.idle_since > oldest:
                return connection
            connection.close()
        return None

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - self._idle_seconds
        for connection in [each for each in self._idle if each.closed or each.idle_since <= oldest]:
            self._idle.remove(connection)
            connection.close()
        self._sweeper = loop.call_later(1.0, self._sweep) if self._idle else None

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, connection = await loop.create_connection(Connection, self.host, self.port, ssl=self._tls)
        except (OSError, TimeoutError) as error:
            reason = "no answer" if isinstance(error, TimeoutError) else type(error).__name__
            raise UpstreamError(
                f"The Quack server at {self.host}:{self.port} cannot be reached ({reason})", sent=False
            ) from None
        return connection


class Session:
    """A login at a Quack server: `login`, then `run` statements, then `close`."""

    def __init__(self, upstream: Upstream, connection_id: str) -> None:
        self._upstream = upstream
        self.connection_id = connection_id

    @classmethod
    async def login(cls, upstream: Upstream, token: str, *, version: str = "v1.5.5") -> Session:
        """Logs in with `token`. Raises `UpstreamError`, or `StatementError` with the server's sentence."""
        answer = await exchange(upstream, wire.connection_request(wire.ConnectionRequest(token, version)))
        return cls(upstream, wire.parse_connection_response(answer).connection_id)

    async def run(self, sql: str) -> bytes:
        """Runs one statement; the PREPARE_RESPONSE that answers it."""
        return await exchange(self._upstream, wire.prepare(self.connection_id, sql))

    async def text(self, sql: str) -> str:
        """The value of a statement whose result is one row of one VARCHAR."""
        return wire.parse_text(await self.run(sql))

    async def close(self) -> None:
        """Ends the session on the server, which rolls its transaction back."""
        await exchange(self._upstream, wire.disconnect(self.connection_id))


async def exchange(upstream: Upstream, message: bytes) -> bytes:
    """Sends one message; the answer's bytes. `StatementError` when the answer is a Quack error."""
    async with await upstream.send(message) as response:
        answer = await response.body()
    if response.status != 200:
        raise UpstreamError(f"The Quack server answered with HTTP status {response.status}", sent=True)
    try:
        kind = wire.parse_header(answer).type
    except WireError:
        raise UpstreamError("What answers there does not speak Quack 1", sent=True) from None
    if kind is wire.MessageType.ERROR:
        raise StatementError(wire.parse_error(answer))
    return answer
