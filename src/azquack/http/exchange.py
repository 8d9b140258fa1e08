"""One HTTP request, its body within size and time, and its answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from azquack.errors import ClientGone, Refusal
from azquack.quack import wire
from azquack.quack.faults import clear

CONTENT_TYPE = b"application/vnd.duckdb"
SLOWEST = (
    100_000  # bytes per second that a body must come with, and an answer be read, once its grace is over
)
PREFIX = 4096
HIGH_WATER = 256 << 10  # bytes of a body that wait for their reader


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for a request's head, for a body beyond what its length asks for, for a client to read a piece of
    its answer, and in all beyond what its length asks for, for a socket between two requests, and for all that one
    does on a socket who is not known there; and the bytes of a head.
    """

    head: float = math.inf
    body: float = math.inf
    read: float = math.inf
    idle: float = math.inf
    unknown: float = math.inf
    head_bytes: int = 16 << 10


class Socket(Protocol):
    """Where a request came from, and its answer goes; `writable` tells when more may be written."""

    loop: asyncio.AbstractEventLoop
    writable: asyncio.Event
    lost: bool

    @property
    def unknown_until(self) -> float: ...
    def vouch(self) -> None: ...
    def write(self, data: bytes) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...


class Exchange:
    """One request, whose body is read once, and its answer."""

    def __init__(self, socket: Socket, timeouts: Timeouts, address: str) -> None:
        self.loop = socket.loop
        self._socket = socket
        self._timeouts = timeouts
        self._begun = self.loop.time()
        self._chunks: list[bytes] = []
        self._waiting = 0
        self._waiter: asyncio.Future[None] | None = None
        self._prefix = b""
        self._head = b""
        self._reading = math.inf
        self.method = self.path = b""
        self.address = address
        self.length: int | None = None
        self.expects_continue = False
        self.keep_alive = True
        self.complete = False
        self.malformed = False
        self.received = 0
        self.sent = 0
        self.answered = False
        self.finished = False

    @property
    def lost(self) -> bool:
        """Whether the client has closed its socket."""
        return self._socket.lost

    # Called by the connection.

    def feed(self, data: bytes) -> None:
        """More of the body has come."""
        self._chunks.append(data)
        self._waiting += len(data)
        if self._waiting > HIGH_WATER:
            self._socket.pause()
        self.wake()

    def wake(self) -> None:
        """Something changed: bytes came, the body ended, or the client left."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # For whoever answers.

    def vouch(self) -> None:
        """Whoever sent this request is known."""
        self._socket.vouch()

    def bound(self, limit: int) -> None:
        """Refuses a body that says it is longer than `limit` with 413, and one that does not say it with 411."""
        if self.length is None:
            raise Refusal("length", "A Quack request needs a Content-Length", 411)
        if self.length > limit:
            raise Refusal("size", f"The body of this request is larger than {limit} bytes", 413)

    async def prefix(self) -> bytes:
        """The body's first bytes: at least `PREFIX` of them, or all."""
        while len(self._prefix) < PREFIX and (data := await self._next()):
            self._prefix += data
        return self._prefix

    async def whole(self, limit: int) -> bytes:
        """The whole body, of at most `limit` bytes."""
        self.bound(limit)
        pieces = [self._prefix]
        while data := await self._next():
            pieces.append(data)
        return b"".join(pieces)

    async def rest(self) -> AsyncIterator[bytes]:
        """The body behind `prefix`, as it comes."""
        while data := await self._next():
            yield data

    async def _next(self) -> bytes:
        if not self._chunks:
            if self.complete:
                return b""
            await self._arrival()
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._waiting = 0
        self._socket.resume()
        self.received += len(data)
        return data

    async def _arrival(self) -> None:
        if self.expects_continue:
            self.expects_continue = False
            self._socket.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        deadline = min(
            self._begun + self._timeouts.body + (self.length or 0) / SLOWEST, self._socket.unknown_until
        )
        try:
            async with asyncio.timeout_at(deadline if deadline < math.inf else None):
                while not self._chunks and not self.complete:
                    await self._event()
        except TimeoutError:
            raise Refusal("slow", "The body of this request came too slowly", 408) from None

    async def _event(self) -> None:
        if self._socket.lost:
            raise ClientGone
        if self.malformed:
            raise Refusal("unreadable", "This is not HTTP", 400)
        self._waiter = self.loop.create_future()
        await self._waiter

    async def client_gone(self) -> None:
        """Returns when the client closes its socket; to be called once the body was read."""
        with suppress(ClientGone):
            while True:
                await self._event()

    def begin(self, length: int, status: int = 200, content_type: bytes = CONTENT_TYPE) -> None:
        """Makes the head of an answer of `length` bytes, which goes out with the first `chunk`."""
        self.keep_alive = self.keep_alive and status < 400
        phrase = HTTPStatus(status).phrase.encode() if status != 200 else b"OK"
        close = b"" if self.keep_alive else b"Connection: close\r\n"
        self._head = b"HTTP/1.1 %d %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n" % (
            status, phrase, content_type, length, close,
        )  # fmt: skip
        self.answered = True
        self._reading = self._timeouts.read + length / SLOWEST

    async def chunk(self, data: bytes, *, more: bool) -> None:
        """Sends a piece of the answer's body; `ClientGone` when the client does not read on."""
        self.sent += len(data)
        head, self._head = self._head, b""
        self._socket.write(head + data if head else data)
        if not self._socket.writable.is_set():
            began = self.loop.time()
            try:
                seconds = min(self._timeouts.read, self._reading)
                async with asyncio.timeout(seconds if seconds < math.inf else None):
                    await self._socket.writable.wait()
            except TimeoutError:
                raise ClientGone from None
            # A client that reads a drop now and then would else hold its node for ever.
            self._reading -= self.loop.time() - began
        self.finished = not more

    async def answer(self, body: bytes, status: int = 200, content_type: bytes = CONTENT_TYPE) -> None:
        """Sends a whole answer."""
        self.begin(len(body), status, content_type)
        await self.chunk(body, more=False)

    async def refuse(self, refusal: Refusal) -> None:
        """Answers with a Quack ERROR."""
        await self.answer(wire.error(clear(str(refusal))), refusal.status)
