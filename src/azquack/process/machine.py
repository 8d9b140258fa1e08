"""What the container, or else the machine, has."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# Of -1000 to 1000: whatever else the process is like, it goes first.
_FIRST_TO_GO = 900
MEMORY_MAX = Path("/sys/fs/cgroup/memory.max")


def memory_bytes(limit_file: Path = MEMORY_MAX) -> int:
    """Bytes of memory that this container may use: cgroup v2's limit, or all there is."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = limit_file.read_text().strip()
    except OSError:
        return total
    return min(total, int(text)) if text.isdigit() else total


def first_to_go() -> None:
    """Have the kernel end this process before its siblings when the container's memory runs out.

    https://docs.kernel.org/filesystems/proc.html#proc-pid-oom-adj-proc-pid-oom-score-adj-adjust-the-oom-killer-score
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_FIRST_TO_GO))


def size(count: int) -> str:
    """`count` bytes as a DuckDB size."""
    return f"{count // 2**20}MiB"
