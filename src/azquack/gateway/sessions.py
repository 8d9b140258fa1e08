"""Sessions as a gateway sees them: who holds one, where it is, and whether it still counts."""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from azquack.errors import Refusal
from azquack.gateway.limits import Limits
from azquack.gateway.metrics import Metrics
from azquack.gateway.node_session import NodeSession, node_session
from azquack.gateway.ports import Principal, Principals
from azquack.gateway.routing import Node, Nodes
from azquack.gateway.seal import Seal, Ticket
from azquack.gateway.stops import Stoppable
from azquack.gateway.transactions import State
from azquack.quack.lost import AGAIN, LOST, UNKNOWN

NOT_QUACK_1 = (
    "This server speaks Quack 1: use DuckDB 1.5 (1.5.3 or later), for example `pip install duckdb==1.5.5`"
)


@dataclass(slots=True)
class Session:
    """A session that is open as far as this gateway knows.

    `plain` is true while it is as its login left it: no transaction, no setting, no temporary table; `untouched` while
    its bare names mean what they meant at its login. Only the gateway that opened it and has seen all its statements
    can say so. `asking` asks the node in this very session.
    """

    connection_id: str
    ticket: Ticket
    principal: Principal
    node: Node
    asking: NodeSession
    seen: float
    plain: bool = False
    transaction: State = field(default_factory=State)
    untouched: bool = False
    flights: set[Stoppable] = field(default_factory=set)
    """What it has on its way."""
    doing: tuple[str, float] | None = None
    """The statement that runs, and when it came, in seconds of the monotonic clock."""


class Sessions:
    """Opens sealed ids, and counts the sessions seen; those that another gateway opened are as good.

    `sole` says that no other gateway reaches the nodes.
    """

    def __init__(
        self,
        seal: Seal,
        principals: Principals,
        nodes: Nodes,
        limits: Limits,
        metrics: Metrics,
        clock: Callable[[], float] = time.time,
        *,
        sole: bool = False,
    ) -> None:
        self._sole = sole
        self._seal = seal
        self._principals = principals
        self._nodes = nodes
        self._limits = limits
        self._metrics = metrics
        self._clock = clock
        self._known: OrderedDict[str, Session] = OrderedDict()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._known)

    def __iter__(self) -> Iterator[Session]:
        """Those that are known here."""
        return iter(list(self._known.values()))

    def admit(self, principal: Principal) -> None:
        """Raises `Refusal` when `principal` may not open a session more."""
        if principal.expires is not None and principal.expires <= self._clock():
            raise Refusal("expired", "This token has expired: get a new one")
        self._forget_idle()
        if len(self._known) >= self._limits.sessions:
            raise Refusal("sessions", "Too many sessions are open here: try again in a moment")
        if self._held[principal.name] >= self._limits.sessions_per_principal:
            raise Refusal(
                "sessions",
                f"{principal.name} has too many open sessions: DETACH one, or try again in a moment",
            )

    def open(
        self,
        principal: Principal,
        node: Node,
        inner: str,
        client: str,
        heartbeat: int = 0,
        number: int = 0,
    ) -> Session:
        """A new session, and the sealed id for its client; `client`, `heartbeat` and `number` as in `Ticket`."""
        ticket = Ticket(
            inner,
            node.name,
            principal.name,
            principal.role,
            principal.fingerprint,
            principal.expires,
            client,
            heartbeat,
            number,
            self._clock(),
        )
        session = self._note(self._seal.close(ticket), ticket, principal, node)
        session.plain = True
        session.transaction.unsure = False
        session.untouched = self._sole
        return session

    def find(self, connection_id: str) -> Session:
        """The session of a sealed id. Raises `Refusal` when it is forged, over, or no longer allowed."""
        # A seal that was opened once holds: this very text is the key of `known`.
        known = self._known.get(connection_id)
        ticket = known.ticket if known else self._seal.open(connection_id)
        if ticket is None:
            raise Refusal("seal", UNKNOWN)
        if ticket.expires is not None and ticket.expires <= self._clock():
            self.forget(connection_id)
            raise Refusal("expired", f"The token of this session has expired: get a new one, then {AGAIN}")
        principal = self._principals.current(ticket.principal, ticket.fingerprint)
        if principal is None or principal.role != ticket.role:
            self.forget(connection_id)
            raise Refusal(
                "revoked", f"The token of this session was revoked or changed: {AGAIN} with a valid one"
            )
        node = self._nodes.find(ticket.node)
        if node is None:
            self.forget(connection_id)
            raise Refusal("node", LOST)
        if known is None or known.node is not node:
            self.forget(connection_id)
            return self._note(connection_id, ticket, principal, node)
        known.principal = principal
        known.seen = self._clock()
        self._known.move_to_end(connection_id)
        return known

    def forget(self, connection_id: str) -> None:
        """The session is over."""
        session = self._known.pop(connection_id, None)
        if session is None:
            return
        name = session.ticket.principal
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]
        session.node.sessions -= 1
        self._metrics.sessions.labels(name, session.node.name).dec()

    def _note(self, connection_id: str, ticket: Ticket, principal: Principal, node: Node) -> Session:
        asking = node_session(node.upstream, ticket.inner)
        session = Session(connection_id, ticket, principal, node, asking, self._clock())
        self._known[connection_id] = session
        self._held[ticket.principal] += 1
        node.sessions += 1
        self._metrics.sessions.labels(ticket.principal, node.name).inc()
        return session

    def _forget_idle(self) -> None:
        oldest = self._clock() - self._limits.session_idle_seconds
        while self._known:
            first = next(iter(self._known.values()))
            if first.seen > oldest and self._nodes.find(first.node.name) is first.node:
                return
            self.forget(first.connection_id)
