"""The end of what is on its way at a node before its time: one statement is interrupted, and nothing else.

Quack 1 cannot cancel, so its node is asked over the supervisor to interrupt the connection of DuckDB's that the
statement runs in. DuckDB forgets an interrupt that comes before a statement has begun, so it is repeated. What does not
react (it waits for a network, or is within one long call of a function) goes on; where that must not be, its node is
ended once `Limits.interrupt_seconds` are over, and so are all sessions of that node.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from azquack.errors import Refusal
from azquack.gateway.limits import Limits
from azquack.gateway.ports import Replica
from azquack.quack.lost import AGAIN, UNCERTAIN

NOTHING_KEPT = ": nothing of it was kept"
# DuckDB's word for it, and seconds between two interrupts of one statement.
INTERRUPTED = "Interrupted!"
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0
# Seconds after which it pays to watch whether a client is still there.
PATIENCE = 0.5


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something is stopped: a `word` for metrics and audit log, the `sentence` for its user without its period.

    `force`: its node may be ended for it. `by` is who cancelled it.
    """

    word: str
    sentence: str
    force: bool = True
    by: str = ""


def timed_out(seconds: float) -> Reason:
    """It ran for the longest time that a statement may."""
    return Reason("timeout", f"This statement ran longer than {seconds:.0f} s and was stopped")


def abandoned(seconds: float) -> Reason:
    """Its client has left."""
    return Reason("abandoned", f"This statement was stopped {seconds:.0f} s after its client had left")


def cancelled(by: str, *, force: bool) -> Reason:
    """Somebody wants it."""
    return Reason("cancelled", f"This statement was cancelled by {by}", force, by)


class Stopped(Refusal):
    """It was stopped. `certain`: DuckDB has said so itself, and else whether it took effect is not known.

    `end` is what became of it, behind the reason; `told` says that there is one.
    """

    def __init__(self, reason: Reason, end: str = "", *, certain: bool = True) -> None:
        if not certain:
            end = f", but its node could not be brought to end it alone; {UNCERTAIN}. Look, and {AGAIN}"
        super().__init__(reason.word, f"{reason.sentence}{end}")
        self.why = reason
        self.told = bool(end)


class Stoppable(Protocol):
    """Something that a session has on its way."""

    def stop(self, reason: Reason) -> None:
        """Has it end as soon as it can."""

    async def over(self) -> None:
        """Returns when it has ended."""


class Flight:
    """A message on its way to the connection `number` (0: not known) of `node`; entered before it is sent.

    `patience` ends the wait for an answer that will not come. What is not `interruptible` is a COMMIT, which goes on
    elsewhere: it would be said to be interrupted, and be kept.
    """

    def __init__(self, replica: Replica, limits: Limits, node: str, number: int) -> None:
        self._replica = replica
        self._limits = limits
        self._node = node
        self.number = number
        self._loop = asyncio.get_running_loop()
        self._timers: list[asyncio.TimerHandle] = []
        self._watch: asyncio.Task[None] | None = None
        self._stopping: asyncio.Task[None] | None = None
        self._ended: asyncio.Event | None = None
        self._deadline = 0.0
        self._is_over = False
        self.patience = asyncio.timeout(None)
        self.interruptible = True
        self.reason: Reason | None = None

    def __enter__(self) -> Self:
        self._timers.append(self._loop.call_later(self._limits.statement_seconds, self._time_out))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        for timer in self._timers:
            timer.cancel()
        if self._watch is not None:
            self._watch.cancel()
        if self._ended is not None:
            self._ended.set()

    def watch(self, client_gone: Callable[[], Awaitable[None]]) -> None:
        """Stops it a while after the client has left, who is looked after once it has taken some time."""
        self._timers.append(self._loop.call_later(PATIENCE, self._begin_watch, client_gone))

    def stop(self, reason: Reason) -> None:
        """Begins to interrupt it; the first reason counts, and the first that allows to end the node for that."""
        if self._is_over:
            return
        if self.reason is None:
            self.reason = reason
        if reason.force and not self._deadline:
            self._deadline = self._loop.time() + self._limits.interrupt_seconds
        if self._stopping is None:
            self._ended = asyncio.Event()
            self._stopping = self._loop.create_task(self._stop(self._ended))

    async def over(self) -> None:
        """Returns when it has ended."""
        if self._ended is not None:
            await self._ended.wait()

    async def settled(self) -> None:
        """Returns when no interrupt is on its way any more, which would meet the next statement of the session."""
        if self._stopping is not None:
            await self._stopping

    def given_up(self) -> Stopped:
        """What is said when `patience` is over."""
        assert self.reason is not None
        return Stopped(self.reason, certain=False)

    def _time_out(self) -> None:
        self.stop(timed_out(self._limits.statement_seconds))

    def _begin_watch(self, client_gone: Callable[[], Awaitable[None]]) -> None:
        self._watch = self._loop.create_task(self._after_client(client_gone))

    async def _after_client(self, client_gone: Callable[[], Awaitable[None]]) -> None:
        await client_gone()
        await asyncio.sleep(self._limits.abandoned_seconds)
        self.stop(abandoned(self._limits.abandoned_seconds))

    async def _stop(self, ended: asyncio.Event) -> None:
        pause = FIRST_PAUSE
        while not ended.is_set():
            possible = None
            if self.number:
                possible = self.interruptible and await self._replica.interrupt(self._node, self.number)
            if ended.is_set():
                return
            if self._deadline and (possible is None or self._loop.time() >= self._deadline):
                self._end_node()
                return
            try:
                async with asyncio.timeout(pause):
                    await ended.wait()
            except TimeoutError:
                pause = min(pause * 2, LONGEST_PAUSE)

    def _end_node(self) -> None:
        assert self.reason is not None
        sentence = self.reason.sentence.replace("This", "a", 1)
        self._replica.end_node(self._node, f"{sentence}, but could not be brought to an end alone")
        self.patience.reschedule(self._loop.time())
