"""What is known of one backup: a small JSON object beside it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime

from azquack.errors import BackupError

SUFFIX = ".json"
DATA_SUFFIX = ".duckdb.gz"
_TIME = "%Y%m%dT%H%M%S.%fZ"


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup. `time` is UTC; `size` (bytes) and `sha256` are those of the stored, gzipped file."""

    time: datetime
    size: int
    sha256: str
    snapshot: int
    snapshot_time: datetime
    fingerprint: str
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The name by which it is listed; names sort as their times do."""
        return self.time.strftime(_TIME)

    @property
    def file(self) -> str:
        """The name of its data in the place."""
        return self.name + DATA_SUFFIX

    @property
    def manifest_file(self) -> str:
        """The name of this manifest in the place."""
        return self.name + SUFFIX

    def dump(self) -> bytes:
        """The manifest as it is stored."""
        values = asdict(self)
        for key in ("time", "snapshot_time"):
            values[key] = values[key].isoformat()
        return json.dumps(values, indent=2).encode() + b"\n"


def parse(name: str, data: bytes) -> Manifest:
    """The manifest that `dump` made. Raises `BackupError`, naming the file `name`, when it is none."""
    try:
        values = json.loads(data)
        times = {key: datetime.fromisoformat(values[key]) for key in ("time", "snapshot_time")}
        return Manifest(**{each.name: values[each.name] for each in fields(Manifest)} | times)
    except (ValueError, KeyError, TypeError):
        raise BackupError(f"{name} is no manifest of a backup: it was changed or cut short") from None


def time_of(name: str) -> datetime | None:
    """The time in the name of a backup's file, or None when it is no such file."""
    for suffix in (DATA_SUFFIX, SUFFIX):
        if name.endswith(suffix):
            try:
                return datetime.strptime(name.removesuffix(suffix), _TIME).replace(tzinfo=UTC)
            except ValueError:
                return None
    return None
