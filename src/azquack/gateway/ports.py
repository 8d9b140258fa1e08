"""What the gateway asks of others: who someone is, what they may do, where the nodes are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

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


def always() -> bool:
    """The fence of a gateway that nothing fences."""
    return True


def never() -> bool:
    """Whether a gateway without a lease stands by."""
    return False


async def no_more(access: Access) -> None:
    """The way to a further node where none can be started."""


def ignore(node: str, reason: str) -> None:
    """The listener of a gateway that cannot restart a node."""


Fence = Callable[[], bool]
AskNode = Callable[[Access], Awaitable[None]]
Runaway = Callable[[str, str], None]
