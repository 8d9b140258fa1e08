"""Named health checks, refreshed in the background, so that a probe reads a board and never waits."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

STALE = 30.0


class Health(StrEnum):
    """How a check stands; `unknown` until it has first run, and again when nobody renews it."""

    OK = "ok"
    ERROR = "error"
    UNKNOWN = "unknown"


@dataclass(slots=True)
class Check:
    """One named check, what it last said, and when. The replica serves without those that are not `vital`."""

    name: str
    vital: bool = True
    health: Health = Health.UNKNOWN
    detail: str = "not checked yet"
    last_check: datetime | None = None
    _at: float = 0.0

    def note(self, problem: str) -> None:
        """Record a result: '' is well, anything else says what is wrong."""
        self.health = Health.ERROR if problem else Health.OK
        self.detail = problem
        self.last_check, self._at = datetime.now(UTC), time.monotonic()

    def now(self) -> Health:
        """The result, or `unknown` when it is older than `STALE` seconds."""
        if self.health is not Health.UNKNOWN and time.monotonic() - self._at > STALE:
            return Health.UNKNOWN
        return self.health


class Board:
    """All checks of a replica. It is ready when each vital one of them is well and fresh."""

    def __init__(self, names: Iterable[str]) -> None:
        self.checks = {name: Check(name) for name in names}

    def note(self, name: str, problem: str, *, vital: bool = True) -> None:
        """Record a result of check `name`; a name that is not on the board is put on it, `vital` or not."""
        self.checks.setdefault(name, Check(name, vital)).note(problem)

    @property
    def ready(self) -> bool:
        """Whether the replica can serve."""
        return all(check.now() is Health.OK for check in self.checks.values() if check.vital)

    def details(self) -> dict[str, dict[str, str | None]]:
        """Every check as JSON-shaped data; for those who run the replica, not for the public."""
        return {
            check.name: {
                "status": check.now().value,
                "detail": check.detail,
                "lastCheck": check.last_check.isoformat(timespec="milliseconds")
                if check.last_check
                else None,
            }
            for check in self.checks.values()
        }
