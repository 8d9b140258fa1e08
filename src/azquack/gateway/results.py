"""Results that are open at a node because their clients have not fetched them to the end.

Each holds buffers of the node, more the wider its rows, for as long as its session lives: so one principal may have
so many at a node, and what nobody fetches is dropped. Quack 1 has one result for each session, and a new statement
ends it: the node is asked for a `SELECT 1` in the session then.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Callable

from azquack.errors import Refusal, StatementError, UpstreamError
from azquack.gateway.limits import Limits
from azquack.gateway.sessions import Session
from azquack.quack import wire
from azquack.quack.upstream import exchange as ask

log = logging.getLogger(__name__)

DROP = "SELECT 1"
DROPPED = "This result was dropped, for it was not fetched for too long: run the statement again"
# Seconds without a FETCH after which a result may give way to another one.
GRACE = 5.0
EVERY = 1.0


class Results:
    """Counts open results by session; `clock` gives seconds."""

    def __init__(self, limits: Limits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._open: OrderedDict[str, Session] = OrderedDict()
        self._asked: dict[str, float] = {}
        self._busy: set[str] = set()
        self._dropped: OrderedDict[str, str] = OrderedDict()
        self._sweeper: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    async def admit(self, session: Session) -> None:
        """A new statement of `session` ends its result; for one of its own there must be place.

        Raises `Refusal` when its principal, or all at its node, have too many that are being fetched.
        """
        self.close(session)
        self._dropped.pop(session.connection_id, None)
        limits = self._limits
        here = [each for each in self._open.values() if each.node is session.node]
        own = [each for each in here if each.principal.name == session.principal.name]
        for held, most in ((own, limits.results_per_principal), (here, limits.results)):
            if len(held) >= most and not await self._drop_one(held):
                raise Refusal(
                    "results",
                    "Too many results are open and not fetched to their end: fetch or close one, then try again",
                )

    def begin(self, session: Session) -> None:
        """A request of `session` is on its way to the node: its result is not dropped meanwhile."""
        self._busy.add(session.connection_id)

    def end(self, session: Session, *, more: bool | None) -> None:
        """The request was answered; `more` tells whether its result is still open, None that it is as it was."""
        key = session.connection_id
        self._busy.discard(key)
        if more is None:
            return
        if not more:
            self.close(session)
            return
        self._open[key] = session
        self._open.move_to_end(key)
        self._asked[key] = self._clock()
        if self._sweeper is None:
            self._sweeper = asyncio.create_task(self._sweep())

    def close(self, session: Session) -> None:
        """`session` has no open result."""
        self._open.pop(session.connection_id, None)
        self._asked.pop(session.connection_id, None)

    def check(self, session: Session) -> None:
        """Raises `Refusal` when the result of `session` was dropped."""
        if sentence := self._dropped.get(session.connection_id):
            raise Refusal("results", sentence)

    async def drop(self, session: Session, sentence: str) -> bool:
        """Drops the result of `session`, whose next FETCH is told the `sentence`; False where none is open."""
        if session.connection_id not in self._open:
            return False
        await self._drop(session, sentence)
        return True

    async def _drop_one(self, held: list[Session]) -> bool:
        """Drops the one of `held` that was not fetched for longest; whether there is one."""
        idle = [each for each in held if self._age(each) >= GRACE]
        if not idle:
            return False
        await self._drop(max(idle, key=self._age))
        return True

    def _age(self, session: Session) -> float:
        if session.connection_id in self._busy:
            return 0.0
        return self._clock() - self._asked.get(session.connection_id, self._clock())

    async def _drop(self, session: Session, sentence: str = DROPPED) -> None:
        self.close(session)
        self._dropped[session.connection_id] = sentence
        while len(self._dropped) > self._limits.sessions:
            self._dropped.popitem(last=False)
        log.info("dropped a result that was not fetched", extra={"node": session.node.name})
        try:
            await ask(session.node.upstream, wire.prepare(session.ticket.inner, DROP))
        except (StatementError, UpstreamError) as error:
            log.info("a result had gone before it was dropped", extra={"reason": type(error).__name__})

    async def _sweep(self) -> None:
        """Drops what was not fetched for too long, while any result is open."""
        try:
            while self._open:
                await asyncio.sleep(EVERY)
                for session in list(self._open.values()):
                    if self._age(session) >= self._limits.result_seconds:
                        await self._drop(session)
        finally:
            self._sweeper = None
