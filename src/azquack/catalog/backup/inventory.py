"""What lies in a place of backups, told apart: whole, damaged, of another lake, left over; and which is the newest.

The order is that of what the backups hold, never that of a clock: a later epoch is newer, within an epoch a later
snapshot, within a snapshot the one that was taken later. Backups from before these were noted count as of the epoch
that the restores before them made. A time is only believed as far as this order bears it out: it decides which of
several old backups the retention keeps, and which one `--at` means.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from azquack.catalog.backup import manifest
from azquack.catalog.backup.manifest import Manifest
from azquack.catalog.backup.note import Note, is_note, read_note
from azquack.catalog.backup.places import Entry, Place
from azquack.errors import BackupError

# Clocks may differ by so much.
SKEW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A backup or note that cannot be used: nobody knows what it names. `name` is that of its file."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """The content of a place, for the lake `lake` ('': whichever it is, as long as there is one only).

    `backups` are the whole ones of the lake, the newest first; `notes` those of its restores, the oldest first.
    `foreign` are the backups of other lakes, and `unmanifested` the data files beside which no manifest lies.
    """

    lake: str
    backups: tuple[Manifest, ...]
    notes: tuple[Note, ...]
    damaged: tuple[Damaged, ...]
    foreign: tuple[Manifest, ...]
    unmanifested: Mapping[str, Entry]

    def times(self) -> list[datetime]:
        """When each of `backups` was taken, as far as their order bears it out.

        Of the times that they carry the most that agree with their order are believed; one that does not agree
        was taken with a wrong clock, and counts as of the same time as the one before it.
        """
        said = [each.time for each in self.backups]
        believed = _agreeing(said)
        times: list[datetime] = []
        for place in reversed(range(len(said))):
            before = times[-1] if times else said[max(believed)]
            times.append(said[place] if place in believed else before)
        return times[::-1]

    def misdated(self, now: datetime) -> list[Manifest]:
        """Those of `backups` whose time cannot be right: it lies ahead of `now`, or against their order."""
        pairs = zip(self.backups, self.times(), strict=True)
        return [each for each, time in pairs if each.time - now > SKEW or abs(each.time - time) > SKEW]

    def since_restore(self) -> datetime | None:
        """When the last restore was from before which a backup is kept; None when there is none."""
        times = [
            note.time for note in self.notes
            if any(each.epoch < note.epoch if each.epoch and note.epoch else each.time < note.time
                   for each in self.backups)
        ]  # fmt: skip
        return max(times, default=None)


def take(place: Place, lake: str) -> Inventory:
    """The content of `place` now. Raises `BackupError` when the place as a whole cannot be read."""
    entries = place.entries()
    found: list[Manifest] = []
    notes: list[Note] = []
    damaged: list[Damaged] = []
    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch:
        path = Path(scratch) / "text"
        for name, entry in sorted(entries.items()):
            is_manifest = name.endswith(manifest.SUFFIX) and manifest.time_of(name) is not None
            if not is_manifest and not is_note(name):
                continue
            try:
                text = _text(place, name, entry, path)
                if is_manifest:
                    found.append(_whole(manifest.parse(name, text), name, entries))
                else:
                    notes.append(read_note(name, text))
            except BackupError as error:
                # What another process deleted meanwhile is not damaged.
                if name in place.entries():
                    damaged.append(Damaged(name, str(error)))
    stems = {name.removesuffix(manifest.SUFFIX) for name in entries if name.endswith(manifest.SUFFIX)}
    bare = {
        name: entry for name, entry in entries.items()
        if name.endswith(manifest.DATA_SUFFIX) and manifest.time_of(name)
        and name.removesuffix(manifest.DATA_SUFFIX) not in stems
    }  # fmt: skip
    own, foreign = _of(found, lake)
    notes = [each for each in notes if not lake or each.lake in ("", lake)]
    notes.sort(key=lambda each: each.time)
    ordered = sorted(own, key=lambda each: _order(each, notes), reverse=True)
    return Inventory(lake, tuple(ordered), tuple(notes), tuple(damaged), tuple(foreign), bare)


def _text(place: Place, name: str, entry: Entry, path: Path) -> bytes:
    if entry.size > manifest.LONGEST:
        raise BackupError(f"{name} has {entry.size:,} bytes, and is none of ours")
    place.get(name, path)
    return path.read_bytes()


def _whole(found: Manifest, name: str, entries: Mapping[str, Entry]) -> Manifest:
    """`found`, when its data lies beside it. Raises `BackupError`."""
    if found.manifest_file != name:
        raise BackupError(f"{name} says that it is the manifest of {found.name}: it was renamed or changed")
    data = entries.get(found.file)
    if data is None:
        raise BackupError(f"the data of the backup {found.name} is gone")
    if data.size != found.size:
        raise BackupError(
            f"the data of the backup {found.name} has {data.size:,} bytes instead of {found.size:,}"
        )
    return found


def _of(found: Sequence[Manifest], lake: str) -> tuple[list[Manifest], list[Manifest]]:
    """The backups of `lake`, and the others. Where `lake` is '' and there are several, nobody knows which is meant."""
    if not lake:
        return ([], list(found)) if len({each.lake for each in found if each.lake}) > 1 else (list(found), [])
    own = [each for each in found if each.lake in ("", lake)]
    return own, [each for each in found if each.lake not in ("", lake)]


def _agreeing(times: Sequence[datetime]) -> set[int]:
    """The places of the longest part of `times`, which are in order from new to old, that never ascends."""
    best: list[list[int]] = []
    longest: list[int] = []
    for place, time in enumerate(times):
        before: list[int] = []
        for each in best:
            if times[each[-1]] >= time and len(each) > len(before):
                before = each
        best.append([*before, place])
        if len(before) >= len(longest):
            longest = best[-1]
    return set(longest)


def _order(each: Manifest, notes: Sequence[Note]) -> tuple[int, int, int, int, datetime]:
    restores = 0 if each.epoch else sum(note.time < each.time for note in notes)
    return each.epoch, restores, each.snapshot, each.sequence, each.time
