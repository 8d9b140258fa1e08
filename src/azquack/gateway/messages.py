"""How large the messages of a node's results may be, so that many at once fit into its memory.

A node makes each message whole before it sends the first byte: `quack_fetch_batch_chunks` vectors of rows (12, of 2,048
rows each), however wide a row is, and DuckDB's memory limit does not count them. Few statements at once, or narrow
rows, are answered with the most, which is fastest; many wide ones with fewer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from azquack.errors import StatementError, UpstreamError, WireError
from azquack.gateway.routing import Node

log = logging.getLogger(__name__)

SETTING = "quack_fetch_batch_chunks"
MOST = 12
# With one, each answer of a single vector would be asked for more.
LEAST = 2
# Bytes of a vector of somebody's rows (2,048) while nobody knows them, and once a few answers were short.
UNKNOWN = 8 << 20
SHORT = 4 << 20
# Seconds that a statement waits for that to be set.
PATIENCE = 5.0
# Names of principals whose rows are remembered.
REMEMBERED = 10_000


@dataclass(slots=True)
class _Load:
    """What a node is asked for at once: bytes for one vector of each message, and the vectors that it puts into one.

    `long`: a result was seen that took more than one message since that was set.
    """

    need: float = 0.0
    chunks: int = MOST
    long: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(slots=True)
class Answer:
    """How many `bytes` a message had, and whether there was `more` to come behind it: it was full, then."""

    bytes: int = 0
    more: bool = False


class Messages:
    """Keeps what all messages of a node take at once near `budget` bytes, by what principals' rows were like before."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._widths: dict[str, float] = {}
        self._loads: WeakKeyDictionary[Node, _Load] = WeakKeyDictionary()

    @asynccontextmanager
    async def hold(self, node: Node, principal: str) -> AsyncIterator[Answer]:
        """A message of `node` to a statement or FETCH of `principal`; tell the answer before it ends."""
        load = self._loads.setdefault(node, _Load())
        width = self._widths.get(principal, UNKNOWN)
        load.need += width
        answer = Answer()
        try:
            await self._fit(node, load)
            yield answer
        finally:
            load.need = max(0.0, load.need - width)
            self._learn(principal, answer, load)

    def chunks(self, need: float) -> int:
        """How many vectors fit into each message when one vector of all takes `need` bytes."""
        return max(LEAST, min(MOST, int(self._budget / need)))

    async def _fit(self, node: Node, load: _Load) -> None:
        while self._is_off(load):
            async with load.lock:
                if not self._is_off(load):
                    return
                wanted = self.chunks(load.need)
                try:
                    async with asyncio.timeout(PATIENCE), node.own_session() as session:
                        await session.run(f"SET GLOBAL {SETTING} = {wanted}")
                except (UpstreamError, StatementError, WireError, TimeoutError) as error:
                    # The statement that follows finds out what is wrong with the node.
                    facts = {"node": node.name, "reason": str(error) or "no answer in time"}
                    log.warning("the size of a node's messages stays", extra=facts)
                load.chunks, load.long = wanted, False

    def _is_off(self, load: _Load) -> bool:
        """Whether vectors are too many, or too few for a long result; short ones gain nothing, so they set nothing."""
        wanted = self.chunks(load.need)
        more = wanted > load.chunks and (wanted == MOST or wanted >= 2 * load.chunks)
        return wanted < load.chunks or (load.long and more)

    def _learn(self, principal: str, answer: Answer, load: _Load) -> None:
        load.long = load.long or answer.more
        known = self._widths.pop(principal, UNKNOWN)
        seen = answer.bytes / load.chunks if answer.more else min(known, SHORT)
        # Wide rows count at once, narrow ones after some messages.
        self._widths[principal] = seen if seen > known else (3 * known + seen) / 4
        while len(self._widths) > REMEMBERED:
            del self._widths[next(iter(self._widths))]
