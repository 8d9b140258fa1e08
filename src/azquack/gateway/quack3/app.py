"""Quack 3 at a gateway: logins with their leases, and the messages of sessions, each read and handed on."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict

from azquack.errors import Refusal, WireError
from azquack.gateway.execution import Execution
from azquack.gateway.limits import Limits
from azquack.gateway.logins import Logins
from azquack.gateway.outcome import Outcome
from azquack.gateway.pipeline import Services
from azquack.gateway.quack3.clients import Client
from azquack.gateway.quack3.inserts import Inserts
from azquack.gateway.quack3.listings import Listings
from azquack.gateway.quack3.statements import SUCCESS, Answer, Failed, Statements
from azquack.gateway.quack3.streams import call_of
from azquack.gateway.sessions import Session, Sessions
from azquack.http import Exchange
from azquack.quack import translation, wire, wire3
from azquack.quack.faults import clear
from azquack.quack.lost import AGAIN

log = logging.getLogger(__name__)

# Seconds of a heartbeat: what a client gets that asks for none, and the most that it may ask for.
HEARTBEAT = 60
LONGEST_HEARTBEAT = 300
EVERY = 0.5
CONTENT_TYPE = b"application/duckdb"
UNREADABLE = "This is not a message of Quack 3, or it is cut off: nothing of it was run"
OUT_OF_RANGE = f"heartbeat_timeout out of range - must be between 1 and {LONGEST_HEARTBEAT} seconds"
# A message without rows or SQL is short.
SHORT_BYTES = 64 << 10


class Quack3:
    """Answers clients of Quack 3. `alone`: every message of a session comes here, so that a silent one is gone."""

    def __init__(
        self,
        logins: Logins,
        sessions: Sessions,
        services: Services,
        execution: Execution,
        limits: Limits,
        *,
        alone: bool,
    ) -> None:
        self._logins = logins
        self._sessions = sessions
        self._limits = limits
        self._alone = alone
        self._statements = Statements(services, execution, Listings(), limits.result_seconds)
        self._inserts = Inserts(self._statements, services, limits.result_seconds)
        self._clients: dict[str, Client] = {}
        self._ended: OrderedDict[str, Refusal] = OrderedDict()
        self._sweeper: asyncio.Task[None] | None = None

    async def login(self, exchange: Exchange, request: wire3.Login) -> None:
        """Lets a client in. Raises `Refusal`."""
        if request.heartbeat > LONGEST_HEARTBEAT:
            raise Refusal("heartbeat", OUT_OF_RANGE)
        heartbeat = request.heartbeat or HEARTBEAT
        asked = wire.ConnectionRequest(request.token, request.version, request.platform)
        session, answer = await self._logins.enter(exchange, asked, heartbeat=heartbeat)
        self._client(session)
        at_node = wire.parse_connection_response(answer)
        body = wire3.connected(session.connection_id, at_node.version, at_node.platform, heartbeat)
        await exchange.answer(body, content_type=CONTENT_TYPE)

    def check(self, connection_id: str) -> None:
        """Raises `Refusal` for a session that was ended here."""
        if (refusal := self._ended.get(connection_id)) is not None:
            raise Refusal(refusal.reason, str(refusal))

    async def serve(self, exchange: Exchange, session: Session, header: wire3.Header) -> Outcome:
        """Answers a message of `session`. Raises `Refusal`, `ClientGone`."""
        message = await self._read(exchange, header)
        client = self._client(session)
        client.touch()
        try:
            answer = await self._answered(client, exchange, message)
        except Failed as failed:
            answer = failed.answer
        except Refusal as refusal:
            if refusal.reason in ("ended", "node"):
                await self._forget(client, refusal)
            raise
        await exchange.answer(answer.body, content_type=CONTENT_TYPE)
        return answer.outcome

    async def refuse(self, exchange: Exchange, refusal: Refusal) -> None:
        """Tells a client of Quack 3 what is refused, and of which type that is."""
        sentence = clear(str(refusal))
        await exchange.answer(translation.error(sentence, refusal.reason), refusal.status, CONTENT_TYPE)

    async def _answered(self, client: Client, exchange: Exchange, message: wire3.Message) -> Answer:
        statements, inserts = self._statements, self._inserts
        match message:
            case wire3.Prepare():
                call = call_of(message.sql)
                with client.asks(message.query):
                    if call is not None:
                        return await inserts.prepare(client, exchange, message, call)
                    return await statements.prepare(client, exchange, message)
            case wire3.Fetch():
                return await statements.fetch(client, exchange, message)
            case wire3.Rows():
                return await inserts.rows(client, exchange, message)
            case wire3.Batch():
                return await inserts.batch(client, exchange, message)
            case wire3.Finalize():
                return await inserts.finalize(client, exchange, message)
            case wire3.Cancel():
                if not client.knows(message.query):
                    raise Refusal(
                        "result", "This session has no statement with that query id: nothing was cancelled"
                    )
                await inserts.cancel(client, message.query)
                await statements.cancel(client, message.query)
                return SUCCESS
            case wire3.Acknowledgement():
                return await statements.acknowledge(client, message)
            case wire3.Heartbeat():
                return SUCCESS
            case wire3.Disconnect():
                await self._forget(
                    client, Refusal("ended", f"This session was closed by its client: {AGAIN}")
                )
                return SUCCESS

    async def _read(self, exchange: Exchange, header: wire3.Header) -> wire3.Message:
        limits = {
            wire3.Kind.PREPARE: self._limits.statement_bytes,
            wire3.Kind.SEND_DATA: self._limits.body_bytes,
        }
        body = await exchange.whole(limits.get(header.type, SHORT_BYTES))
        try:
            if header.type is wire3.Kind.SEND_DATA:
                # Long for many rows: other clients are answered meanwhile.
                return await asyncio.to_thread(wire3.parse, body, header, self._limits.body_bytes)
            return wire3.parse(body, header)
        except WireError as error:
            raise Refusal("unreadable", f"{UNREADABLE} ({error})") from None

    def _client(self, session: Session) -> Client:
        """The client of `session`, which another gateway may have let in, or this one before it was started anew."""
        client = self._clients.get(session.connection_id)
        if client is None or client.session is not session:
            client = self._clients[session.connection_id] = Client(session, session.ticket.heartbeat)
            if self._sweeper is None and self._alone:
                self._sweeper = asyncio.create_task(self._sweep())
        return client

    async def _forget(self, client: Client, refusal: Refusal) -> None:
        """The session is over, and nothing of it stays."""
        connection_id = client.session.connection_id
        self._clients.pop(connection_id, None)
        self._sessions.forget(connection_id)
        self._ended[connection_id] = refusal
        while len(self._ended) > self._limits.sessions:
            self._ended.popitem(last=False)
        await self._statements.end(client, refusal)

    async def _sweep(self) -> None:
        """Ends sessions whose heartbeats have stopped, and results that nobody asks for, while there are any."""
        try:
            while self._clients:
                await asyncio.sleep(EVERY)
                for client in [each for each in self._clients.values() if each.is_expired]:
                    log.info("a client's heartbeats have stopped", extra={"node": client.session.node.name})
                    sentence = f"This session has ended, for no heartbeat came for {client.lease} s: {AGAIN}"
                    await self._forget(client, Refusal("ended", sentence))
                for client in list(self._clients.values()):
                    client.drop_forgotten()
                    await self._inserts.drop_forgotten(client)
        finally:
            self._sweeper = None
