"""How old a thing must be before it goes, by the clock of the one who dated it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from azquack.errors import LakeError

# Clocks may differ by so much.
SKEW = timedelta(minutes=5)
# A file that nobody names may be that of a transaction which is still open. A session ends after AZQUACK_IDLE_TIMEOUT
# without a statement and a statement after AZQUACK_STATEMENT_TIMEOUT, 75 minutes by default; whoever goes on for longer
# and commits files that are gone is refused (`link/files.py`).
OPEN = timedelta(hours=2)


@dataclass(frozen=True, slots=True)
class Clocks:
    """What time it is for the catalog, which dates snapshots, for the storage, which dates files, and here."""

    catalog: datetime
    storage: datetime
    here: datetime

    def agree(self) -> None:
        """Raises `LakeError` when they differ by more than `SKEW`."""
        known = {"the catalog": self.catalog, "the storage": self.storage, "this machine": self.here}
        if max(known.values()) - min(known.values()) > SKEW:
            said = ", ".join(f"{who} says {time:%Y-%m-%d %H:%M:%S}" for who, time in known.items())
            raise LakeError(f"the clocks differ: {said} (UTC). Set them right, then maintain")


@dataclass(frozen=True, slots=True)
class Bounds:
    """Snapshots younger than `snapshots` stay; so do files that became needless after `files`.

    Files that nobody names are deleted when they were written before `orphans`, by the clock of the storage.
    """

    snapshots: datetime
    files: datetime
    orphans: datetime


def bounds(clocks: Clocks, keep_snapshots: timedelta, keep_files: timedelta) -> Bounds:
    """The bounds of a maintenance that is to keep things for so long."""
    return Bounds(
        clocks.catalog - keep_snapshots,
        clocks.catalog - keep_files,
        clocks.storage - max(keep_files, OPEN),
    )
