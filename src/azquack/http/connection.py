"""One client's socket: HTTP/1.1 requests, one after another."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import httptools

from azquack.errors import ClientGone
from azquack.http.exchange import Exchange, Timeouts
from azquack.http.parser import Parser

log = logging.getLogger(__name__)

Handler = Callable[[Exchange], Awaitable[None]]
# Bytes of a body that is read on only to be dropped.
DROPPED = 1 << 20
PIPELINED = 16


class Place(Protocol):
    """What an open socket holds of a gate; `close` is called when it has to give way."""

    close: Callable[[], object]

    def vouch(self) -> None:
        """Whoever speaks on this socket is known."""

    def leave(self) -> None:
        """The socket has closed."""


class Gate(Protocol):
    """Who may open a socket."""

    def enter(self, address: str, close: Callable[[], object]) -> Place | None:
        """The place of a further socket from `address`; None when there is none."""

    def speaker(self, address: str, forwarded: str) -> str:
        """Whom the socket from `address` speaks for, when its request's X-Forwarded-For is `forwarded`."""


class Server(Protocol):
    """What the sockets have in common."""

    loop: asyncio.AbstractEventLoop
    handle: Handler
    timeouts: Timeouts
    gate: Gate | None
    stopping: bool

    def opened(self, connection: Connection) -> None: ...
    def closed(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """One client's socket. `place`: what it holds of the gate, if that has let it in already.

    Until somebody is known on it (`vouch`), all of its time is `Timeouts.unknown` seconds.
    """

    def __init__(self, server: Server, place: Place | None = None) -> None:
        self.loop = server.loop
        self.writable = asyncio.Event()
        self.writable.set()
        self.lost = False
        self.deadline = math.inf
        self._server = server
        self._place = place
        self._unknown_until = math.inf
        self._parser = Parser(self)
        self._exchanges: deque[Exchange] = deque()
        self._task: asyncio.Task[None] | None = None
        self._address = "local"
        self._in_head = True
        self._admitted = False
        self._head_bytes = self._dropped = 0
        self._paused = self._failed = False

    @property
    def idle(self) -> bool:
        """Whether no request is being answered."""
        return self._task is None

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        if peer := transport.get_extra_info("peername"):
            self._address = peer[0]
        gate = self._server.gate
        if gate is not None:
            self._place = self._place or gate.enter(self._address, self.abort)
            if self._place is None:
                self._transport.abort()
                return
            self._place.close = self.abort
            self._unknown_until = self.loop.time() + self._server.timeouts.unknown
        self._admitted = True
        self._wait(self._server.timeouts.head)
        self._server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.writable.set()
        for exchange in self._exchanges:
            exchange.wake()
        if self._admitted:
            self._server.closed(self)
            if self._place is not None:
                self._place.leave()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def data_received(self, data: bytes) -> None:
        if self._failed or self._transport.is_closing():
            return
        if self._in_head:
            if not self._head_bytes and not self._exchanges:
                self._wait(self._server.timeouts.head)
            end = data.find(b"\r\n\r\n")
            self._head_bytes += len(data) if end < 0 else end
            if self._head_bytes > self._server.timeouts.head_bytes:
                self.abort()
                return
        try:
            self._parser.feed(data)
        except httptools.HttpParserError:
            self._fail()

    # Called by the parser.

    def on_message_begin(self) -> None:
        self._exchanges.append(Exchange(self, self._server.timeouts, self._address))
        if len(self._exchanges) > 1:
            self.pause()
            if len(self._exchanges) > PIPELINED:
                self.abort()

    def on_url(self, url: bytes) -> None:
        self._exchanges[-1].path += url

    def on_header(self, name: bytes, value: bytes) -> None:
        match name.lower():
            case b"content-length" if value.isdigit():
                self._exchanges[-1].length = int(value)
            case b"expect" if value.lower() == b"100-continue":
                self._exchanges[-1].expects_continue = True
            case b"x-forwarded-for" if self._server.gate is not None:
                speaker = self._server.gate.speaker(self._address, value.decode("latin-1"))
                self._exchanges[-1].address = speaker

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        exchange = self._exchanges[-1]
        exchange.method = self._parser.method
        exchange.keep_alive = self._parser.keep_alive
        if len(self._exchanges) == 1:
            self._begin()

    def on_body(self, data: bytes) -> None:
        exchange = self._exchanges[-1]
        if not exchange.finished:
            exchange.feed(data)
            return
        # Answered before it was read: read on all the same, or the client would not get to its answer.
        self._dropped += len(data)
        if self._dropped > DROPPED:
            self.abort()

    def on_message_complete(self) -> None:
        self._in_head = True
        exchange = self._exchanges[-1]
        exchange.complete = True
        exchange.wake()
        if exchange.finished and self._task is None:
            self._next()

    # One request after another.

    def _begin(self) -> None:
        self.deadline = math.inf
        self._task = self.loop.create_task(self._serve(self._exchanges[0]))

    async def _serve(self, exchange: Exchange) -> None:
        try:
            await self._server.handle(exchange)
        except ClientGone:
            pass
        except Exception:
            log.exception("a request could not be answered")
        finally:
            self._task = None
            if not exchange.finished:
                self.abort()
            elif exchange.complete or exchange.expects_continue or self._failed:
                self._next()
            else:
                self._wait(self._server.timeouts.head)
                self.resume()

    def _next(self) -> None:
        """The request in turn is answered, and behind it comes another one, or the end."""
        exchange = self._exchanges.popleft()
        if not exchange.keep_alive or not exchange.complete or self._server.stopping:
            self._transport.close()
            return
        self._dropped = 0
        if self._exchanges and self._exchanges[0].method:
            self._begin()
        else:
            timeouts = self._server.timeouts
            self._wait(timeouts.head if self._exchanges else timeouts.idle)
        self.resume()

    def _fail(self) -> None:
        """What came is not HTTP; what was asked before it is still answered."""
        self._failed = True
        if self._task is None:
            self.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self._transport.close()
            return
        for exchange in self._exchanges:
            exchange.keep_alive = False
            exchange.malformed = not exchange.complete
            exchange.wake()

    def _wait(self, seconds: float) -> None:
        """Closes in `seconds`, or when the time of one who is not known is over."""
        self.deadline = min(self.loop.time() + seconds, self._unknown_until)

    # Called by the exchange and the server.

    @property
    def unknown_until(self) -> float:
        """When one must be known who is not yet; infinite for one who is."""
        return self._unknown_until

    def vouch(self) -> None:
        """Whoever speaks on this socket is known: it may stay, and take its time."""
        if self._unknown_until < math.inf:
            self._unknown_until = math.inf
            if self._place is not None:
                self._place.vouch()

    def write(self, data: bytes) -> None:
        """Sends `data`; `writable` tells when more may follow."""
        if not self.lost:
            self._transport.write(data)

    def pause(self) -> None:
        """Reads no further for now."""
        if not self._paused and not self.lost:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Reads on, unless a further request waits for its turn."""
        if self._paused and not self.lost and len(self._exchanges) < 2:
            self._paused = False
            self._transport.resume_reading()

    def abort(self) -> None:
        """Closes at once."""
        self._transport.abort()
