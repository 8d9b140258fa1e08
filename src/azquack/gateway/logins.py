"""Logins: who comes in, and the node that takes the session."""

from __future__ import annotations

import asyncio
from typing import Protocol

from azquack.errors import Refusal, StatementError, UpstreamError, WireError
from azquack.gateway.audit import Audit, about
from azquack.gateway.limits import Failures, Limits
from azquack.gateway.node_session import CONNECTION_NUMBER, node_session
from azquack.gateway.ports import Principal, Principals, Replica
from azquack.gateway.routing import Node, Nodes
from azquack.gateway.sessions import Session, Sessions
from azquack.node.address import Access
from azquack.quack import wire
from azquack.quack.upstream import exchange as ask

# More of a client's version than this is not sealed.
CLIENT_LENGTH = 16


class Standby(Refusal):
    """Of a gateway whose replica stands by. With its socket closed, the next request comes to whoever serves."""

    def __init__(self) -> None:
        super().__init__(
            "standby",
            "Another replica serves this catalog, and this one stands by: try again in a moment",
            503,
        )


class Caller(Protocol):
    """Whoever wants to come in, from `address`."""

    @property
    def address(self) -> str: ...

    def vouch(self) -> None:
        """It is known now."""


class Authentication:
    """Who has a token; an address that shows too many that nobody has waits."""

    def __init__(self, principals: Principals, limits: Limits) -> None:
        self._principals = principals
        self._failures = Failures(limits.failed_logins, limits.failed_login_seconds)

    async def of(self, address: str, token: str) -> Principal:
        """Who has `token`. Raises `Refusal`, also where too many logins from `address` have failed."""
        if self._failures.blocked(address):
            raise Refusal("login_rate", "Too many failed logins from this address: try again in a minute")
        # A JWT may need its issuer's keys, which come over the network.
        principal = await asyncio.to_thread(self._principals.authenticate, token)
        if principal is None:
            self._failures.add(address)
            reason = await asyncio.to_thread(self._principals.reason, token)
            raise Refusal("token", f"Authentication failed: {reason or 'this token is not known here'}")
        return principal


class Logins:
    """Lets people in, with `read_only` to read alone; a replica on standby ends the wait for a node."""

    def __init__(
        self,
        nodes: Nodes,
        principals: Principals,
        sessions: Sessions,
        limits: Limits,
        audit: Audit | None,
        replica: Replica,
        *,
        read_only: bool,
    ) -> None:
        self._nodes = nodes
        self._sessions = sessions
        self._limits = limits
        self._audit = audit
        self._replica = replica
        self._read_only = read_only
        self._authentication = Authentication(principals, limits)

    async def enter(
        self, caller: Caller, request: wire.ConnectionRequest, number: int | None = None, heartbeat: int = 0
    ) -> tuple[Session, bytes]:
        """A session for whoever has the token of `request`, and what the client is to be answered.

        `heartbeat` as in `Ticket`. Raises `Refusal`.
        """
        principal = await self._authentication.of(caller.address, request.token)
        caller.vouch()
        self._sessions.admit(principal)
        session, answer = await self._open(principal, request, number, heartbeat)
        if self._audit is not None:
            facts = {"address": caller.address, "client": request.version}
            self._audit.finish(self._audit.start(**about(session), kind="login", **facts), "ok")
        return session, answer

    async def _open(
        self, principal: Principal, request: wire.ConnectionRequest, number: int | None, heartbeat: int
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
                answer = await ask(node.upstream, wire.connection_request(inner, number))
                header = wire.parse_header(answer)
                told = await node_session(node.upstream, header.connection_id).text(CONNECTION_NUMBER)
            except (UpstreamError, StatementError, WireError):
                node.healthy = False
                continue
            finally:
                node.running -= 1
            session = self._sessions.open(
                principal, node, header.connection_id, request.version[:CLIENT_LENGTH], heartbeat, int(told)
            )
            return session, wire.with_connection_id(answer, header, session.connection_id)
        if self._replica.standby:
            raise Standby
        raise Refusal("no_node", "No DuckDB node is ready to take this session: try again in a moment")

    async def _await_node(self, access: Access, tried: list[Node]) -> Node | None:
        if tried:
            return None
        self._replica.start_node(access)
        return await self._nodes.wait_for(
            access, self._limits.node_wait_seconds, unless=lambda: self._replica.standby
        )
