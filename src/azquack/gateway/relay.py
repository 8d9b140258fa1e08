"""One message to a node and its answer back to the client, passed on as it comes."""

from __future__ import annotations

import logging

from azquack.errors import Refusal, UpstreamError, WireError
from azquack.gateway.excerpt import Texts
from azquack.gateway.limits import Limits
from azquack.gateway.outcome import Outcome
from azquack.gateway.ports import Replica
from azquack.gateway.sessions import Session
from azquack.gateway.statement import Reply
from azquack.gateway.stops import INTERRUPTED, Flight, Stopped
from azquack.gateway.transactions import ends_one
from azquack.quack import wire
from azquack.quack.faults import clear, ends_node, is_fault
from azquack.quack.lost import BROKE, ENDED, FENCED, INVALID_ID, LOST
from azquack.quack.upstream import Response
from azquack.quack.wire.answers import has_more

log = logging.getLogger(__name__)

ERROR_LIMIT = 1 << 20

# DuckDB's word for rows of a native insert that a table does not take; of what it has taken before, it says nothing.
APPEND_FAILED = "Failed to append: "
KEPT = (
    "Rows that were sent before these are kept: Quack 1 sends an INSERT in parts of up to 2,048 rows, and each is a "
    "commit of its own, unless lake.query('BEGIN') came first"
)


class Relay:
    """Sends a session's messages to its node. `replica` is asked before an answer is released.

    A message is stopped once it has run for `Limits.statement_seconds`, `abandoned_seconds` after its client left, and
    when its session is cancelled.
    """

    def __init__(self, replica: Replica, limits: Limits) -> None:
        self._replica = replica
        self._limits = limits

    async def pass_on(
        self, reply: Reply, session: Session, body: bytes, texts: Texts | None = None
    ) -> Outcome:
        """Returns ok, error or broken. Raises `Refusal` before anything was answered.

        `texts` are those of the statement in `body`, for an error to show the user's own.
        """
        node = session.node
        flight = Flight(self._replica, self._limits, node.name, session.ticket.number)
        flight.interruptible = texts is None or not ends_one(texts.sent)
        node.running += 1
        session.flights.add(flight)
        try:
            try:
                with flight:
                    flight.watch(reply.client_gone)
                    async with flight.patience:
                        response = await node.upstream.send(body)
            except TimeoutError:
                raise flight.given_up() from None
            finally:
                session.flights.discard(flight)
                await flight.settled()
            async with response:
                return await self._answer(reply, response, flight, node.name, texts)
        except UpstreamError as error:
            if not error.sent:
                node.healthy = False
                raise Refusal("node", LOST) from None
            if reply.answered:
                return Outcome("broken")
            if flight.reason is not None:
                raise flight.given_up() from None
            raise Refusal("broken", BROKE) from None
        finally:
            node.running -= 1

    async def _answer(
        self, reply: Reply, response: Response, flight: Flight, node: str, texts: Texts | None
    ) -> Outcome:
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
            if flight.reason is not None and INTERRUPTED in text:
                raise Stopped(flight.reason)
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
        except WireError as error:
            facts = {"reason": str(error), "bytes": len(message), "end": message[-16:].hex()}
            log.error("the error of a node cannot be read", extra=facts)
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
        if text.startswith(APPEND_FAILED):
            told = f"{told.rstrip('.')}. {KEPT}"
        return message if told == text else wire.error(told)
