"""The backup process's end of a look at the catalog, which is a process of its own.

So DuckDB and all else that a backup needs are in memory only while one is taken.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress

from azquack.errors import BackupError
from azquack.process.pipes import Message, decode, encode

# A look that takes longer hangs, in seconds: a catalog of 10 MB takes about two.
PATIENCE = 3600.0


class Looks:
    """Starts looks. `plan` tells each what to look at; `lease` gives the lease on the catalog as it is held."""

    def __init__(
        self, plan: Message, lease: Callable[[], Message | None], *, patience: float = PATIENCE
    ) -> None:
        self._plan = plan
        self._lease = lease
        self._patience = patience

    def look(self, fingerprint: str | None) -> Iterator[Message]:
        """One look: what it finds and does, as `azquack.catalog.backup.look` tells it.

        `fingerprint` is that of the newest backup, None when it is not known. Raises `BackupError` when the
        look fails, and when its process does.
        """
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "azquack.catalog.backup.look"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        except OSError as error:
            raise BackupError(
                f"the process that takes it cannot be started: {(error.strerror or '').lower()}"
            ) from None
        deadline = time.monotonic() + self._patience
        overdue = threading.Timer(self._patience, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            with process:
                if (yield from self._hear(process, fingerprint)):
                    return
        finally:
            overdue.cancel()
        if time.monotonic() >= deadline:
            raise BackupError(f"it did not end within {self._patience:.0f} s")
        code = process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise BackupError(f"the process that takes it ended with {how}")

    def _hear(
        self, process: subprocess.Popen[bytes], fingerprint: str | None
    ) -> Generator[Message, None, bool]:
        """What the look says; the generator's value is whether it came to its end."""
        _tell(process, {**self._plan, "fingerprint": fingerprint})
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith(b"\n"):
                break
            message = decode(line)
            if message["event"] == "lease":
                _tell(process, {"op": "lease", "lease": self._lease()})
            elif message["event"] == "failed":
                raise BackupError(message["sentence"])
            elif message["event"] == "done":
                return True
            else:
                yield message
        return False


def _tell(process: subprocess.Popen[bytes], message: Message) -> None:
    assert process.stdin is not None
    # Of one that is gone, the end of what it says will tell.
    with suppress(BrokenPipeError):
        process.stdin.write(encode(message))
