"""What a gateway asks of others: who someone is, what they may do, how its replica is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from azquack.node.address import Access

if TYPE_CHECKING:
    from azquack.policy.scope import Asked, Scope
    from azquack.policy.views import Read, View
    from azquack.principals.principal import Grant
    from azquack.principals.principal import Principal as Person

RoleName = Literal["reader", "writer", "admin"]


class Principal(Protocol):
    """Someone with a token. `fingerprint` changes with the credential; `expires` is in Unix seconds."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def expires(self) -> float | None: ...
    @property
    def grants(self) -> tuple[Grant, ...] | None: ...


class Principals(Protocol):
    """Who is let in."""

    def authenticate(self, token: str) -> Principal | None:
        """The principal of `token`; None when there is none."""

    def reason(self, token: str) -> str:
        """Why `token` lets nobody in, as its bearer may know; or ''."""

    def current(self, name: str, fingerprint: str) -> Principal | None:
        """The principal of a session that was opened before; None when it was revoked since."""

    def restricted(self) -> bool:
        """Whether anybody has grants."""

    def named(self, name: str) -> Sequence[Person]:
        """Those who are called `name` in a book, where rights are given and taken; nobody when it is in none."""


class Verdict(Protocol):
    """Whether a statement is allowed; `kind` is for the audit log, `reason` for the user.

    `sql` is what the node shall run in its place, None for itself. `plain`: it leaves nothing behind in its session.
    `rows`: so many literal rows it inserts, if that is all it does. `touches`: bare names may mean something else in
    its session afterwards. `asked`: names that its node must be asked for first. `reads`: what it reads of the lake.
    """

    @property
    def allowed(self) -> bool: ...
    @property
    def kind(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def plain(self) -> bool: ...
    @property
    def rows(self) -> int: ...
    @property
    def sql(self) -> str | None: ...
    @property
    def touches(self) -> bool: ...
    @property
    def asked(self) -> frozenset[Asked]: ...
    @property
    def reads(self) -> frozenset[Read]: ...


class Policy(Protocol):
    """What each principal may run."""

    @property
    def lake(self) -> str:
        """The name of the lake."""

    def check(self, principal: Any, sql: str, scope: Scope) -> Verdict: ...
    def check_append(self, principal: Any, schema: str, table: str) -> Verdict: ...
    def view(self, sql: str, schema: str) -> View: ...


class Progress(NamedTuple):
    """How far a statement is, as DuckDB estimates it: percent, and `rows` of how many."""

    percent: float
    rows: int
    of: int


class Replica(Protocol):
    """What a gateway knows of the replica around it, and asks of it."""

    @property
    def ready(self) -> bool:
        """Whether all of it is well."""

    @property
    def standby(self) -> bool:
        """Whether it waits for what another replica owns: its gateway then sends everybody away."""

    def may_answer(self) -> bool:
        """Whether what a node answered may still leave the gateway."""

    def start_node(self, access: Access) -> None:
        """Asks for a node of this access, where one can be started."""

    def end_node(self, node: str, reason: str) -> None:
        """Asks for an end of `node`, which is started anew."""

    async def interrupt(self, node: str, connection: int) -> bool | None:
        """Has `node` interrupt what runs in a connection: whether it is there; None where nobody can."""

    async def progress(self, node: str, connections: Collection[int]) -> dict[int, Progress]:
        """How far the statements of these connections of `node` are, of those of which that is known."""


class NoReplica:
    """Around a gateway that is alone: nothing fences it, and no node can be started or ended."""

    ready = True
    standby = False

    def may_answer(self) -> bool:
        """It may."""
        return True

    def start_node(self, access: Access) -> None:
        """There is none."""

    def end_node(self, node: str, reason: str) -> None:
        """It goes on."""

    async def interrupt(self, node: str, connection: int) -> bool | None:
        """Nobody can."""
        return None

    async def progress(self, node: str, connections: Collection[int]) -> dict[int, Progress]:
        """Nobody knows."""
        return {}
