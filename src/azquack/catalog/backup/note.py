"""The note that a restore leaves in the place of the backups.

While it says that the restore runs, nobody may maintain the lake; afterwards it tells `azquack maintain` that backups
from before it may name files which the restored catalog does not know, and which are no orphans therefore.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from azquack.catalog.backup.manifest import utc
from azquack.catalog.backup.places import Place
from azquack.errors import BackupError

_PREFIX = "restored-"
_SUFFIX = ".note"


@dataclass(frozen=True, slots=True)
class Note:
    """A restore that began at `time` (UTC); `done` says whether it came to its end.

    `lake` is the lake that was restored and `epoch` the one that the restore made; '' and 0 in a note of an older
    version.
    """

    time: datetime
    done: bool
    lake: str = ""
    epoch: int = 0

    @property
    def name(self) -> str:
        """Its name in the place."""
        return f"{_PREFIX}{self.time:%Y%m%dT%H%M%S.%fZ}{_SUFFIX}"

    def write(self, place: Place) -> None:
        """Put it into the place. Raises `BackupError`."""
        values = {"time": self.time.isoformat(), "done": self.done, "lake": self.lake, "epoch": self.epoch}
        with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
            path = Path(scratch) / "note"
            path.write_text(json.dumps(values) + "\n")
            place.put(self.name, path)


def is_note(name: str) -> bool:
    """Whether the file `name` of a place is the note of a restore."""
    return name.startswith(_PREFIX) and name.endswith(_SUFFIX)


def read_note(name: str, data: bytes) -> Note:
    """The note that `write` wrote. Raises `BackupError`, naming the file `name`, when it is none."""
    try:
        values = json.loads(data)
        time, done, lake, epoch = (
            utc(values["time"]),
            values["done"],
            values.get("lake", ""),
            values.get("epoch", 0),
        )
        if not (isinstance(done, bool) and isinstance(lake, str) and type(epoch) is int):
            raise ValueError(name)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError, AttributeError):
        raise BackupError(f"{name} is no note of a restore: it was changed or cut short") from None
    return Note(time, done, lake, epoch)
