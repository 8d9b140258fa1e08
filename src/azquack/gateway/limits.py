"""How much one address, one principal and all together may ask for."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from azquack.config import sizes
from azquack.errors import Refusal

KEYS = 10_000


@dataclass(frozen=True, slots=True)
class Limits:
    """The numbers: rates per second, with a burst of ten seconds' worth; sizes in bytes, waits in seconds."""

    login_bytes: int = 32 << 10
    statement_bytes: int = sizes.STATEMENT
    body_bytes: int = 256 << 20
    bodies_bytes: int = 512 << 20
    head_bytes: int = 16 << 10
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    read_seconds: float = 60.0
    idle_seconds: float = 30.0
    connections: int = 2000
    connections_per_address: int = 500
    unknown_connections: int = 500
    login_seconds: float = 10.0
    requests_per_address: float = 2000.0
    requests_per_principal: float = 2000.0
    failed_logins: int = 20
    failed_login_seconds: float = 60.0
    sessions: int = 2000
    sessions_per_principal: int = 500
    session_idle_seconds: float = 3600.0
    statement_seconds: float = 900.0
    abandoned_seconds: float = 5.0
    interrupt_seconds: float = 30.0
    statements: int = 64
    statements_per_principal: int = 32
    results: int = 64
    results_per_principal: int = 16
    result_seconds: float = 300.0
    messages_bytes: int = 512 << 20
    queue: int = 500
    queue_seconds: float = 30.0
    node_wait_seconds: float = 10.0


class Rate:
    """A token bucket per key: `per_second` on average, ten times that at once. Forgets keys long unseen."""

    def __init__(self, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = max(1.0, per_second * 10)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allow(self, key: str) -> bool:
        """Takes one from `key`'s bucket; False when it is empty."""
        return self.wait(key, 0.0) == 0.0

    def wait(self, key: str, longest: float) -> float:
        """Takes one from `key`'s bucket: the seconds until it is there; infinite, and none taken, beyond `longest`."""
        now = self._clock()
        level, then = self._buckets.pop(key, (self._burst, now))
        level = min(self._burst, level + (now - then) * self._per_second)
        seconds = max(0.0, 1.0 - level) / self._per_second
        if seconds > longest:
            seconds = math.inf
        else:
            level -= 1.0
        self._buckets[key] = (level, now)
        if len(self._buckets) > KEYS:
            self._buckets.popitem(last=False)
        return seconds


class Failures:
    """Failed logins per address: after `limit` within `seconds` the address waits."""

    def __init__(self, limit: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._seconds = seconds
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def blocked(self, key: str) -> bool:
        """Whether `key` has failed too often of late."""
        times = self._times.get(key)
        if not times:
            return False
        while times and times[0] < self._clock() - self._seconds:
            times.popleft()
        return len(times) >= self._limit

    def add(self, key: str) -> None:
        """Notes a failure of `key`."""
        times = self._times.setdefault(key, deque(maxlen=self._limit))
        times.append(self._clock())
        self._times.move_to_end(key)
        if len(self._times) > KEYS:
            self._times.popitem(last=False)


class Busy(Refusal):
    """No slot came free in time."""

    def __init__(self, sentence: str) -> None:
        super().__init__("busy", sentence)


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One who waits for `count` slots."""

    name: str
    count: int
    comes: asyncio.Future[None]


class Slots:
    """What is had at once: `total` by all, `each` by one principal, and a queue that waits its turn.

    A statement takes one slot, a request as many as it has bytes.
    """

    def __init__(self, total: int, each: int, queue: int, seconds: float) -> None:
        self._total = total
        self._each = each
        self._queue = queue
        self._seconds = seconds
        self._running: dict[str, int] = {}
        self._sum = 0
        self._waiting: deque[Turn] = deque()

    @property
    def running(self) -> int:
        """Slots that are taken."""
        return self._sum

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, name: str, count: int = 1) -> AsyncIterator[None]:
        """`count` slots of principal `name`. Raises `Busy` when the queue is full or the wait too long."""
        if not self._fits(name, count):
            await self._queued(name, count)
        else:
            self._enter(name, count)
        try:
            yield
        finally:
            self._leave(name, count)

    def _fits(self, name: str, count: int) -> bool:
        return self._sum + count <= self._total and self._running.get(name, 0) + count <= self._each

    def _enter(self, name: str, count: int) -> None:
        self._running[name] = self._running.get(name, 0) + count
        self._sum += count

    async def _queued(self, name: str, count: int) -> None:
        if len(self._waiting) >= self._queue:
            raise Busy("Too many statements wait here already: try again in a moment")
        turn = Turn(name, count, asyncio.get_running_loop().create_future())
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._seconds):
                await turn.comes
        except TimeoutError:
            if not turn.comes.done() or turn.comes.cancelled():
                self._forget(turn)
                raise Busy(
                    f"No slot for this statement came free in {self._seconds:g} s: try again in a moment"
                ) from None
        except BaseException:
            if turn.comes.done() and not turn.comes.cancelled():
                self._leave(name, count)
            else:
                self._forget(turn)
            raise

    def _forget(self, turn: Turn) -> None:
        if turn in self._waiting:
            self._waiting.remove(turn)

    def _leave(self, name: str, count: int) -> None:
        self._sum -= count
        self._running[name] -= count
        if not self._running[name]:
            del self._running[name]
        if not self._waiting:
            return
        for turn in list(self._waiting):
            if self._sum >= self._total:
                return
            if turn.comes.done():
                self._waiting.remove(turn)
            elif self._fits(turn.name, turn.count):
                self._waiting.remove(turn)
                self._enter(turn.name, turn.count)
                turn.comes.set_result(None)
