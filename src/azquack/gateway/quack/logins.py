"""Logins: who comes in, and the node that takes the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from azquack.errors import StatementError, UpstreamError, WireError
from azquack.gateway.audit import Audit, about
from azquack.gateway.limits import Failures, Limits
from azquack.gateway.ports import AskNode, Principal, Principals
from azquack.gateway.routing import Node, Nodes
from azquack.gateway.sessions import NOT_QUACK_1, Session, Sessions
from azquack.http import Exchange, Refusal
from azquack.node.address import Access
from azquack.quack import wire
from azquack.quack.upstream import exchange as ask

# More of a client's version than this is not sealed.
CLIENT_LENGTH = 16


class StandsBy(Refusal):
    """Of a gateway whose replica stands by. With its socket closed, the next request comes to whoever serves."""

    def __init__(self) -> None:
        super().__init__(
            "standby",
            "Another replica serves this catalog, and this one stands by: try again in a moment",
            503,
        )


class Logins:
    """Answers CONNECTION_REQUESTs; `standby` ends the wait for a node, `read_only` has everybody read."""

    def __init__(
        self,
        nodes: Nodes,
        principals: Principals,
        sessions: Sessions,
        limits: Limits,
        audit: Audit | None,
        ask_node: AskNode,
        *,
        standby: Callable[[], bool],
        read_only: bool,
    ) -> None:
        self._nodes = nodes
        self._principals = principals
        self._sessions = sessions
        self._limits = limits
        self._audit = audit
        self._ask_node = ask_node
        self._standby = standby
        self._read_only = read_only
        self._failures = Failures(limits.failed_logins, limits.failed_login_seconds)

    async def serve(self, exchange: Exchange) -> None:
        """Lets somebody in. Raises `Refusal`."""
        message = await exchange.whole(self._limits.login_bytes)
        try:
            request = wire.parse_connection_request(message)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        if not request.speaks_quack_1:
            raise Refusal("version", NOT_QUACK_1)
        principal = await self._authenticated(exchange, request.token)
        exchange.vouch()
        self._sessions.admit(principal)
        session, answer = await self._open(principal, message, request)
        if self._audit is not None:
            facts = {"address": exchange.address, "client": request.version}
            self._audit.finish(self._audit.start(**about(session), kind="login", **facts), "ok")
        await exchange.answer(answer)

    async def _authenticated(self, exchange: Exchange, token: str) -> Principal:
        if self._failures.blocked(exchange.address):
            raise Refusal("login_rate", "Too many failed logins from this address: try again in a minute")
        # A JWT may need its issuer's keys, which come over the network.
        principal = await asyncio.to_thread(self._principals.authenticate, token)
        if principal is None:
            self._failures.add(exchange.address)
            raise Refusal("token", "Authentication failed: this token is not known here")
        return principal

    async def _open(
        self, principal: Principal, message: bytes, request: wire.ConnectionRequest
    ) -> tuple[Session, bytes]:
        """Logs in at the least busy node; a login may be tried at the next node, since it changes nothing."""
        access: Access = "read" if self._read_only or principal.role == "reader" else "write"
        tried: list[Node] = []
        while node := self._nodes.least_busy(access, besides=tried) or await self._await_node(access, tried):
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
            session = self._sessions.open(
                principal, node, header.connection_id, request.version[:CLIENT_LENGTH]
            )
            return session, wire.with_connection_id(answer, header, session.connection_id)
        if self._standby():
            raise StandsBy
        raise Refusal("no_node", "No DuckDB node is ready to take this session: try again in a moment")

    async def _await_node(self, access: Access, tried: list[Node]) -> Node | None:
        if tried:
            return None
        await self._ask_node(access)
        return await self._nodes.wait_for(access, self._limits.node_wait_seconds, unless=self._standby)
