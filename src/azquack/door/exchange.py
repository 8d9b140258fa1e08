"""One HTTP request at the door, as ASGI hands it over: its body within size and time, and its answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from azquack import wire

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

NOT_QUACK_1 = (
    "This server speaks Quack 1: use DuckDB 1.5 (1.5.3 or later), for example `pip install duckdb==1.5.5`"
)
CONTENT_TYPE = b"application/vnd.duckdb"
SLOWEST = 100_000  # bytes per second that a body must come with, once its grace is over
PREFIX = 4096


class Refusal(Exception):
    """The door refuses. `reason` is a word for the metrics, the sentence is for the user.

    `status` is 200 where a Quack client shall read the sentence, else an HTTP status; the socket then closes.
    `audited` is set once it stands in the audit log.
    """

    def __init__(self, reason: str, sentence: str, status: int = 200) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.status = status
        self.audited = False


class Gone(Exception):
    """The client closed its socket before its request was complete, or does not read its answer."""


class Exchange:
    """A request whose body is read once, and its answer.

    `grace` are the seconds that a body may take beyond what its length asks for, `patience` those that a client
    may take to read a piece of its answer.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, *, grace: float, patience: float) -> None:
        self._receive = receive
        self._send = send
        self._patience = patience
        self._more = True
        self._prefix = b""
        self.address: str = scope["client"][0] if scope.get("client") else "local"
        self.length = self._content_length(scope)
        self.received = 0
        self.sent = 0
        self.answered = False
        self._deadline = asyncio.get_running_loop().time() + grace + self.length / SLOWEST

    @staticmethod
    def _content_length(scope: Scope) -> int:
        for name, value in scope["headers"]:
            if name == b"content-length" and value.isdigit():
                return int(value)
        raise Refusal("length", "A Quack request needs a Content-Length", 411)

    async def prefix(self) -> bytes:
        """The body's first bytes: at least `PREFIX` of them, or all."""
        while self._more and len(self._prefix) < PREFIX:
            self._prefix += await self._next()
        return self._prefix

    async def whole(self, limit: int) -> bytes:
        """The whole body, of at most `limit` bytes."""
        self.bound(limit)
        return b"".join([self._prefix, *[chunk async for chunk in self.rest()]])

    def bound(self, limit: int) -> None:
        """Refuses with 413 a body that says it is longer than `limit`."""
        if self.length > limit:
            raise Refusal("size", f"The body of this request is larger than {limit} bytes", 413)

    async def rest(self) -> AsyncIterator[bytes]:
        """The body behind `prefix`, as it comes."""
        while self._more:
            if chunk := await self._next():
                yield chunk

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise Refusal("slow", "The body of this request came too slowly", 408) from None
        if message["type"] == "http.disconnect":
            raise Gone
        self._more = message.get("more_body", False)
        body: bytes = message.get("body", b"")
        self.received += len(body)
        return body

    async def client_gone(self) -> None:
        """Returns when the client closes its socket; to be called once the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def begin(self, length: int, status: int = 200, content_type: bytes = CONTENT_TYPE) -> None:
        """Sends the head of an answer of `length` bytes."""
        headers = [(b"content-length", b"%d" % length), (b"content-type", content_type)]
        if status >= 400:
            headers.append((b"connection", b"close"))
        self.answered = True
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def chunk(self, data: bytes, *, more: bool) -> None:
        """Sends a piece of the answer's body; `Gone` when the client does not read on."""
        self.sent += len(data)
        try:
            async with asyncio.timeout(self._patience):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            raise Gone from None

    async def answer(self, body: bytes, status: int = 200, content_type: bytes = CONTENT_TYPE) -> None:
        """Sends a whole answer."""
        await self.begin(len(body), status, content_type)
        await self.chunk(body, more=False)

    async def refuse(self, refusal: Refusal) -> None:
        """Answers with a Quack ERROR."""
        await self.answer(wire.error(str(refusal)), refusal.status)
