"""The gateway: what lets stock DuckDB clients through to the nodes.

`POST /quack` is Quack; `GET /healthz` and `GET /readyz` say whether the gateway is well; all else is 404.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from azquack.errors import WireError
from azquack.gateway.audit import Audit, about
from azquack.gateway.limits import Limits, Rate, Slots
from azquack.gateway.metrics import Metrics
from azquack.gateway.ports import AskNode, Fence, Policy, Principals, Runaway, always, ignore, never, no_more
from azquack.gateway.quack.alarm import Alarm
from azquack.gateway.quack.group import Groups
from azquack.gateway.quack.logins import Logins, StandsBy
from azquack.gateway.quack.messages import Messages
from azquack.gateway.quack.relay import Relay
from azquack.gateway.quack.results import Results
from azquack.gateway.quack.statements import Statements
from azquack.gateway.routing import Nodes
from azquack.gateway.seal import Seal
from azquack.gateway.sessions import NOT_QUACK_1, Session, Sessions
from azquack.gateway.writes import Writes
from azquack.http import Exchange, Gone, Refusal
from azquack.quack import wire

if TYPE_CHECKING:
    from azquack.gateway.views import LakeViews

log = logging.getLogger(__name__)

KINDS = wire.MessageType
FORWARDED = (KINDS.PREPARE, KINDS.FETCH, KINDS.APPEND, KINDS.DISCONNECT)
TEXT = b"text/plain; charset=utf-8"
FETCH_BYTES = 64 << 10
# Refusals that the audit log notes per second and address: nobody shall fill the disk with them.
AUDITED_REFUSALS = 1.0


class Gateway:
    """Answers each `Exchange`. Everything it needs is given to it; it starts nothing and closes nothing.

    `policy` is None where the one principal may do everything; `views` holds what is read through views against their
    makers' rights; `alarm` is sounded at what it refuses, where that
    cannot be a mere mistake; `native_names` makes the tables of every schema work natively, for a query node;
    `read_only` sends everybody to nodes that read; `only_gateway` says that no other one serves its nodes: it
    counts open results, watches transactions, and with `group_commit` gathers small inserts; `writes` is told how
    statements end; `ready` answers
    `/readyz`; while it is on `standby` it sends everybody away; `fence`, `ask_node` and `runaway` stand in
    `ports`.
    """

    def __init__(
        self,
        *,
        nodes: Nodes,
        principals: Principals,
        seal: Seal,
        policy: Policy | None = None,
        views: LakeViews | None = None,
        limits: Limits | None = None,
        metrics: Metrics | None = None,
        audit: Audit | None = None,
        alarm: Alarm | None = None,
        native_names: bool = False,
        read_only: bool = False,
        group_commit: bool = False,
        only_gateway: bool = False,
        writes: Writes | None = None,
        ready: Callable[[], bool] = always,
        standby: Callable[[], bool] = never,
        fence: Fence = always,
        ask_node: AskNode = no_more,
        runaway: Runaway = ignore,
    ) -> None:
        self.nodes = nodes
        self.limits = limit = limits or Limits()
        self.metrics = metrics or Metrics()
        self.sessions = Sessions(seal, principals, nodes, limit, self.metrics, sole=only_gateway)
        self._audit = audit
        self._ready = ready
        self._standby = standby
        self._logins = Logins(
            nodes, principals, self.sessions, limit, audit, ask_node, standby=standby, read_only=read_only
        )
        self._relay = Relay(fence, runaway, limit.statement_seconds, limit.abandoned_seconds)
        self._results = Results(limit) if only_gateway else None
        slots = Slots(limit.statements, limit.statements_per_principal, limit.queue, limit.queue_seconds)
        self._statements = Statements(
            self._relay,
            slots,
            limit,
            policy=policy,
            views=views,
            audit=audit,
            results=self._results,
            messages=Messages(limit.messages_bytes) if only_gateway else None,
            groups=Groups(fence, runaway, limit.statement_seconds, self.metrics) if group_commit else None,
            native_names=native_names,
            alarm=alarm,
            alone=only_gateway,
            writes=writes,
        )
        # One principal may hold a request of the largest size, all together more of them.
        self._bodies = Slots(
            max(limit.bodies_bytes, limit.body_bytes), limit.body_bytes, limit.queue, limit.queue_seconds
        )
        self._address_rate = Rate(limit.requests_per_address)
        self._principal_rate = Rate(limit.requests_per_principal)
        self._refusal_rate = Rate(AUDITED_REFUSALS)
        self.metrics.running.set_function(lambda: slots.running)
        self.metrics.queued.set_function(lambda: slots.waiting)

    async def __call__(self, exchange: Exchange) -> None:
        match exchange.method, exchange.path:
            case b"POST", b"/quack":
                await self._quack(exchange)
            case b"GET", b"/healthz":
                await exchange.answer(b"ok\n", 200, TEXT)
            case b"GET", b"/readyz":
                await exchange.answer(*((b"ready\n", 200) if self._ready() else (b"not ready\n", 503)), TEXT)
            case _:
                await exchange.answer(b"not found\n", 404, TEXT)

    async def _quack(self, exchange: Exchange) -> None:
        began = time.perf_counter()
        kind, outcome = "UNREADABLE", "ok"
        session: Session | None = None
        try:
            if self._standby():
                raise StandsBy
            exchange.bound(self.limits.body_bytes)
            if seconds := self._address_rate.wait(exchange.address, self.limits.queue_seconds):
                await self._slow_down(seconds, "from this address")
            header = await self._header(exchange)
            kind = header.type.name
            if header.type is KINDS.CONNECTION_REQUEST:
                await self._logins.serve(exchange)
            elif header.type in FORWARDED:
                session = self.sessions.find(header.connection_id)
                exchange.vouch()
                async with self._bodies.hold(session.principal.name, max(1, exchange.length or 0)):
                    outcome = await self._forward(exchange, session, header)
            else:
                raise Refusal("type", f"A client does not send {kind}")
        except Refusal as refusal:
            outcome = "refused"
            self._note(refusal, kind, exchange, session)
            await exchange.refuse(refusal)
        except Gone:
            outcome = "gone"
        except Exception:
            # A fault of ours: the client gets a sentence, the log gets the rest.
            log.exception("a request failed in the gateway")
            outcome = "fault"
            if not exchange.answered:
                await exchange.refuse(
                    Refusal("fault", "The gateway failed on this request; its log says why")
                )
        finally:
            seconds = time.perf_counter() - began
            self.metrics.request(kind, outcome, seconds, exchange.received, exchange.sent)

    async def _slow_down(self, seconds: float, whose: str) -> None:
        """Has one wait who asks too fast, as a load may by right: to refuse a part of it would break it off."""
        if seconds == math.inf:
            raise Refusal("rate", f"Too many requests {whose}: try again in a moment")
        self.metrics.slowed.inc()
        await asyncio.sleep(seconds)

    async def _header(self, exchange: Exchange) -> wire.Header:
        try:
            return wire.parse_header(await exchange.prefix())
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None

    async def _forward(self, exchange: Exchange, session: Session, header: wire.Header) -> str:
        if seconds := self._principal_rate.wait(session.principal.name, self.limits.queue_seconds):
            await self._slow_down(seconds, f"of {session.principal.name}")
        try:
            match header.type:
                case KINDS.PREPARE:
                    return await self._statements.prepare(exchange, session, header)
                case KINDS.APPEND:
                    return await self._statements.append(exchange, session, header)
                case _:
                    body = await exchange.whole(FETCH_BYTES)
                    inner = _anew(body, header, session.ticket.inner)
                    if header.type is KINDS.FETCH:
                        return (await self._statements.fetch(exchange, session, inner)).word
                    outcome = await self._relay.pass_on(exchange, session, inner)
                    self._statements.forget(session)
                    self.sessions.forget(session.connection_id)
                    return outcome.word
        except Refusal as refusal:
            if refusal.reason in ("ended", "node"):
                self.sessions.forget(session.connection_id)
            raise

    def _note(self, refusal: Refusal, kind: str, exchange: Exchange, session: Session | None) -> None:
        """Counts a refusal, and audits one that came before the statement was looked at."""
        self.metrics.refusals.labels(refusal.reason).inc()
        if self._audit is None or refusal.audited:
            return
        if self._refusal_rate.allow(exchange.address):
            facts = about(session) if session else {}
            kind = "login" if kind == KINDS.CONNECTION_REQUEST.name else kind.lower()
            entry = self._audit.start(**facts, kind=kind, address=exchange.address)
            self._audit.finish(entry, "refused", reason=refusal.reason)


def _anew(message: bytes, header: wire.Header, inner: str) -> bytes:
    """A FETCH or DISCONNECT for the session `inner`, written from what was read in `message`."""
    try:
        if header.type is KINDS.FETCH:
            return wire.fetch(inner, wire.parse_fetch(message, header), header.query_id)
        wire.parse_disconnect(message, header)
        return wire.disconnect(inner)
    except WireError:
        raise Refusal("unreadable", NOT_QUACK_1) from None
