"""How glibc's malloc keeps memory in a process of a replica, set in its environment (mallopt(3))."""

from __future__ import annotations

import os

# Of its arenas, each of which keeps what was freed in it, glibc makes eight for each core. With one, a node of
# 1 GiB peaks at 0.96 GB under TPC-H instead of 1.15 (`python -m bench --workload memory`).
ARENAS = {"MALLOC_ARENA_MAX": str(len(os.sched_getaffinity(0)))}
# A gateway takes and frees buffers of some 100 KiB to 4 MiB for each message. By default the kernel gives those their
# pages one by one and gets them back each time, which is more work than the copying: kept, a gateway needs a third less
# CPU for inserts and half for results, for a few MB (`python -m bench.gateway`).
BUFFERS = {"MALLOC_MMAP_THRESHOLD_": str(8 << 20), "MALLOC_TRIM_THRESHOLD_": str(16 << 20)}
