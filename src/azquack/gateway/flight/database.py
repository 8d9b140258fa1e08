"""Statements at the DuckDB of this very process, each on its way through the pipeline."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import duckdb
import pyarrow as pa

from azquack.errors import Refusal
from azquack.gateway.flight.calls import Call, Calls
from azquack.gateway.flight.turns import OwnNode, Running, Transaction, Turn, asking
from azquack.gateway.outcome import Outcome
from azquack.gateway.pipeline import Services
from azquack.gateway.ports import Principal
from azquack.gateway.seal import Ticket as Seat
from azquack.gateway.sessions import Session
from azquack.gateway.statement import Statement, Table
from azquack.gateway.transactions import Open

BESIDE = "azquack_beside"
"""An empty database of the process, in memory, in which names are sought that are none of the lake."""
READ_ONLY = "BEGIN TRANSACTION READ ONLY"
_BUSY = "Another statement of this transaction is running: read its result to the end first"


class Database:
    """Runs statements of calls at `connection`; `reads_only` when it was opened so."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        services: Services,
        calls: Calls,
        loop: asyncio.AbstractEventLoop,
        name: str,
    ) -> None:
        self.connection, self.calls = connection, calls
        self._services, self._loop = services, loop
        self._node = OwnNode(name, connection)

    def session(self, principal: Principal, number: str, cursor: duckdb.DuckDBPyConnection) -> Session:
        """The session of a call, or of the transaction `number`, as the pipeline knows sessions."""
        seat = Seat(
            "", self._node.name, principal.name, principal.role, principal.fingerprint, principal.expires
        )
        session = Session(number, seat, principal, self._node, asking(cursor), time.time(), untouched=True)
        session.transaction.unsure = False
        return session

    def begin(self, principal: Principal, number: str) -> Transaction:
        """A new transaction; one of a reader cannot write."""
        cursor = self.connection.cursor()
        session = self.session(principal, number, cursor)
        session.transaction.open = Open()
        cursor.execute(READ_ONLY if principal.role == "reader" else "BEGIN TRANSACTION")
        return Transaction(session, cursor)

    def start(
        self,
        call: Call,
        principal: Principal,
        sql: str,
        *,
        transaction: Transaction | None = None,
        own: bool = False,
        table: Table | None = None,
    ) -> Running:
        """`sql`, or an insert into `table`, which may run now. Raises `Refusal`.

        Outside of a transaction, what only reads, and all of a reader, runs in one that cannot write.
        """
        if transaction is not None and not transaction.lock.acquire(blocking=False):
            raise Refusal("transaction", _BUSY)
        cursor = transaction.cursor if transaction else self.connection.cursor()
        number = call.number or f"flight {principal.fingerprint}"
        session = transaction.session if transaction else self.session(principal, number, cursor)
        statement = Statement(session, call, sql, own=own, table=table)
        try:
            turn = Turn(statement, self._services, self._loop)
            sent = turn.enter()
        except BaseException:
            if transaction is not None:
                transaction.lock.release()
            else:
                cursor.close()
            raise
        call.cursor, call.began = cursor, time.monotonic()
        running = Running(call, statement, turn, sent, transaction)
        if transaction is None and (principal.role == "reader" or (running.reads and table is None)):
            try:
                running.run(READ_ONLY)
            except Exception as error:
                raise running.failed(error) from None
        return running

    @contextmanager
    def running(self, call: Call, principal: Principal, sql: str, **more: Any) -> Iterator[Running]:
        """The same for what is over within; it ended well unless something is raised."""
        running = self.start(call, principal, sql, **more)
        try:
            yield running
        except Exception as error:
            raise running.failed(error) from None
        running.leave(Outcome("ok"))

    def write(
        self, call: Call, principal: Principal, sql: str, rows: Sequence[Sequence[Any]] = (), **more: Any
    ) -> int:
        """Runs `sql`, once for each of `rows` of parameters where there are any, all or nothing; the rows changed."""
        with self.running(call, principal, sql, **more) as running:
            single = len(rows) <= 1 or more.get("transaction") is not None
            if not single:
                running.run("BEGIN TRANSACTION")
            changed = sum(_changed(running.run(running.sql, row)) for row in (rows or [()]))
            if not single:
                running.run("COMMIT")
            running.statement.outcome = Outcome("ok", changed)
            running.leave(Outcome("ok", changed))
        return changed

    def schema(self, call: Call, principal: Principal, sql: str, **more: Any) -> pa.Schema | None:
        """That of the result of `sql`, which is not run for it; None where it only changes something."""
        with self.running(call, principal, sql, **more) as running:
            return described(running)


def described(running: Running) -> pa.Schema | None:
    """The schema of a statement's result."""
    verdict = running.statement.verdict
    if not running.reads:
        return None
    if verdict is not None and "EXPLAIN" in verdict.kind:
        return pa.schema([("explain_key", pa.string()), ("explain_value", pa.string())])
    count = parameters_of(running.cursor, running.sql)
    probe = f"SELECT * FROM (\n{running.sql.rstrip().rstrip(';')}\n) LIMIT 0"
    return running.run(probe, [None] * count).to_arrow_reader(1).schema


def parameters_of(cursor: duckdb.DuckDBPyConnection, sql: str) -> int:
    """How many parameters the last statement of `sql` takes."""
    found = cursor.extract_statements(sql)
    return len(found[-1].named_parameters) if found else 0


def _changed(result: duckdb.DuckDBPyConnection) -> int:
    described = result.description
    row = result.fetchone() if described and described[0][0] == "Count" else None
    return int(row[0]) if row else 0
