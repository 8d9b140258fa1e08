"""What the container, or else the machine, has."""

from __future__ import annotations

import os
from pathlib import Path

MEMORY_MAX = Path("/sys/fs/cgroup/memory.max")


def memory_bytes(limit_file: Path = MEMORY_MAX) -> int:
    """Bytes of memory that this container may use: cgroup v2's limit, or all there is."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        text = limit_file.read_text().strip()
    except OSError:
        return total
    return min(total, int(text)) if text.isdigit() else total


def share(fraction: float) -> str:
    """`fraction` of that memory as a DuckDB size."""
    return f"{int(memory_bytes() * fraction) // 2**20}MiB"
