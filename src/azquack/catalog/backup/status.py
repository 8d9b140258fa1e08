"""The status of the backups of a catalog."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(slots=True)
class BackupStatus:
    """The status of the backups of a catalog, as its backup process reports it.

    `last` is the newest backup's time and `checked` when the catalog was last seen to hold nothing newer,
    both in seconds since 1970 (0: never); `problem` says why the last try failed, '' when it did not.
    """

    last: float = 0.0
    checked: float = 0.0
    size: int = 0
    kept: int = 0
    taken: int = 0
    failed: int = 0
    problem: str = ""

    def message(self) -> dict[str, Any]:
        """As it crosses the pipe."""
        return asdict(self)
