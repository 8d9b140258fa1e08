"""The door: a plain ASGI application that lets stock DuckDB clients through to the nodes.

`POST /quack` is Quack; `GET /healthz` and `GET /readyz` say whether the door is well; all else is 404.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

from azquack import wire
from azquack.door import natives
from azquack.door.audit import Audit, Entry
from azquack.door.exchange import Exchange, Gone, Receive, Refusal, Scope, Send
from azquack.door.limits import Busy, Failures, Limits, Rate, Slots
from azquack.door.metrics import Metrics
from azquack.door.ports import (
    Access,
    AskNode,
    Fence,
    Principal,
    Principals,
    Runaway,
    Verdict,
    Wall,
    always,
    ignore,
    no_more,
)
from azquack.door.relay import Relay
from azquack.door.routing import Node, Nodes
from azquack.door.seal import Seal, label
from azquack.door.sessions import ENDED, Session, Sessions
from azquack.errors import StatementError, UpstreamError, WireError
from azquack.upstream import exchange as ask

log = logging.getLogger(__name__)

NOT_QUACK_1 = (
    "This server speaks Quack 1: use DuckDB 1.5 (1.5.3 or later), for example `pip install duckdb==1.5.5`"
)
KINDS = wire.MessageType
FORWARDED = (KINDS.PREPARE, KINDS.FETCH, KINDS.APPEND, KINDS.DISCONNECT)
FETCH_BYTES = 64 << 10
WHOLE_BYTES = 1 << 20


class Door:
    """An ASGI application. Everything it needs is given to it; it starts nothing and closes nothing.

    `wall` is None where the one principal may do everything; `native_names` makes the tables of every schema
    work natively, for a query node; `read_only` sends everybody to nodes that read; `ready` answers `/readyz`;
    `fence`, `ask_node` and `runaway` stand in `ports`.
    """

    def __init__(
        self,
        *,
        nodes: Nodes,
        principals: Principals,
        seal: Seal,
        wall: Wall | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        audit: Audit | None = None,
        native_names: bool = False,
        read_only: bool = False,
        ready: Callable[[], bool] = always,
        fence: Fence = always,
        ask_node: AskNode = no_more,
        runaway: Runaway = ignore,
    ) -> None:
        self.nodes = nodes
        self.limits = limits or Limits()
        self.metrics = metrics or Metrics()
        self.sessions = Sessions(seal, principals, nodes, self.limits, self.metrics)
        self._principals = principals
        self._wall = wall
        self._audit = audit
        self._native_names = native_names
        self._read_only = read_only
        self._ready = ready
        self._ask_node = ask_node
        limit = self.limits
        self._relay = Relay(fence, runaway, limit.statement_seconds, limit.abandoned_seconds)
        self._slots = Slots(
            limit.statements, limit.statements_per_principal, limit.queue, limit.queue_seconds
        )
        self._address_rate = Rate(limit.requests_per_address)
        self._principal_rate = Rate(limit.requests_per_principal)
        self._failures = Failures(limit.failed_logins, limit.failed_login_seconds)
        self.metrics.running.set_function(lambda: self._slots.running)
        self.metrics.queued.set_function(lambda: self._slots.waiting)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        match scope["method"], scope["path"]:
            case "POST", "/quack":
                await self._quack(scope, receive, send)
            case "GET", "/healthz":
                await _plain(send, 200, b"ok\n")
            case "GET", "/readyz":
                await _plain(send, *((200, b"ready\n") if self._ready() else (503, b"not ready\n")))
            case _:
                await _plain(send, 404, b"not found\n")

    async def _quack(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        kind, outcome = "UNREADABLE", "ok"
        exchange: Exchange | None = None
        try:
            exchange = Exchange(
                scope, receive, send, grace=self.limits.body_seconds, patience=self.limits.read_seconds
            )
            exchange.bound(self.limits.body_bytes)
            if not self._address_rate.allow(exchange.address):
                raise Refusal("rate", "Too many requests from this address: try again in a moment")
            header = await self._header(exchange)
            kind = header.type.name
            if header.type is KINDS.CONNECTION_REQUEST:
                await self._login(exchange)
            else:
                outcome = await self._forward(exchange, header)
        except Refusal as refusal:
            outcome = "refused"
            self.metrics.refusals.labels(refusal.reason).inc()
            if exchange is None:
                await _plain(send, refusal.status, str(refusal).encode())
            else:
                await exchange.refuse(refusal)
        except Gone:
            outcome = "gone"
        except Exception:
            # A fault of ours: the client gets a sentence, the log gets the rest.
            log.exception("a request failed in the door")
            outcome = "fault"
            if exchange is not None and not exchange.answered:
                await exchange.refuse(Refusal("fault", "The door failed on this request; its log says why"))
        finally:
            received, sent = (exchange.received, exchange.sent) if exchange else (0, 0)
            self.metrics.request(kind, outcome, time.perf_counter() - began, received, sent)

    async def _header(self, exchange: Exchange) -> wire.Header:
        try:
            return wire.parse_header(await exchange.prefix())
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None

    # Logins.

    async def _login(self, exchange: Exchange) -> None:
        message = await exchange.whole(self.limits.login_bytes)
        try:
            request = wire.parse_connection_request(message)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        if not request.speaks_quack_1:
            raise Refusal("version", NOT_QUACK_1)
        principal = self._authenticated(exchange, request.token)
        self.sessions.admit(principal)
        session, answer = await self._open(principal, message, request)
        if self._audit is not None:
            facts = {"principal": principal.name, "session": label(session.connection_id)}
            entry = self._audit.start(
                **facts,
                node=session.node.name,
                kind="login",
                address=exchange.address,
                client=request.version,
            )
            self._audit.finish(entry, "ok")
        await exchange.answer(answer)

    def _authenticated(self, exchange: Exchange, token: str) -> Principal:
        if self._failures.blocked(exchange.address):
            raise Refusal("login_rate", "Too many failed logins from this address: try again in a minute")
        principal = self._principals.authenticate(token)
        if principal is None:
            self._failures.add(exchange.address)
            if self._audit is not None:
                entry = self._audit.start(kind="login", address=exchange.address)
                self._audit.finish(entry, "refused", reason="token")
            raise Refusal("token", "Authentication failed: this token is not known here")
        return principal

    async def _open(
        self, principal: Principal, message: bytes, request: wire.ConnectionRequest
    ) -> tuple[Session, bytes]:
        """Logs in at the least busy node; a login may be tried at the next node, since it changes nothing."""
        access: Access = "read" if self._read_only or principal.role == "reader" else "write"
        tried: list[Node] = []
        while node := self.nodes.least_busy(access, besides=tried) or await self._await_node(access, tried):
            tried.append(node)
            inner = wire.ConnectionRequest(
                node.address.token, request.version, request.platform, request.lowest, request.highest
            )
            node.running += 1
            try:
                login = wire.connection_request(inner, wire.parse_header(message).query_id)
                answer = await ask(node.upstream, login)
                header = wire.parse_header(answer)
            except (UpstreamError, StatementError, WireError):
                node.healthy = False
                continue
            finally:
                node.running -= 1
            session = self.sessions.open(principal, node, header.connection_id)
            return session, wire.with_connection_id(answer, header, session.connection_id)
        raise Refusal("no_node", "No DuckDB node is ready to take this session: try again in a moment")

    async def _await_node(self, access: Access, tried: list[Node]) -> Node | None:
        if tried:
            return None
        await self._ask_node(access)
        return await self.nodes.wait_for(access, self.limits.node_wait_seconds)

    # Everything within a session.

    async def _forward(self, exchange: Exchange, header: wire.Header) -> str:
        if header.type not in FORWARDED:
            raise Refusal("type", f"A client does not send {header.type.name}")
        session = self.sessions.find(header.connection_id)
        if not self._principal_rate.allow(session.principal.name):
            raise Refusal("rate", f"Too many requests of {session.principal.name}: try again in a moment")
        try:
            match header.type:
                case KINDS.PREPARE:
                    return await self._statement(exchange, session, header)
                case KINDS.APPEND:
                    return await self._append(exchange, session, header)
                case KINDS.DISCONNECT:
                    outcome = await self._plain_forward(exchange, session, header)
                    self.sessions.forget(session.connection_id)
                    return outcome
                case _:
                    return await self._plain_forward(exchange, session, header)
        except Refusal as refusal:
            if refusal.reason in ("ended", "node"):
                self.sessions.forget(session.connection_id)
            raise

    async def _plain_forward(self, exchange: Exchange, session: Session, header: wire.Header) -> str:
        body = await exchange.whole(FETCH_BYTES)
        inner = wire.with_connection_id(body, header, session.ticket.inner)
        return await self._relay.pass_on(exchange, session, inner, len(inner))

    async def _statement(self, exchange: Exchange, session: Session, header: wire.Header) -> str:
        message = await exchange.whole(self.limits.statement_bytes)
        try:
            sql = wire.parse_prepare(message, header)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        try:
            async with self._slots.hold(session.principal.name):
                ours = False
                if self._native_names:
                    sql, ours = await self._translated(session, sql)
                verdict = self._wall.check(session.principal, sql) if self._wall and not ours else None
                entry = self._started(session, verdict, sql=sql)
                inner = wire.prepare(session.ticket.inner, sql, header.query_id)
                return await self._checked(exchange, session, inner, len(inner), verdict, entry)
        except Busy as busy:
            raise Refusal("busy", str(busy)) from None

    async def _translated(self, session: Session, sql: str) -> tuple[str, bool]:
        upstream, inner = session.node.upstream, session.ticket.inner

        async def run(statement: str) -> bytes:
            return await ask(upstream, wire.prepare(inner, statement))

        async def text(statement: str) -> str:
            return wire.parse_text(await run(statement))

        try:
            return await natives.translate(sql, natives.Node(run, text))
        except natives.Ambiguous as error:
            raise Refusal("ambiguous", str(error)) from None
        except StatementError as error:
            if str(error) == "Invalid connection id":
                raise Refusal("ended", ENDED) from None
            raise Refusal("natives", str(error)) from None
        except UpstreamError as error:
            raise Refusal("node", str(error)) from None

    async def _append(self, exchange: Exchange, session: Session, header: wire.Header) -> str:
        prefix = await exchange.prefix()
        try:
            target = wire.parse_append_target(prefix)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        verdict = (
            self._wall.check_append(session.principal, target.schema, target.table) if self._wall else None
        )
        entry = self._started(session, verdict, table=f"{target.schema}.{target.table}", kind="append")
        start = wire.with_connection_id(prefix, header, session.ticket.inner)
        length = exchange.length + len(start) - len(prefix)

        async def pieces() -> AsyncIterator[bytes]:
            yield start
            async for chunk in exchange.rest():
                yield chunk

        # A body of usual size goes on in one write, a larger one as it comes.
        inner = b"".join([piece async for piece in pieces()]) if length <= WHOLE_BYTES else pieces()
        try:
            async with self._slots.hold(session.principal.name):
                return await self._checked(exchange, session, inner, length, verdict, entry)
        except Busy as busy:
            raise Refusal("busy", str(busy)) from None

    async def _checked(
        self,
        exchange: Exchange,
        session: Session,
        body: bytes | AsyncIterator[bytes],
        length: int,
        verdict: Verdict | None,
        entry: Entry | None,
    ) -> str:
        outcome = "broken"
        facts: dict[str, Any] = {}
        try:
            if verdict is not None and not verdict.allowed:
                raise Refusal("wall", verdict.reason)
            outcome = await self._relay.pass_on(exchange, session, body, length)
        except Refusal as refusal:
            outcome, facts = "refused", {"reason": refusal.reason}
            raise
        finally:
            if self._audit is not None and entry is not None:
                self._audit.finish(entry, outcome, **facts, bytes=exchange.sent)
        return outcome

    def _started(self, session: Session, verdict: Verdict | None, **facts: Any) -> Entry | None:
        if self._audit is None:
            return None
        if verdict is not None:
            facts["kind"] = verdict.kind
        return self._audit.start(
            principal=session.principal.name,
            session=label(session.connection_id),
            node=session.node.name,
            **facts,
        )


async def _plain(send: Send, status: int, body: bytes) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    if status >= 400:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
