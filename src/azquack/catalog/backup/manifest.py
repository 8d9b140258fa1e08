"""What is known of one backup: a small JSON object beside it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from azquack.errors import BackupError

SUFFIX = ".json"
DATA_SUFFIX = ".duckdb.gz"
# A manifest has less than a kilobyte; what is much longer is none, in bytes.
LONGEST = 1 << 16
_TIME = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(r"\d{8}T\d{6}\.\d{6}Z", re.ASCII)
_VERSION = re.compile(r"[\w.+-]{1,64}", re.ASCII)
_KINDS: dict[str, type] = {
    "size": int, "sha256": str, "snapshot": int, "fingerprint": str, "versions": dict, "epoch": int,
    "sequence": int, "unpacked": int, "lake": str,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Manifest:
    """One backup. `time` is UTC; `size` (bytes) and `sha256` are those of the stored, gzipped file.

    `lake` and `epoch` are what the catalog said of itself (`azquack.lake.lake_id`), `sequence` is its number among the
    backups of its lake in its place, `unpacked` the size of its DuckDB file in bytes. Backups that older versions
    took lack these: `lake` is '' and the numbers are 0.
    """

    time: datetime
    size: int
    sha256: str
    snapshot: int
    snapshot_time: datetime
    fingerprint: str
    versions: dict[str, str] = field(default_factory=dict)
    lake: str = ""
    epoch: int = 0
    sequence: int = 0
    unpacked: int = 0

    @property
    def name(self) -> str:
        """The name by which it is listed."""
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
        values: dict[str, Any] = json.loads(data)
        times = {key: utc(values[key]) for key in ("time", "snapshot_time")}
        required = {"size", "sha256", "snapshot", "fingerprint", "versions"}
        given = {each.name: values[each.name] for each in fields(Manifest)
                 if each.name in values or each.name in required}  # fmt: skip
        for key, kind in _KINDS.items():
            if key in given and (type(given[key]) is not kind or (kind is int and given[key] < 0)):
                raise ValueError(key)
        versions = given["versions"].values()
        if not all(isinstance(each, str) and _VERSION.fullmatch(each) for each in versions):
            raise ValueError("versions")
        if given.get("lake", "") and not _VERSION.fullmatch(given["lake"]):
            raise ValueError("lake")
        return Manifest(**given | times)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise BackupError(f"{name} is no manifest of a backup: it was changed or cut short") from None


def utc(text: str) -> datetime:
    """The time that `text` says; one without a zone is UTC. Raises `ValueError`, `TypeError`, `OverflowError`."""
    time = datetime.fromisoformat(text)
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def time_of(name: str) -> datetime | None:
    """The time in the name of a backup's file, or None when it is no such file."""
    for suffix in (DATA_SUFFIX, SUFFIX):
        stem = name.removesuffix(suffix)
        if name.endswith(suffix) and _NAME.fullmatch(stem):
            try:
                return datetime.strptime(stem, _TIME).replace(tzinfo=UTC)
            except ValueError:
                return None
    return None
