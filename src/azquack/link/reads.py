"""Reads of DuckLake that the newest snapshot decides, answered from memory while that snapshot stays.

DuckLake asks for the newest snapshot at the start of every transaction, and then for what that snapshot holds.
Snapshots only grow, so when the same one was the newest before a read was asked and after it was answered, the
answer is the one for that snapshot, and holds until a newer one is seen.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from azquack import wire
from azquack.errors import WireError
from azquack.link.catalog import Catalog, Counters, Hold, Session
from azquack.link.commits import read
from azquack.link.statements import is_of_snapshot

MOST_BYTES = 32 << 20
# What another node expires or cleans up takes away no newer snapshot: forget even a quiet lake now and then.
LONGEST = 60.0
# An answer that has to be fetched in parts cannot be given twice; with fewer chunks per part it might be one.
WHOLE_CHUNKS = 1024


@dataclass(frozen=True, slots=True)
class _Answer:
    content: bytes
    session: Session
    at: float


class Reads:
    """Answers to the reads of one node."""

    def __init__(self, catalog: Catalog, counters: Counters) -> None:
        self._catalog = catalog
        self._counters = counters
        self._snapshot: tuple[int, bytes] | None = None
        self._since = 0.0
        self._known: dict[str, _Answer] = {}
        self._unproven: dict[str, _Answer] = {}
        self._bytes = 0
        self._whole: tuple[int, bool] = (-1, False)

    async def newest(self, sql: str, hold: Hold, query_id: int | None) -> tuple[bytes, Session]:
        """The answer to DuckLake's question for the newest snapshot, always the catalog's own."""
        now = asyncio.get_running_loop().time
        asked = now()
        content, session = await read(self._catalog, sql, hold, query_id)
        # The end of the answer is the id of the result, new each time.
        snapshot = (self._catalog.generation, content[: content.rfind(b"\xff\xff\x05\x00")])
        if snapshot != self._snapshot or asked - self._since > LONGEST:
            self.forget()
            self._snapshot, self._since = snapshot, asked
        else:
            proven = [text for text, answer in self._unproven.items() if answer.at < asked]
            for text in proven:
                self._known[text] = self._unproven.pop(text)
        return content, session

    async def answer(self, sql: str, hold: Hold, query_id: int | None) -> tuple[bytes, Session]:
        """The answer to a read, from memory where that is known to be right."""
        if known := self._known.get(sql):
            self._counters.cached += 1
            return known.content, known.session
        snapshot = self._snapshot
        content, session = await read(self._catalog, sql, hold, query_id)
        if snapshot is not None and is_of_snapshot(sql) and await self._answers_are_whole(hold):
            self._bytes += len(content)
            if self._bytes > MOST_BYTES:
                self.forget()
            elif snapshot is self._snapshot:
                at = asyncio.get_running_loop().time()
                self._unproven[sql] = _Answer(content, session, at)
        return content, session

    def forget(self) -> None:
        """Asks the catalog again for everything. Called around every write of this node."""
        self._snapshot = None
        self._known.clear()
        self._unproven.clear()
        self._bytes = 0

    async def _answers_are_whole(self, hold: Hold) -> bool:
        generation, whole = self._whole
        if generation != self._catalog.generation:
            generation = self._catalog.generation
            setting = "SELECT current_setting('quack_fetch_batch_chunks')::VARCHAR AS chunks"
            content, _ = await read(self._catalog, setting, hold)
            try:
                whole = int(wire.parse_text(content)) >= WHOLE_CHUNKS
            except (WireError, ValueError):
                whole = False
            self._whole = generation, whole
        return whole
