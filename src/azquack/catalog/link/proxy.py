"""What the link answers to each message of the node's DuckDB."""

from __future__ import annotations

import asyncio
import hmac
import logging
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from azquack.catalog.link import questions, statements
from azquack.catalog.link.catalog import Catalog, Counters, Hold, LostSession, Session
from azquack.catalog.link.commits import Commits
from azquack.catalog.link.reads import Reads
from azquack.catalog.link.statements import Kind
from azquack.errors import AzQuackError, StatementError, UpstreamError, WireError
from azquack.quack import wire
from azquack.quack.lost import INVALID_ID

log = logging.getLogger(__name__)

REMEMBERED_RESULTS = 256
IN_TRANSACTION = (
    "The catalog was lost within a transaction, of which nothing was kept: roll back and begin it again"
)


@dataclass
class Client:
    """A session of the node at the link. `transaction` is set between BEGIN and COMMIT or ROLLBACK."""

    transaction: Session | None = None
    broken: bool = False


class Proxy:
    """Answers Quack messages in the catalog's name.

    DuckLake sends the statements of all threads of a node through one session. Here each statement gets a
    session of its own at the catalog, so that they run side by side and no result disturbs another.
    """

    def __init__(
        self, catalog: Catalog, commits: Commits, counters: Counters, token: str, hold_seconds: float
    ) -> None:
        self._catalog = catalog
        self._commits = commits
        self._reads = Reads(catalog, counters)
        self._counters = counters
        self._token = token
        self._hold_seconds = hold_seconds
        self._clients: dict[str, Client] = {}
        self._results: OrderedDict[bytes, Session] = OrderedDict()

    async def answer(self, message: bytes) -> bytes:
        """The answer to `message`; whatever goes wrong becomes a Quack error."""
        try:
            return await self._dispatch(message)
        except (StatementError, WireError) as error:
            return wire.error(str(error))
        except AzQuackError as error:
            log.warning("catalog: %s", error)
            return wire.error(str(error))
        except Exception:
            log.exception("the catalog link failed")
            return wire.error("The catalog link failed within: see the log of the node")

    async def _dispatch(self, message: bytes) -> bytes:
        header = wire.parse_header(message)
        hold = Hold(self._hold_seconds, self._counters)
        if header.type is wire.MessageType.CONNECTION_REQUEST:
            return await self._log_in(message, hold)
        client = self._clients.get(header.connection_id)
        if client is None:
            raise StatementError(INVALID_ID)
        match header.type:
            case wire.MessageType.DISCONNECT:
                del self._clients[header.connection_id]
                if client.transaction is not None:
                    self._catalog.discard(client.transaction)
                return wire.success()
            case wire.MessageType.PREPARE:
                return await self._run(client, wire.parse_prepare(message), header.query_id, hold)
            case wire.MessageType.FETCH:
                return await self._fetch(message, header)
            case wire.MessageType.APPEND:
                return await self._append(client, message, header, hold)
            case _:
                raise WireError("The catalog link does not know this message")

    async def _log_in(self, message: bytes, hold: Hold) -> bytes:
        request = wire.parse_connection_request(message)
        if not hmac.compare_digest(request.token.encode(), self._token.encode()):
            raise StatementError("Authentication failed")
        # A node must not start on a catalog that is not there or does not know the token.
        self._catalog.release(await self._catalog.session(hold))
        connection_id = secrets.token_hex(16).upper()
        self._clients[connection_id] = Client()
        greeting = self._catalog.greeting
        return wire.with_connection_id(greeting, wire.parse_header(greeting), connection_id)

    async def _run(self, client: Client, sql: str, query_id: int | None, hold: Hold) -> bytes:
        kind = statements.kind_of(sql)
        self._counters.requests[kind.value] = self._counters.requests.get(kind.value, 0) + 1
        if client.transaction is not None or client.broken or kind is Kind.TRANSACTION:
            return await self._in_transaction(client, sql, hold)
        match kind:
            case Kind.COMMIT:
                sent = asyncio.get_running_loop().time()
                try:
                    answer, text = await self._commits.commit(sql, hold)
                except BaseException:
                    self._reads.forget()
                    raise
                self._reads.committed(statements.snapshot_of(sql), text, sent)
                return answer
            case Kind.WRITE:
                self._reads.forget()
                try:
                    return await self._commits.write(sql, hold)
                finally:
                    self._reads.forget()
            case Kind.EAGER:
                return await self._commits.withhold(sql, hold)
            case Kind.SUPERSEDED:
                # They stay: another node that knows the lake's schema already goes on to read them, for ever.
                answer, _ = await self._reads.answer("SELECT 0 AS dropped", hold, query_id)
                return answer
            case _:
                ask = self._reads.newest if kind is Kind.SNAPSHOT else self._reads.answer
                text = statements.without_pruning(questions.asked(sql) or sql)
                answer, session = await ask(text, hold, query_id)
                self._results[answer[answer.rfind(b"\xff\xff\x05\x00") + 4 :]] = session
                if len(self._results) > REMEMBERED_RESULTS:
                    self._results.popitem(last=False)
                return answer

    async def _in_transaction(self, client: Client, sql: str, hold: Hold) -> bytes:
        """A statement of a client that speaks BEGIN itself: all of them share one session, as they come."""
        ends = statements.ends_transaction(sql)
        if client.broken:
            client.broken = not ends
            raise StatementError(IN_TRANSACTION)
        begun = client.transaction is not None
        session = client.transaction or await self._catalog.session(hold)
        try:
            answer = await session.run(sql)
        except LostSession:
            self._catalog.lost(session)
            client.transaction = None
            if not begun:
                await hold.log_in_again()
                return await self._in_transaction(client, sql, hold)
            client.broken = not ends
            raise StatementError(IN_TRANSACTION) from None
        except UpstreamError:
            self._catalog.discard(session)
            client.transaction, client.broken = None, begun and not ends
            raise
        except StatementError:
            if not begun:
                self._catalog.release(session)
            raise
        if begun and ends:
            client.transaction = None
            self._catalog.release(session)
        elif begun or statements.begins_transaction(sql):
            client.transaction = session
        else:
            # SET and its like: the session is not what the others are any more.
            self._catalog.discard(session)
        return answer

    async def _fetch(self, message: bytes, header: wire.Header) -> bytes:
        # The body of a FETCH is the id that ends the answer it belongs to.
        session = self._results.get(message[header.end + 2 :])
        if session is None:
            raise StatementError("Result has been closed")
        try:
            return await session.send(wire.with_connection_id(message, header, session.connection_id))
        except LostSession:
            self._catalog.lost(session)
            raise StatementError("The catalog restarted while a result was fetched: try again") from None

    async def _append(self, client: Client, message: bytes, header: wire.Header, hold: Hold) -> bytes:
        while True:
            session = client.transaction or await self._catalog.session(hold)
            try:
                answer = await session.send(wire.with_connection_id(message, header, session.connection_id))
            except LostSession:
                self._catalog.lost(session)
                if client.transaction is not None:
                    client.transaction, client.broken = None, True
                    raise StatementError(IN_TRANSACTION) from None
                await hold.log_in_again()
                continue
            except UpstreamError:
                if client.transaction is None:
                    self._catalog.discard(session)
                raise
            except StatementError:
                if client.transaction is None:
                    self._catalog.release(session)
                raise
            if client.transaction is None:
                self._catalog.release(session)
            return answer
