"""Statements at a node that speaks Quack: alone or gathered, with their results and messages accounted for."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass

from azquack.errors import Refusal
from azquack.gateway.excerpt import Texts
from azquack.gateway.group import Groups, Insert
from azquack.gateway.messages import Messages
from azquack.gateway.outcome import Outcome
from azquack.gateway.relay import Relay
from azquack.gateway.results import Results
from azquack.gateway.sessions import Session
from azquack.gateway.statement import Reply
from azquack.quack import wire


@dataclass(frozen=True, slots=True)
class Execution:
    """Sends messages of Quack 1 to the node of a session, and its answers to a `Reply`.

    `groups` gather small inserts; `results` and `messages` are accounted for where no other gateway serves the node.
    Each method raises `Refusal`, `ClientGone`.
    """

    relay: Relay
    groups: Groups | None = None
    results: Results | None = None
    messages: Messages | None = None

    async def run(
        self, session: Session, reply: Reply, message: bytes, insert: Insert | None, texts: Texts
    ) -> Outcome:
        """Passes a PREPARE on, which may leave a result open; `texts` for its errors, `insert` as in `send`."""
        if self.results is not None:
            await self.results.admit(session)
        return await self._counted(session, self.send(session, reply, message, insert, texts))

    async def send(
        self,
        session: Session,
        reply: Reply,
        message: bytes,
        insert: Insert | None,
        texts: Texts | None = None,
    ) -> Outcome:
        """Passes a message on; as the `insert` that it is, with those of others where it can share a transaction."""
        if self.groups is None or insert is None or not self.groups.fits(session, insert):
            return await self.relay.pass_on(reply, session, message, texts)
        async with self.groups.turn(session, insert) as answer:
            if answer is None:
                return await self.relay.pass_on(reply, session, message, texts)
            await reply.answer(answer)
            return Outcome("ok", wire.count_of(answer))

    async def fetch(self, session: Session, reply: Reply, message: bytes) -> Outcome:
        """Passes a FETCH on."""
        if self.results is not None:
            self.results.check(session)
        # A FETCH that fails, as one of a result that is not the session's, leaves the open one as it is.
        return await self._counted(session, self.relay.pass_on(reply, session, message), failed=None)

    async def close(self, session: Session, reply: Reply, message: bytes) -> Outcome:
        """Passes a DISCONNECT on, with which the session is over."""
        outcome = await self.relay.pass_on(reply, session, message)
        if self.results is not None:
            self.results.close(session)
        return outcome

    async def _counted(
        self, session: Session, work: Awaitable[Outcome], failed: bool | None = False
    ) -> Outcome:
        """Does `work`, and notes whether it has left a result open; `failed`: the same, where it failed."""
        if self.results is None:
            return await work
        self.results.begin(session)
        # Where the client or the node broke off, what is there of a result stays until it is dropped.
        more: bool | None = True
        try:
            outcome = await self._sized(session, work)
            more = outcome.more if outcome.word == "ok" else failed
            return outcome
        except Refusal:
            more = failed
            raise
        finally:
            self.results.end(session, more=more)

    async def _sized(self, session: Session, work: Awaitable[Outcome]) -> Outcome:
        """Does `work`, for which its node makes a message."""
        if self.messages is None:
            return await work
        async with self.messages.hold(session.node, session.principal.name) as answer:
            outcome = await work
            answer.bytes, answer.more = outcome.bytes, outcome.more
            return outcome
