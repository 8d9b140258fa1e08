"""PREPARE, APPEND, FETCH and DISCONNECT of Quack 1: read, run through the pipeline, sent to the session's node."""

from __future__ import annotations

from azquack.errors import Refusal, WireError
from azquack.gateway import pipeline
from azquack.gateway.excerpt import Texts
from azquack.gateway.execution import Execution
from azquack.gateway.group import Insert
from azquack.gateway.limits import Limits
from azquack.gateway.outcome import Outcome
from azquack.gateway.pipeline import Services
from azquack.gateway.quack.inserts import Inserts
from azquack.gateway.sessions import NOT_QUACK_1, Session
from azquack.gateway.statement import Dialect, Statement, Table
from azquack.http import Exchange
from azquack.quack import wire

WHOLE_BYTES = 1 << 20
FETCH_BYTES = 64 << 10


class Statements:
    """Answers messages within a session. Each method returns the outcome, and raises `Refusal`, `ClientGone`."""

    def __init__(
        self, services: Services, execution: Execution, limits: Limits, dialect: Dialect | None
    ) -> None:
        self._services = services
        self._execution = execution
        self._limits = limits
        self._dialect = dialect
        self._inserts = Inserts(limits.body_bytes)

    async def prepare(self, exchange: Exchange, session: Session, header: wire.Header) -> Outcome:
        """Runs the SQL of a PREPARE."""
        message = await exchange.whole(self._limits.statement_bytes)
        try:
            sql = wire.parse_prepare(message, header)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None

        async def execute(statement: Statement) -> Outcome:
            sent, verdict = statement.sql, statement.verdict
            inner = wire.prepare(session.ticket.inner, sent, header.query_id)
            insert = Insert(inner, sent, verdict.rows) if verdict and verdict.rows else None
            texts = Texts(statement.written, sent)
            return await self._execution.run(session, exchange, inner, insert, texts)

        statement = Statement(session, exchange, sql, header.query_id, dialect=self._dialect)
        return await pipeline.run(statement, execute, self._services)

    async def append(self, exchange: Exchange, session: Session, header: wire.Header) -> Outcome:
        """Adds the rows of an APPEND."""
        try:
            target = wire.parse_append_target(await exchange.prefix(), header)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        body = b""

        async def receive() -> None:
            nonlocal body
            message = await exchange.whole(self._limits.body_bytes)
            body = await self._inserts.clean(message, header, session.ticket.inner)

        async def execute(statement: Statement) -> Outcome:
            insert = Insert(body) if statement.verdict and len(body) <= WHOLE_BYTES else None
            outcome = await self._execution.send(session, exchange, body, insert)
            return Outcome(outcome.word, target.rows if outcome.word == "ok" else None)

        table = Table(target.schema, target.table)
        statement = Statement(session, exchange, number=header.query_id, table=table, dialect=self._dialect)
        return await pipeline.insert(statement, receive, execute, self._services)

    async def fetch(self, exchange: Exchange, session: Session, header: wire.Header) -> Outcome:
        """Passes a FETCH on, written anew from what was read in it."""
        body = await exchange.whole(FETCH_BYTES)
        try:
            message = wire.fetch(session.ticket.inner, wire.parse_fetch(body, header), header.query_id)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        return await self._execution.fetch(session, exchange, message)

    async def disconnect(self, exchange: Exchange, session: Session, header: wire.Header) -> Outcome:
        """Ends the session at its node."""
        body = await exchange.whole(FETCH_BYTES)
        try:
            wire.parse_disconnect(body, header)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        return await self._execution.close(session, exchange, wire.disconnect(session.ticket.inner))
