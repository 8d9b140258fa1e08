"""The gateway's HTTP side: what lets stock DuckDB clients through to the nodes.

`POST /quack` is Quack; `GET /healthz` and `GET /readyz` say whether the gateway is well; all else is 404.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from azquack.errors import ClientGone, Refusal, WireError
from azquack.gateway.activity import Activity
from azquack.gateway.alarm import Alarm
from azquack.gateway.audit import Audit
from azquack.gateway.checks import Checks
from azquack.gateway.execution import Execution
from azquack.gateway.group import Groups
from azquack.gateway.limits import Limits, Slots
from azquack.gateway.logins import Logins, Standby
from azquack.gateway.messages import Messages
from azquack.gateway.metrics import Metrics
from azquack.gateway.outcome import Outcome
from azquack.gateway.pipeline import Services
from azquack.gateway.ports import NoReplica, Policy, Principals, Replica
from azquack.gateway.quack.native_names import NativeNames
from azquack.gateway.quack.statements import Statements
from azquack.gateway.relay import Relay
from azquack.gateway.results import Results
from azquack.gateway.routing import Nodes
from azquack.gateway.seal import Seal
from azquack.gateway.sessions import NOT_QUACK_1, Session, Sessions
from azquack.gateway.traffic import Traffic
from azquack.gateway.transactions import Transactions
from azquack.gateway.verdicts import Verdicts
from azquack.gateway.writes import Writes
from azquack.http import Exchange
from azquack.quack import wire, wire3

if TYPE_CHECKING:
    from azquack.gateway.quack3.app import Quack3
    from azquack.gateway.views import LakeViews

log = logging.getLogger(__name__)

KINDS = wire.MessageType
# What clients send within a session, of either version.
SENT = frozenset((KINDS.PREPARE, KINDS.FETCH, KINDS.APPEND, KINDS.DISCONNECT)) | {
    wire3.Kind.FINALIZE, wire3.Kind.CANCEL, wire3.Kind.ACKNOWLEDGEMENT, wire3.Kind.HEARTBEAT,
}  # fmt: skip
NOT_QUACK = (
    "Unsupported Quack version: this server speaks Quack 1 (DuckDB 1.5.3 and later) and Quack 3 (DuckDB 2.x)"
)
TEXT = b"text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Rights:
    """Who comes in, and what they may do.

    `policy` is None where the one principal may do everything; `views` holds what is read through views against their
    makers' rights.
    """

    principals: Principals
    seal: Seal
    policy: Policy | None = None
    views: LakeViews | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """What is told of statements: `alarm` is sounded at refusals that cannot be a mere mistake."""

    metrics: Metrics
    audit: Audit | None = None
    alarm: Alarm | None = None
    writes: Writes | None = None


@dataclass(frozen=True, slots=True)
class Mode:
    """How a gateway serves.

    `native_names` makes the tables of every schema work natively, for a query node; `read_only` sends everybody to
    nodes that read; `alone` says that no other gateway serves its nodes: it counts open results, watches transactions,
    and with `group_commit` gathers small inserts.
    """

    native_names: bool = False
    read_only: bool = False
    alone: bool = False
    group_commit: bool = False


class Gateway:
    """Answers each `Exchange`. Everything it needs is given to it; it starts nothing and closes nothing."""

    def __init__(
        self,
        nodes: Nodes,
        rights: Rights,
        records: Records | None = None,
        mode: Mode | None = None,
        limits: Limits | None = None,
        replica: Replica | None = None,
    ) -> None:
        self.nodes = nodes
        self.limits = limit = limits or Limits()
        records, mode = records or Records(Metrics()), mode or Mode()
        self.metrics = records.metrics
        self._replica = replica = replica or NoReplica()
        self.sessions = Sessions(rights.seal, rights.principals, nodes, limit, self.metrics, sole=mode.alone)
        self._traffic = Traffic(limit, self.metrics, records.audit)
        self._logins = Logins(
            nodes, rights.principals, self.sessions, limit, records.audit, replica, read_only=mode.read_only
        )
        slots = Slots(limit.statements, limit.statements_per_principal, limit.queue, limit.queue_seconds)
        results = Results(limit) if mode.alone else None
        activity = Activity(self.sessions, replica, results, records.audit) if mode.native_names else None
        services = Services(
            slots,
            _verdicts(rights.policy, records, limit),
            transactions=Transactions(alone=mode.alone) if mode.native_names else None,
            views=rights.views,
            audit=records.audit,
            alarm=records.alarm,
            writes=records.writes,
            activity=activity,
        )
        execution = Execution(
            Relay(replica, limit),
            groups=Groups(replica, limit, self.metrics) if mode.group_commit else None,
            results=results,
            messages=Messages(limit.messages_bytes) if mode.alone else None,
        )
        self._statements = Statements(
            services, execution, limit, NativeNames() if mode.native_names else None
        )
        # A catalog's one client is our own link, which speaks Quack 1.
        self._speaks_quack3 = mode.native_names
        self._quack3: Quack3 | None = None

        def made() -> Quack3:
            from azquack.gateway.quack3.app import Quack3

            return Quack3(self._logins, self.sessions, services, execution, limit, alone=mode.alone)

        self._make_quack3 = made
        self.metrics.running.set_function(lambda: slots.running)
        self.metrics.queued.set_function(lambda: slots.waiting)

    async def _version3(self) -> Quack3:
        """Quack 3 of this gateway; with its first client comes numpy, 21 MB that others need not hold."""
        if self._quack3 is None:
            await asyncio.to_thread(import_module, "azquack.gateway.quack3.app")
        if self._quack3 is None:
            self._quack3 = self._make_quack3()
        return self._quack3

    async def __call__(self, exchange: Exchange) -> None:
        match exchange.method, exchange.path:
            case b"POST", b"/quack":
                await self._quack(exchange)
            case b"GET", b"/healthz":
                await exchange.answer(b"ok\n", 200, TEXT)
            case b"GET", b"/readyz":
                ready = self._replica.ready
                await exchange.answer(*((b"ready\n", 200) if ready else (b"not ready\n", 503)), TEXT)
            case _:
                await exchange.answer(b"not found\n", 404, TEXT)

    async def _quack(self, exchange: Exchange) -> None:
        began = time.perf_counter()
        kind, outcome = "UNREADABLE", "ok"
        session: Session | None = None
        try:
            if self._replica.standby:
                raise Standby
            exchange.bound(self.limits.body_bytes)
            await self._traffic.arrive(exchange.address)
            header = await self._header(exchange)
            kind = header.type.name
            if header.type is KINDS.CONNECTION_REQUEST:
                await self._login(exchange, header)
            else:
                session = self._session(header)
                exchange.vouch()
                async with self._traffic.hold(session, exchange.length or 0):
                    outcome = (await self._answer(exchange, session, header)).word
        except Refusal as refusal:
            outcome = "refused"
            what = "login" if kind == KINDS.CONNECTION_REQUEST.name else kind.lower()
            self._traffic.refused(refusal, what, exchange.address, session)
            if session is not None and session.ticket.heartbeat and self._speaks_quack3:
                await (await self._version3()).refuse(exchange, refusal)
            else:
                await exchange.refuse(refusal)
        except ClientGone:
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

    async def _header(self, exchange: Exchange) -> wire.Header | wire3.Header:
        prefix = await exchange.prefix()
        try:
            return wire.parse_header(prefix)
        except WireError:
            if not self._speaks_quack3:
                raise Refusal("unreadable", NOT_QUACK_1) from None
        try:
            return wire3.parse_header(prefix)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK) from None

    def _session(self, header: wire.Header | wire3.Header) -> Session:
        if header.type not in SENT:
            raise Refusal("type", f"A client does not send {header.type.name}")
        if self._quack3 is not None:
            self._quack3.check(header.connection_id)
        session = self.sessions.find(header.connection_id)
        if session.ticket.heartbeat == 0 and isinstance(header, wire3.Header):
            raise Refusal("unreadable", f"A session of Quack 1 does not know {header.type.name}")
        return session

    async def _login(self, exchange: Exchange, header: wire.Header | wire3.Header) -> None:
        message = await exchange.whole(self.limits.login_bytes)
        if self._speaks_quack3:
            try:
                login = wire3.parse_login(message)
            except WireError:
                raise Refusal("unreadable", NOT_QUACK) from None
            if login.speaks_quack_3:
                return await (await self._version3()).login(exchange, login)
            if not login.lowest <= wire.QUACK_VERSION <= login.highest:
                raise Refusal("version", NOT_QUACK)
        try:
            request = wire.parse_connection_request(message)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        if not request.speaks_quack_1:
            raise Refusal("version", NOT_QUACK_1)
        _, answer = await self._logins.enter(exchange, request, header.query_id)
        return await exchange.answer(answer)

    async def _answer(
        self, exchange: Exchange, session: Session, header: wire.Header | wire3.Header
    ) -> Outcome:
        if session.ticket.heartbeat and self._speaks_quack3:
            return await (await self._version3()).serve(
                exchange, session, wire3.parse_header(await exchange.prefix())
            )
        assert isinstance(header, wire.Header)
        try:
            match header.type:
                case KINDS.PREPARE:
                    return await self._statements.prepare(exchange, session, header)
                case KINDS.APPEND:
                    return await self._statements.append(exchange, session, header)
                case KINDS.FETCH:
                    return await self._statements.fetch(exchange, session, header)
                case _:
                    outcome = await self._statements.disconnect(exchange, session, header)
                    self.sessions.forget(session.connection_id)
                    return outcome
        except Refusal as refusal:
            if refusal.reason in ("ended", "node"):
                self.sessions.forget(session.connection_id)
            raise


def _verdicts(policy: Policy | None, records: Records, limits: Limits) -> Verdicts:
    # The catalog's texts come from our own link, and its policy reads them in linear time: no process is needed.
    return Verdicts(policy, Checks(policy, limits.queue_seconds) if policy and not records.alarm else None)
