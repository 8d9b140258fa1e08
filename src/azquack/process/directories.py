"""A private directory for one process: its extensions, its secrets while it starts, what it spills."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAME = re.compile(r"azquack-(\d+)-")


@contextmanager
def private_directory() -> Iterator[Path]:
    """A directory, mode 0700, gone at the end.

    A process that was killed leaves its own behind, which may hold gigabytes of spill: the next one that
    starts as the same user removes those whose process is gone.
    """
    root = Path(tempfile.gettempdir())
    for path in root.glob("azquack-*"):
        match = _NAME.match(path.name)
        with suppress(OSError):
            if match and path.stat().st_uid == os.getuid() and not Path(f"/proc/{match[1]}").exists():
                shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"azquack-{os.getpid()}-", ignore_cleanup_errors=True
    ) as directory:
        yield Path(directory)
