"""What files show of having been written to."""

from __future__ import annotations

import os
from collections.abc import Sequence

# Of each file its size in bytes and the time of its last change in nanoseconds since 1970, None when it is not there.
FileStats = tuple[tuple[int, int] | None, ...]


def stats_of(files: Sequence[str]) -> FileStats | None:
    """The size and time of `files` as they are now; None when one of them does not show it."""
    try:
        return tuple(_stats_of(each) for each in files)
    except OSError:
        return None


def quiet_since(stats: FileStats, moment: float) -> bool:
    """Whether none of the files was written to after `moment`, in seconds since 1970."""
    return all(each is None or each[1] < moment * 1e9 for each in stats)


def _stats_of(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116  pathlib takes half a megabyte of memory
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
