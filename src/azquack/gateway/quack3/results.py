"""The results of a session: batches that are asked for by number, and again until they were acknowledged.

A batch is one message of the node. It is held until the client has it, so that it can be asked for again. No more of a
result than `HELD` bytes, or one batch, is held: what is asked for beyond that waits until the client acknowledges.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from azquack.errors import Refusal
from azquack.gateway.statement import Reply
from azquack.quack import wire3

HELD = 32 << 20
# Batches ahead of those that are there: DuckDB asks for a few at once.
AHEAD = 256
CLOSED = "Result has been closed"
UNACKNOWLEDGED = (
    "The batches of this result that were sent are not acknowledged, so that no further one can be held: acknowledge "
    "them with the next FETCH"
)

# The chunks of the next batch from the node; none at the end.
Next = Callable[[Reply], Awaitable[list[bytes]]]


@dataclass(slots=True, eq=False)
class Result:
    """The result of the statement `query`, of which `fetch` brings further batches; None: there are none."""

    query: int
    fetch: Next | None
    patience: float
    """Seconds after which it is dropped if nobody asks; half of them waits a batch for an acknowledgement of others."""
    asked: float = field(default_factory=time.monotonic)
    """When it was last asked for."""
    made: int = 0
    total: int | None = None
    acknowledged: int = 0
    failure: Refusal | None = None
    _asking: int = 0
    _held: dict[int, bytes] = field(default_factory=dict)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_open(self) -> bool:
        """Whether there is more of it at its node."""
        return self.fetch is not None

    @property
    def is_forgotten(self) -> bool:
        """Whether nobody has asked for it for so long that a batch would not wait either."""
        idle = not self._asking and time.monotonic() - self.asked > self.patience
        return idle and bool(self.is_open or self._held)

    @property
    def held(self) -> int:
        """Bytes that are held of it."""
        return sum(map(len, self._held.values()))

    def add(self, chunks: list[bytes]) -> None:
        """Holds a further batch."""
        self.made += 1
        self._held[self.made] = wire3.fetched(chunks, index=self.made)

    def end(self) -> None:
        """There is no more of it at its node."""
        self.fetch, self.total = None, self.made

    def fail(self, refusal: Refusal) -> None:
        """It is over; who asks for more of it is told `refusal`."""
        self.failure, self.fetch = self.failure or refusal, None
        self._held.clear()
        self._room.set()

    def acknowledge(self, index: int) -> None:
        """The client has every batch up to `index`."""
        self.acknowledged = max(self.acknowledged, min(index, self.made))
        for each in [each for each in self._held if each <= index]:
            del self._held[each]
        self._room.set()

    async def batch(self, index: int, reply: Reply) -> bytes:
        """The message that brings batch `index`, or tells the end. Raises `Refusal`."""
        if self.failure is not None:
            raise self.failure
        if not 0 < index <= self.made + AHEAD:
            raise Refusal(
                "batch", "This FETCH asks for no batch of its result: batches count from 1, in their order"
            )
        self._asking += 1
        try:
            return await self._found(index, reply)
        finally:
            self._asking -= 1
            self.asked = time.monotonic()

    async def _found(self, index: int, reply: Reply) -> bytes:
        while True:
            if self.failure is not None:
                raise self.failure
            if (held := self._held.get(index)) is not None:
                return held
            if index <= self.acknowledged:
                raise Refusal(
                    "batch", f"Batch {index} of this result was acknowledged, and is not held any more"
                )
            if self.total is not None and index > self.total:
                return wire3.fetched((), total=self.total)
            await self._next(index, reply)

    async def settle(self, reply: Reply) -> None:
        """Takes what is left of it from its node, whose connection is wanted; more than is held at once ends it."""
        async with self._lock:
            while self.fetch is not None:
                if self.held >= HELD:
                    self.fail(
                        Refusal("results", f"{CLOSED}: another statement of its transaction has ended it")
                    )
                    return
                await self._produce(reply)

    async def _next(self, index: int, reply: Reply) -> None:
        """Has one batch more made, unless that was done meanwhile. Raises `Refusal`."""
        async with self._lock:
            if index <= self.made or self.fetch is None:
                return
            if self.held < HELD:
                await self._produce(reply)
                return
            self._room.clear()
        try:
            async with asyncio.timeout(self.patience / 2):
                await self._room.wait()
        except TimeoutError:
            raise Refusal("batch", UNACKNOWLEDGED) from None

    async def _produce(self, reply: Reply) -> None:
        assert self.fetch is not None
        try:
            chunks = await self.fetch(reply)
        except Refusal as refusal:
            self.fail(refusal)
            raise
        if self.fetch is None:
            return
        if chunks:
            self.add(chunks)
        else:
            self.end()
