"""What the catalog itself knows of the places where its backups lie: the table `azquack_backup_places`.

One row for each: `place` as AZQUACK_BACKUP_TO names it, `taken` once a backup lay there. So whoever maintains the lake
learns from the running catalog what must be protected, whatever its own settings say. The catalog's node makes the
table when it starts; whoever takes a backup notes the place.
"""

from __future__ import annotations

from dataclasses import dataclass

from azquack.sql import Statement, literal, plain

TABLE = "azquack_backup_places"
READ = f"SELECT place, taken FROM {TABLE}"


@dataclass(frozen=True, slots=True)
class Noted:
    """A place that the catalog knows; `taken` once a backup lay there."""

    place: str
    taken: bool


def making(place: str | None) -> list[Statement]:
    """The statements that make the table and note `place`, where the replica is to take backups."""
    made = [plain(f"CREATE TABLE IF NOT EXISTS {TABLE} (place VARCHAR PRIMARY KEY, taken BOOLEAN)")]
    if place is not None:
        made.append(plain(f"INSERT OR IGNORE INTO {TABLE} VALUES ({literal(place)}, false)"))
    return made


def noting(place: str) -> str:
    """The statement that notes a backup in `place`."""
    return f"INSERT OR REPLACE INTO {TABLE} VALUES ({literal(place)}, true)"


def forgetting(place: str) -> str:
    """The statement that has the catalog forget `place`."""
    return f"DELETE FROM {TABLE} WHERE place = {literal(place)}"
