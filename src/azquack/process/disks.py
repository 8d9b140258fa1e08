"""Whether the disks that a replica writes to have room, so that a full one is said before anybody asks why.

A full disk changes nothing that the other checks look at: reads go on, so does every process, and each write fails.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from azquack.process.health import Board

log = logging.getLogger(__name__)

# Less than this is none: a commit, the catalog's log and a small Parquet file take some megabytes.
LEAST = 16 << 20
# What a measurement writes; one block of the common file systems.
_BLOCK = b"\0" * 4096
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# Each place as a person knows it, and what fails without room there.
_PLACES = {
    "catalog": ("the catalog directory", "every write to the lake fails"),
    "lease": ("the directory of the lease", "the lease cannot be renewed"),
    "backups": ("the backup place", "no backup is taken"),
    "data": ("the data path", "writes of more than a few rows fail"),
    "spill": ("the directory for temporary files", "large sorts, joins and aggregates fail"),
    "audit": ("the directory of the audit log", "what people run is not recorded"),
}
CHECK = "room-{}"
# Seconds between measurements, and while something is full.
EVERY = 10.0
AGAIN = 2.0


class Room(Collector):
    """The room at each of `places`, which are directories by their names in `_PLACES`."""

    def __init__(self, places: Mapping[str, Path]) -> None:
        self._places = dict(places)
        self._problems = dict.fromkeys(self._places, "")

    def measure(self) -> dict[str, str]:
        """Measure every place, writing a block to each; check → '' when well, else what is wrong and what to do.

        Blocks for as long as the disks do.
        """
        for name, path in self._places.items():
            problem = problem_at(name, path)
            if problem and not self._problems[name]:
                log.warning("%s", problem)
            elif self._problems[name] and not problem:
                log.info("there is room again", extra={"place": str(path)})
            self._problems[name] = problem
        return {CHECK.format(name): problem for name, problem in self._problems.items()}

    async def note(self, board: Board) -> float:
        """Measure, and note it on `board`; seconds until the next measurement.

        No check of these is vital. A full disk ends no reader, and a platform that takes the replica away, or starts it
        anew, makes no room.
        """
        problems = await asyncio.to_thread(self.measure)
        for check, problem in problems.items():
            board.note(check, problem, vital=False)
        return AGAIN if any(problems.values()) else EVERY

    def collect(self) -> Iterator[Metric]:
        """The metrics, as of the last measurement."""
        full = GaugeMetricFamily(
            "azquack_disk_full", "1 when writes to the place fail for want of room.", labels=["place"]
        )
        for name, problem in self._problems.items():
            full.add_metric([name], bool(problem))
        yield full


def problem_at(name: str, path: Path) -> str:
    """What is wrong with the directory `path`, the place `name` of a replica, and what fails by it; '' when well."""
    what, failing = _PLACES[name]
    found = shortage(path)
    return f"{what} {path} {found}: {failing}" if found else ""


def shortage(path: Path) -> str:
    """What keeps a file from being written in the directory `path`, as the rest of a sentence; '' for nothing.

    One that is not there yet has the room of the directory that it will be made in.
    """
    there = next(each for each in (path, *path.parents) if each.exists())
    try:
        disk = os.statvfs(there)
        if (free := disk.f_bavail * disk.f_frsize) < LEAST:
            return f"has {free >> 20} MiB left, so make room on its disk"
        if there == path:
            # A quota, and a disk that has become read-only, show in no number. The file loses its name at once.
            with tempfile.TemporaryFile(dir=path, prefix=".azquack-room-", buffering=0) as file:
                file.write(_BLOCK)
                os.fsync(file.fileno())
    except OSError as error:
        if error.errno in _NO_ROOM:
            return f"has no room left ({error.strerror}), so make room on its disk or raise the quota"
        return f"cannot be written ({error.strerror}), so see to its disk"
    return ""
