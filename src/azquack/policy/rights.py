"""What somebody may do: a role, and grants where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from azquack.principals.principal import Grant, Role

MAKER = "azquack_maker"
"""The name of the clause by which a view says who made it."""


class Person(Protocol):
    """Somebody who may do what a role and grants allow."""

    @property
    def name(self) -> str: ...
    @property
    def role(self) -> str: ...
    @property
    def grants(self) -> tuple[Grant, ...] | None: ...


@dataclass(frozen=True, slots=True)
class Rights:
    """What somebody may do; `maker` is whose name a view made with them bears, and empty without grants."""

    role: Role
    grants: tuple[Grant, ...] | None
    maker: str = ""

    @classmethod
    def of(cls, principal: Person) -> Rights:
        """Those of `principal`."""
        maker = principal.name if principal.grants is not None else ""
        return cls(Role(principal.role), principal.grants, maker)
