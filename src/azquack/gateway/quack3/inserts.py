"""Inserts whose rows the client sends: staged as they come, and one statement and one commit at their end.

There are two forms. In the one, messages name a table, and a FINALIZE ends them (June 2026). In the other, as of DuckDB
2.0, an SQL statement reads a stream, and the number of its batches ends it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress

from azquack.errors import Refusal, StatementError, UpstreamError
from azquack.gateway import pipeline
from azquack.gateway.node_session import node_refusals
from azquack.gateway.outcome import Outcome
from azquack.gateway.pipeline import Services
from azquack.gateway.quack3.captured import Captured
from azquack.gateway.quack3.clients import STREAMS, Client
from azquack.gateway.quack3.results import Next, Result
from azquack.gateway.quack3.statements import CANCELLED, SUCCESS, Answer, Failed, Statements
from azquack.gateway.quack3.streams import Call, Stream, fresh_name, made, made_like
from azquack.gateway.statement import Reply, Statement
from azquack.quack import translation, wire3
from azquack.quack.upstream import exchange as ask
from azquack.quack.wire.chunks import Chunk
from azquack.sql import identifier

FORGOTTEN = "The rows of this insert did not come for too long, so nothing was inserted: run it again"
UNKNOWN = "The gateway ended while this insert ran; whether it took effect is not known"
SENT = Answer(wire3.sent())


class Inserts:
    """Answers messages of clients about rows. Each method raises `Refusal`, `ClientGone`."""

    def __init__(self, statements: Statements, services: Services, patience: float) -> None:
        self._statements = statements
        self._services = services
        self._patience = patience

    async def prepare(self, client: Client, reply: Reply, message: wire3.Prepare, call: Call) -> Answer:
        """A statement that reads a stream: the answer comes at once where no row shall be inline, else at its end."""
        table = fresh_name()
        stream = Stream(message.query, call.replaced(message.sql, table), table, made(table, call.prototype))
        await self._check(client, reply, stream)
        self._open(client, call.stream, stream)
        if message.inline_rows == 0:
            client.remember(Result(message.query, _later(stream), self._patience))
            return Answer(wire3.count_pending(message.query))
        found = await asyncio.shield(stream.outcome)
        return Answer(wire3.prepared(found.columns, found.chunks, message.query, more=False))

    async def rows(self, client: Client, reply: Reply, message: wire3.Rows) -> Answer:
        """One chunk of an INSERT that a FINALIZE ends; the first one begins it."""
        name = f"{message.query}"
        stream = client.streams.get(name)
        if stream is None:
            table = fresh_name()
            target = f"{identifier(message.schema)}." if message.schema else ""
            sql = f"INSERT INTO {target}{identifier(message.table)} SELECT * FROM temp.main.{table}"
            make = made_like(table, message.schema, message.table)
            stream = Stream(message.query, sql, table, make)
            await self._check(client, reply, stream)
            stream = client.streams.get(name) or self._open(client, name, stream)
        await self._add(client, reply, stream, stream.claim(), [message.chunk])
        return SENT

    async def finalize(self, client: Client, reply: Reply, message: wire3.Finalize) -> Answer:
        """The rows of an INSERT are complete: it runs now."""
        stream = client.streams.get(f"{message.query}")
        if stream is None:
            # An INSERT without a row.
            return SUCCESS
        await self._end(client, reply, stream, stream.claimed)
        await stream.outcome
        return SUCCESS

    async def batch(self, client: Client, reply: Reply, message: wire3.Batch) -> Answer:
        """Rows for a statement that reads them, or their end, upon which it runs."""
        stream = client.streams.get(message.stream)
        if stream is None:
            # Clients know by this very sentence that their statement is not there yet, and try again.
            raise Refusal("stream", f"No active data stream '{message.stream}'")
        if message.index is not None:
            await self._add(client, reply, stream, message.index, message.chunks)
        if message.total is not None:
            await self._end(client, reply, stream, message.total)
        return SENT

    async def drop_forgotten(self, client: Client) -> None:
        """Ends inserts whose rows did not come for too long."""
        for stream in list(client.streams.values()):
            if time.monotonic() - stream.seen > self._patience:
                await self._drop(client, stream, Refusal("stream", FORGOTTEN))

    async def cancel(self, client: Client, query: int) -> None:
        """Ends the insert `query`, or all of them: nothing of their rows stays."""
        for stream in list(client.streams.values()):
            if query in (wire3.WHOLE, stream.query):
                await self._drop(client, stream, Refusal("cancelled", CANCELLED))

    def _open(self, client: Client, name: str, stream: Stream) -> Stream:
        if name in client.streams:
            raise Refusal("stream", f"The stream {name!r} is open already: take a new name")
        if len(client.streams) >= STREAMS:
            raise Refusal(
                "stream", f"A session has at most {STREAMS} inserts under way: end one, then try again"
            )
        client.streams[name] = stream
        return stream

    async def _check(self, client: Client, reply: Reply, stream: Stream) -> None:
        """Whether the statement is allowed, before its rows travel. It is asked again when it runs."""
        verdict = await self._services.verdicts.of(client.session, stream.sql)
        if verdict is not None and not verdict.allowed:
            # Through the pipeline, for its line in the audit log.
            statement = Statement(client.session, Captured(reply), stream.sql, dialect=None)
            await pipeline.run(statement, _nothing, self._services)

    async def _add(
        self,
        client: Client,
        reply: Reply,
        stream: Stream,
        index: int,
        chunks: Sequence[Chunk],
    ) -> None:
        async def add() -> None:
            if stream not in client.staged:
                client.staged[stream] = await client.staging()
            connection = client.staged[stream]
            async with client.held(connection, reply):
                with node_refusals("stream"):
                    if not stream.ready:
                        stream.ready = True
                        await connection.session.asking.run(stream.make)
                    for chunk in chunks:
                        message = translation.append(
                            connection.session.ticket.inner, "main", stream.table, chunk
                        )
                        await ask(connection.session.node.upstream, message)

        try:
            await stream.take(index, add)
        except Refusal as refusal:
            await self._drop(client, stream, refusal)
            raise

    async def _end(self, client: Client, reply: Reply, stream: Stream, total: int) -> None:
        """Its rows are complete: the statement runs."""
        try:
            if not stream.complete(total):
                return
        except Refusal as refusal:
            await self._drop(client, stream, refusal)
            raise
        await self._finish(client, reply, stream)

    async def _finish(self, client: Client, reply: Reply, stream: Stream) -> None:
        """Runs the statement over its rows; its answer is the stream's outcome."""
        try:
            if not stream.ready:
                await self._add(client, reply, stream, 0, ())
            connection = client.staged[stream]
            async with client.held(connection, reply):
                found = await self._statements.run(client, connection, reply, stream.sql, stream.query)
            if not stream.outcome.done():
                stream.outcome.set_result(found)
        except Failed as failed:
            stream.fail(Refusal("statement", str(failed)))
        except Refusal as refusal:
            stream.fail(refusal)
        except asyncio.CancelledError:
            stream.fail(Refusal("broken", UNKNOWN))
            raise
        await self._drop(client, stream, None)

    async def _drop(self, client: Client, stream: Stream, refusal: Refusal | None) -> None:
        """Takes the staged rows away."""
        if refusal is not None:
            stream.fail(refusal)
        connection = client.staged.get(stream)
        client.forget(stream)
        if connection is None or not stream.ready:
            return
        # A node that is gone, or a transaction that has failed, has no rows any more. No result is broken off for it.
        with suppress(StatementError, UpstreamError):
            async with connection.lock:
                if connection.result is None or not connection.result.is_open:
                    await connection.session.asking.run(f"DROP TABLE IF EXISTS temp.main.{stream.table}")


def _later(stream: Stream) -> Next:
    """The one batch of the result of a statement that waits for its rows."""
    left = True

    async def fetch(reply: Reply) -> list[bytes]:
        nonlocal left
        found = await asyncio.shield(stream.outcome)
        chunks, left = found.chunks if left else [], False
        return chunks

    return fetch


async def _nothing(statement: Statement) -> Outcome:
    raise Refusal("policy", "This statement is not allowed")
