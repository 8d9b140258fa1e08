"""Reads of DuckLake that the newest snapshot decides, answered from memory while that snapshot stays.

DuckLake asks for the newest snapshot at the start of every transaction, and then for what that snapshot holds.
Snapshots only grow, so when the same one was the newest before a read was asked and after it was answered, the
answer is the one for that snapshot, and holds until a newer one is seen. A commit of this node proves the same:
no other snapshot can have come between the one it began with and its own. And where the text of the commit names
none of the tables of a read, the answer holds for the new snapshot as well.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass

from azquack.catalog.link.catalog import Catalog, Counters, Hold, Session
from azquack.catalog.link.commits import read
from azquack.catalog.link.moves import Moves, Subject, guarded, lists_files, newest_snapshot, subject_of
from azquack.catalog.link.statements import is_of_snapshot, tables_of
from azquack.errors import WireError
from azquack.quack import wire

MOST_BYTES = 32 << 20
# What another node expires or cleans up takes away no newer snapshot: forget even a quiet lake now and then.
LONGEST = 60.0
# Seconds after which a snapshot that was the newest may be expired, and its rows moved.
AT_ONCE = 0.1
# An answer that has to be fetched in parts cannot be given twice; with fewer chunks per part it might be one.
WHOLE_CHUNKS = 1024


@dataclass(frozen=True, slots=True)
class _Answer:
    content: bytes
    session: Session
    at: float


@dataclass(frozen=True, slots=True)
class _Snapshot:
    generation: int
    id: int
    content: bytes


@dataclass(frozen=True, slots=True)
class _Carried:
    """Answers that hold for a snapshot of this node's own, should that be the newest when it is next asked."""

    generation: int
    snapshot: int
    since: float
    known: dict[str, _Answer]


class Reads:
    """Answers to the reads of one node."""

    def __init__(self, catalog: Catalog, counters: Counters) -> None:
        self._catalog = catalog
        self._counters = counters
        self._snapshot: _Snapshot | None = None
        self._since = 0.0
        self._moves = Moves()
        self._asked = -math.inf
        self._carried: _Carried | None = None
        self._known: dict[str, _Answer] = {}
        self._unproven: dict[str, _Answer] = {}
        self._bytes = 0
        self._whole: tuple[int, bool] = (-1, False)

    async def newest(self, sql: str, hold: Hold, query_id: int | None) -> tuple[bytes, Session]:
        """The answer to DuckLake's question for the newest snapshot, always the catalog's own."""
        asked = asyncio.get_running_loop().time()
        content, session = await read(self._catalog, sql, hold, query_id)
        try:
            newest = wire.parse_bigints(content)[0]
        except (WireError, IndexError):
            self.forget()
            return content, session
        # The end of the answer is the id of the result, new each time.
        snapshot = _Snapshot(self._catalog.generation, newest, content[: content.rfind(b"\xff\xff\x05\x00")])
        self._asked = max(self._asked, asked)
        if snapshot != self._snapshot or asked - self._since > LONGEST:
            carried = self._carried
            self.forget()
            self._snapshot, self._since = snapshot, asked
            if (
                carried is not None
                and (carried.generation, carried.snapshot) == (snapshot.generation, snapshot.id)
                and asked - carried.since <= LONGEST
            ):
                self._known, self._since = carried.known, carried.since
                self._bytes = sum(len(each.content) for each in self._known.values())
        else:
            proven = [text for text, answer in self._unproven.items() if answer.at < asked]
            for text in proven:
                self._known[text] = self._unproven.pop(text)
        return content, session

    async def answer(self, sql: str, hold: Hold, query_id: int | None) -> tuple[bytes, Session]:
        """The answer to a read, from memory where that is known to be right."""
        now, subject = asyncio.get_running_loop().time, subject_of(sql)
        if subject is not None and self._moves.is_over(subject, now()):
            self._moves.end(subject)
            self.forget()
        if known := self._known.get(sql):
            self._counters.cached += 1
            content, session = known.content, known.session
        else:
            content, session = await self._asked_for(sql, subject, hold, query_id)
        if subject is not None:
            self._moves.told(subject, now())
        return content, session

    async def _asked_for(
        self, sql: str, subject: Subject | None, hold: Hold, query_id: int | None
    ) -> tuple[bytes, Session]:
        """The catalog's answer, which is kept where it holds for the snapshot."""
        snapshot = self._snapshot
        text = sql if subject is None else await self._guarded(sql, subject, hold)
        content, session = await read(self._catalog, text, hold, query_id)
        if snapshot is not None and is_of_snapshot(sql) and await self._answers_are_whole(hold):
            self._bytes += len(content)
            if self._bytes > MOST_BYTES:
                self.forget()
            elif snapshot is self._snapshot:
                at = asyncio.get_running_loop().time()
                self._unproven[sql] = _Answer(content, session, at)
        return content, session

    async def _guarded(self, sql: str, subject: Subject, hold: Hold) -> str:
        """`sql`, which fails where it would not fit to what was answered about `subject` before."""
        since = self._moves.since(subject)
        if since is None and not lists_files(sql):
            # Whoever asks this was told of the files, longer ago than is remembered.
            return guarded(sql, subject, subject.snapshot)
        if since is None:
            newest, age = self._snapshot, asyncio.get_running_loop().time() - self._asked
            if newest is not None and newest.id == subject.snapshot and age <= AT_ONCE:
                # Nothing was answered before, and the snapshot was there a moment ago.
                self._moves.begin(subject, newest.id)
                return sql
            content, _ = await read(self._catalog, newest_snapshot(sql), hold)
            since = wire.parse_bigints(content)[0]
            self._moves.begin(subject, since)
        return guarded(sql, subject, since)

    def committed(self, snapshot: int, text: str, sent: float) -> None:
        """Keeps what `text`, the transaction with which this node made `snapshot`, cannot have changed.

        `sent` is a time of the loop before it was sent.
        """
        held, since = self._snapshot, self._since
        proven = {read: answer for read, answer in self._unproven.items() if answer.at < sent}
        known = self._known | proven
        self.forget()
        if held is not None and (held.generation, held.id + 1) == (self._catalog.generation, snapshot):
            changed = tables_of(text)
            kept = {read: answer for read, answer in known.items() if changed.isdisjoint(tables_of(read))}
            self._carried = _Carried(held.generation, snapshot, since, kept)

    def forget(self) -> None:
        """Asks the catalog again for everything. Called around every write that makes no snapshot, and every
        commit that failed."""
        self._snapshot = self._carried = None
        self._known = {}
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
