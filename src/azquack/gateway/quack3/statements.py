"""The messages of a session of Quack 3: each becomes what a node of Quack 1 understands, and its answer what 3 says."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

from azquack.errors import Refusal, StatementError, UpstreamError, WireError
from azquack.gateway import pipeline
from azquack.gateway.cancel import cancel
from azquack.gateway.excerpt import Texts
from azquack.gateway.execution import Execution
from azquack.gateway.group import Insert
from azquack.gateway.outcome import Outcome
from azquack.gateway.pipeline import Services
from azquack.gateway.quack3.captured import Captured
from azquack.gateway.quack3.clients import Client, Connection
from azquack.gateway.quack3.results import HELD, Next, Result
from azquack.gateway.statement import Dialect, Reply, Statement
from azquack.quack import translation, wire, wire3
from azquack.quack.faults import clear
from azquack.quack.upstream import exchange as ask

WHOLE_BYTES = HELD
CANCELLED = "Interrupted: query was cancelled"
BY = "its client"

END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client is sent, and how that ended."""

    body: bytes
    outcome: Outcome = field(default=Outcome("ok"))


SENT, SUCCESS = Answer(wire3.sent()), Answer(wire3.success())


class Failed(Exception):
    """The node answered with an error; `answer` tells it."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.answer = Answer(translation.error(sentence), Outcome("error", said=sentence))


class Statements:
    """Answers messages of clients. Each method raises `Refusal`, `ClientGone`, and `Failed` for a node's own error."""

    def __init__(
        self,
        services: Services,
        execution: Execution,
        dialect: Dialect | None,
        patience: float,
    ) -> None:
        self._services = services
        self._execution = execution
        self._dialect = dialect
        self._patience = patience

    async def prepare(self, client: Client, reply: Reply, message: wire3.Prepare) -> Answer:
        """Runs a statement; what of its result is not in the answer can be fetched."""
        async with client.connection(message.sql, reply) as connection:
            found = await self.run(client, connection, reply, message.sql, message.query)
            return await self._first(client, connection, reply, message, found)

    async def fetch(self, client: Client, reply: Reply, message: wire3.Fetch) -> Answer:
        """A batch of a result."""
        result = client.result(message.query)
        result.acknowledge(message.acknowledged)
        return Answer(await result.batch(message.index, reply))

    async def acknowledge(self, client: Client, message: wire3.Acknowledgement) -> Answer:
        """The client has all of a result."""
        result = client.result(message.query)
        result.acknowledge(result.made)
        return SUCCESS

    async def cancel(self, client: Client, query: int) -> None:
        """Ends the statement `query`, or all of the session; the session goes on."""
        whole = query == wire3.WHOLE
        for number, connection in list(client.running.items()):
            if whole or number == query:
                await cancel(connection.session, BY)
        for number, result in list(client.results.items()):
            if result.is_open and (whole or number == query):
                result.fail(Refusal("cancelled", CANCELLED))

    async def end(self, client: Client, refusal: Refusal) -> None:
        """The session is over: what runs is ended, what is open is rolled back, at the node too."""
        running = list(client.running.values())
        client.fail(refusal)
        for connection in running:
            await cancel(connection.session, BY)
        for connection in client.connections:
            session = connection.session
            if self._execution.results is not None:
                self._execution.results.close(session)
            # A node that is gone has no session any more; one that does not answer ends idle ones itself.
            with suppress(StatementError, UpstreamError, TimeoutError):
                async with asyncio.timeout(END_SECONDS):
                    await ask(session.node.upstream, wire.disconnect(session.ticket.inner))

    async def run(
        self, client: Client, connection: Connection, reply: Reply, sql: str, query: int
    ) -> translation.Result:
        """Has `sql` run in `connection`, which is held, through the pipeline."""
        session, captured = connection.session, Captured(reply)

        async def execute(statement: Statement) -> Outcome:
            sent, verdict = statement.sql, statement.verdict
            inner = wire.prepare(session.ticket.inner, sent)
            insert = Insert(inner, sent, verdict.rows) if verdict and verdict.rows else None
            return await self._execution.run(session, captured, inner, insert, Texts(statement.written, sent))

        # A transaction of a 2.x client holds statements of several numbers: to the node it is one that a user began.
        statement = Statement(session, captured, sql, dialect=self._dialect)
        client.running[query] = connection
        before = session.transaction.open
        try:
            outcome = await pipeline.run(statement, execute, self._services)
        finally:
            client.running.pop(query, None)
        if connection is client.own and session.transaction.open is before and not statement.own:
            client.has_state = client.has_state or statement.verdict is None or not statement.verdict.plain
        if outcome.word == "error":
            raise Failed(clear(wire.parse_error(captured.body)))
        try:
            return translation.result(captured.body)
        except WireError:
            raise Refusal("node", "The DuckDB node's answer cannot be read: try again") from None

    async def _first(
        self,
        client: Client,
        connection: Connection,
        reply: Reply,
        message: wire3.Prepare,
        found: translation.Result,
    ) -> Answer:
        """The answer to a PREPARE: as many rows as the client wants at once; the rest can be fetched."""
        fetch = self._next(connection, found.uuid)
        if message.query == wire3.WHOLE:
            chunks = found.chunks
            size = sum(map(len, chunks))
            while found.more and (batch := await fetch(reply)):
                chunks += batch
                size += sum(map(len, batch))
                if size > WHOLE_BYTES:
                    raise Refusal(
                        "results", "This result is too large for one answer: ask for it with a query id"
                    )
            return Answer(wire3.prepared(found.columns, chunks, message.query, more=False))
        inline, rest = _split(found.chunks, message.inline_rows)
        if not rest and not found.more:
            return Answer(wire3.prepared(found.columns, inline, message.query, more=False))
        result = Result(message.query, fetch if found.more else None, self._patience)
        if rest:
            result.add(rest)
        if found.more:
            connection.result = result
        else:
            result.end()
        client.remember(result)
        return Answer(wire3.prepared(found.columns, inline, message.query, more=True))

    def _next(self, connection: Connection, uuid: tuple[int, int]) -> Next:
        session = connection.session

        async def fetch(reply: Reply) -> list[bytes]:
            captured = Captured(reply)
            outcome = await self._execution.fetch(session, captured, wire.fetch(session.ticket.inner, uuid))
            if outcome.word == "error":
                raise Refusal("statement", clear(wire.parse_error(captured.body)))
            try:
                return translation.batch(captured.body)
            except WireError:
                raise Refusal("node", "The DuckDB node's answer cannot be read: try again") from None

        return fetch


def _split(chunks: list[bytes], rows: int | None) -> tuple[list[bytes], list[bytes]]:
    """Those of `chunks` that go with the answer of a client that wants about so many `rows`, and the others."""
    if rows is None:
        return chunks, []
    taken = 0
    for at, chunk in enumerate(chunks):
        if taken >= rows:
            return chunks[:at], chunks[at:]
        taken += translation.rows_of(chunk)
    return chunks, []
