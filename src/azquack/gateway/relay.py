"""One message to a node and its answer back to the client, passed on as it comes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from azquack.errors import Refusal, UpstreamError, WireError
from azquack.gateway.excerpt import Texts
from azquack.gateway.outcome import Outcome
from azquack.gateway.ports import Replica
from azquack.gateway.sessions import Session
from azquack.gateway.statement import Reply
from azquack.quack import wire
from azquack.quack.faults import clear, ends_node, is_fault
from azquack.quack.lost import AGAIN, BROKE, ENDED, FENCED, INVALID_ID, LOST
from azquack.quack.upstream import Response
from azquack.quack.wire.answers import has_more

log = logging.getLogger(__name__)

PATIENCE = 0.5  # seconds after which it pays to watch whether the client is still there
ERROR_LIMIT = 1 << 20


class Relay:
    """Sends a session's messages to its node. `replica` is asked before an answer is released.

    Quack 1 cannot cancel: a statement that must end takes its node with it. That is once it has run for `longest`
    seconds, or for `unwanted` seconds after its client left.
    """

    def __init__(self, replica: Replica, longest: float, unwanted: float) -> None:
        self._replica = replica
        self._longest = longest
        self._unwanted = unwanted

    async def pass_on(
        self, reply: Reply, session: Session, body: bytes, texts: Texts | None = None
    ) -> Outcome:
        """Returns ok, error or broken. Raises `Refusal` before anything was answered.

        `texts` are those of the statement in `body`, for an error to show the user's own.
        """
        node = session.node
        node.running += 1
        try:
            try:
                watch = Watch(reply.loop, lambda: self._after_client(reply, node.name))
                try:
                    async with asyncio.timeout(self._longest):
                        response = await node.upstream.send(body)
                finally:
                    watch.end()
            except TimeoutError:
                self._replica.end_node(node.name, f"a statement ran longer than {self._longest:.0f} s")
                raise Refusal(
                    "timeout",
                    f"This statement ran longer than {self._longest:.0f} s and was stopped: {AGAIN}",
                ) from None
            async with response:
                return await self._answer(reply, response, node.name, texts)
        except UpstreamError as error:
            if not error.sent:
                node.healthy = False
                raise Refusal("node", LOST) from None
            if reply.answered:
                return Outcome("broken")
            raise Refusal("broken", BROKE) from None
        finally:
            node.running -= 1

    async def _answer(self, reply: Reply, response: Response, node: str, texts: Texts | None) -> Outcome:
        if response.status != 200 or response.length is None:
            raise Refusal("node", f"The DuckDB node answered with HTTP status {response.status}: try again")
        first = await response.read()
        if not self._replica.may_answer():
            raise Refusal("fenced", FENCED)
        left = response.length
        if first[2:3] == bytes([wire.MessageType.ERROR]):
            if left > ERROR_LIMIT:
                raise Refusal(
                    "node", "The DuckDB node's error is too long to be shown: send a shorter statement"
                )
            message = first + await response.body()
            text = self._read(message)
            await reply.answer(self._error(message, text, node, texts))
            return Outcome("error", said=text)
        reply.begin(left)
        left -= len(first)
        more = has_more(first)
        rows = wire.count_of(first) if left == 0 else None
        await reply.chunk(first, more=left > 0)
        while chunk := await response.read():
            left -= len(chunk)
            await reply.chunk(chunk, more=left > 0)
        return Outcome("ok", rows, more, bytes=response.length)

    def _read(self, message: bytes) -> str:
        """The sentence in `message`, an ERROR. Raises `Refusal`."""
        try:
            return wire.parse_error(message)
        except WireError:
            raise Refusal("node", "The DuckDB node's error cannot be read: try again") from None

    def _error(self, message: bytes, text: str, node: str, texts: Texts | None) -> bytes:
        """What the client is told in place of `message`, an ERROR of `node` that says `text`. Raises `Refusal`."""
        if text == INVALID_ID:
            raise Refusal("ended", ENDED)
        if is_fault(text):
            log.error("DuckDB met a fault of its own", extra={"node": node, "error": text[:4096]})
        if ends_node(text):
            self._replica.end_node(node, "DuckDB met a fault after which it runs nothing any more")
        told = clear(text if texts is None else texts.own(text))
        return message if told == text else wire.error(told)

    async def _after_client(self, reply: Reply, node: str) -> None:
        """Ends the node of a statement that goes on for long after its client has left."""
        await reply.client_gone()
        await asyncio.sleep(self._unwanted)
        self._replica.end_node(
            node, f"a statement went on for {self._unwanted:.0f} s after its client had left"
        )


class Watch:
    """Does `work` beside a statement, from when that has run for a while until its `end`."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._work = work
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._timer = loop.call_later(PATIENCE, self._begin)

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._work())

    def end(self) -> None:
        """The statement has ended."""
        self._timer.cancel()
        if self._task is not None:
            self._task.cancel()
