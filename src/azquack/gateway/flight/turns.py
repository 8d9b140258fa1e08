"""A statement's turn: the thread of its call runs it, between the steps of the pipeline before it and behind it.

gRPC gives every call a thread, and the pipeline runs in an event loop, where the limits and the checks are. The thread
waits for its turn, and the pipeline until that is over.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import duckdb
import pyarrow as pa

from azquack.errors import ClientGone, Refusal
from azquack.gateway import pipeline
from azquack.gateway.excerpt import Texts
from azquack.gateway.flight.calls import GONE, Call
from azquack.gateway.node_session import NodeSession
from azquack.gateway.outcome import Outcome
from azquack.gateway.pipeline import Services
from azquack.gateway.routing import Node
from azquack.gateway.sessions import Session
from azquack.gateway.statement import Statement
from azquack.quack.faults import clear

_READS = frozenset({"SELECT", "EXPLAIN"})
_KEEPS_NOTHING = (
    "Over Flight SQL each statement stands alone, so what a session would keep (SET, USE, what is temporary) is not "
    "taken here: give names in full, and times with their zone"
)
_TRANSACTIONS = "Over Flight SQL a transaction begins and ends by the driver's own calls, not by SQL"


class OwnNode(Node):
    """This process, as the steps of the pipeline know a node: asked for the views, it answers itself."""

    def __init__(
        self, name: str, connection: duckdb.DuckDBPyConnection
    ) -> None:  # no upstream: nothing is sent
        self._called = name
        self._connection = connection
        self.sessions = self.running = 0

    @property
    def name(self) -> str:
        return self._called

    @asynccontextmanager
    async def own_session(self) -> AsyncIterator[Any]:
        cursor = self._connection.cursor()
        try:
            yield asking(cursor)
        finally:
            cursor.close()


def asking(cursor: duckdb.DuckDBPyConnection) -> NodeSession:
    """How the pipeline asks in the session of `cursor`."""

    async def text(sql: str) -> str:
        rows = await asyncio.to_thread(lambda: cursor.execute(sql).fetchall())
        return str(rows[0][0] or "") if rows else ""

    async def run(sql: str) -> bytes:
        await text(sql)
        return b""

    return NodeSession(run, text)


@dataclass(slots=True)
class Transaction:
    """An open one: its cursor, and whose it is. `lock` is held by the statement that runs in it."""

    session: Session
    cursor: duckdb.DuckDBPyConnection
    used: float = field(default_factory=time.monotonic)
    lock: threading.Lock = field(default_factory=threading.Lock)


class Turn:
    """A statement's time between the steps before it and those behind it."""

    def __init__(self, statement: Statement, services: Services, loop: asyncio.AbstractEventLoop) -> None:
        self._sql: Future[str] = Future()
        self._left: Future[Outcome] = Future()
        if statement.table is None:
            work = pipeline.run(statement, self._execute, services)
        else:
            work = pipeline.insert(statement, _received, self._execute, services)
        self._whole = asyncio.run_coroutine_threadsafe(work, loop)
        self._whole.add_done_callback(self._finished)

    def enter(self) -> str:
        """What DuckDB shall run, once it may. Raises `Refusal`."""
        return self._sql.result()

    def leave(self, outcome: Outcome | Exception) -> None:
        """The statement is over; returns when that is noted."""
        if not self._left.done():
            if isinstance(outcome, Outcome):
                self._left.set_result(outcome)
            else:
                self._left.set_exception(outcome)
        self._whole.exception()

    async def _execute(self, statement: Statement) -> Outcome:
        _refuse_session(statement)
        self._sql.set_result(statement.sql)
        return await asyncio.wrap_future(self._left)

    def _finished(self, whole: Future[Outcome]) -> None:
        if not self._sql.done():
            self._sql.set_exception(whole.exception() or ClientGone())


async def _received() -> None:
    """The rows of an insert are read as DuckDB takes them."""


def _refuse_session(statement: Statement) -> None:
    verdict = statement.verdict
    if verdict is None:
        return
    kinds = verdict.kind.split(",")
    if "TRANSACTION" in kinds:
        raise Refusal("unsupported", _TRANSACTIONS)
    if verdict.touches or "SET" in kinds:
        raise Refusal("unsupported", _KEEPS_NOTHING)


class Running:
    """A statement that runs: `sql` is what DuckDB gets, `cursor` where. Leave it in every case."""

    def __init__(
        self, call: Call, statement: Statement, turn: Turn, sql: str, held: Transaction | None
    ) -> None:
        self.call, self.statement, self.sql = call, statement, sql
        self._turn, self._held = turn, held
        self._over = False
        assert call.cursor is not None
        self.cursor = call.cursor

    @property
    def reads(self) -> bool:
        """Whether it changes nothing, by its kind."""
        return self.statement.verdict is None or _READS.issuperset(self.statement.verdict.kind.split(","))

    def run(self, sql: str, parameters: Sequence[Any] | None = None) -> duckdb.DuckDBPyConnection:
        """Runs `sql` with `parameters`. Raises `Refusal`, `duckdb.Error`."""
        self.call.check()
        return self.cursor.execute(sql, list(parameters)) if parameters else self.cursor.execute(sql)

    def failed(self, error: Exception) -> Exception:
        """Leaves it with `error`; what the client is to be told."""
        if self.call.ended == GONE:
            self.leave(ClientGone())
            return ClientGone()
        try:
            self.call.check()
        except Refusal as refusal:
            self.leave(refusal)
            return refusal
        if isinstance(error, duckdb.Error | pa.ArrowException):
            text = clear(Texts(self.statement.written, self.sql).own(str(error)))
            self.leave(Outcome("error", said=text))
            return Refusal("statement", text)
        self.leave(error)
        return error

    def leave(self, outcome: Outcome | Exception) -> None:
        """It is over."""
        if self._over:
            return
        self._over = True
        try:
            self._turn.leave(outcome)
        finally:
            self.call.cursor = None
            if self._held is None:
                close(self.cursor)
            else:
                self._held.used = time.monotonic()
                self._held.lock.release()


def close(cursor: duckdb.DuckDBPyConnection) -> None:
    """Ends `cursor` and what it has open. To close it alone would do so under Python's lock, which the link needs."""
    with suppress(duckdb.Error):
        cursor.execute("ROLLBACK")
    cursor.close()
