"""What must stay: for statements that still run, and for every kept backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from azquack.backup.manifest import Manifest
from azquack.backup.restore import Note
from azquack.errors import BackupError

# Schedules carry the clock of the machine that ran the maintenance, backups that of the catalog.
_SKEW = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Snapshots younger than `snapshots` stay; so do files that became needless after `files`.

    Files that nobody names are deleted when they are older than `orphans`, and never when `keep_orphans`
    says why not.
    """

    snapshots: datetime
    files: datetime
    orphans: datetime
    keep_orphans: str = ""


def bounds(
    now: datetime,
    keep_snapshots: timedelta,
    keep_files: timedelta,
    backups: Sequence[Manifest],
    restores: Sequence[Note],
) -> Bounds:
    """The bounds of a maintenance at `now`. Raises `BackupError` while a restore is under way.

    A file became needless when the last snapshot that named it went; from then on it is scheduled for
    deletion. A backup from before that moment still names it, one from after it does not. So nothing is
    deleted that was scheduled after the oldest kept backup. A restore breaks that order: backups from before
    it may name files that the restored catalog never heard of.
    """
    if any(not each.done for each in restores):
        raise BackupError(
            "a restore is under way, or was cut short: finish it with azquack restore, then maintain"
        )
    oldest = min((each.time for each in backups), default=None)
    files = now - keep_files
    if oldest is not None:
        files = min(files, oldest - _SKEW)
    restored = max((each.time for each in restores), default=None)
    reason = ""
    if oldest is not None and restored is not None and oldest < restored:
        reason = f"kept: backups from before the restore of {restored:%Y-%m-%d %H:%M} UTC may need them"
    return Bounds(now - keep_snapshots, files, now - keep_files, reason)
