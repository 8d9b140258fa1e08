"""Starts a backup run, which is a process of its own, and reads what it reports.

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

# A run that takes longer hangs, in seconds: a catalog of 10 MB takes about two.
RUN_TIMEOUT = 3600.0


class Runner:
    """Starts backup runs with the configuration `config`; `lease` gives the lease on the catalog as it is held."""

    def __init__(
        self, config: Message, lease: Callable[[], Message | None], *, timeout: float = RUN_TIMEOUT
    ) -> None:
        self._config = config
        self._lease = lease
        self._timeout = timeout

    def run(self, fingerprint: str | None) -> Iterator[Message]:
        """One run: what it finds and does, as `azquack.catalog.backup.run` reports it.

        `fingerprint` is that of the newest backup, None when it is not known. Raises `BackupError` when the
        run fails, and when its process does.
        """
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "azquack.catalog.backup.run"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
            )
        except OSError as error:
            raise BackupError(
                f"the process that takes it cannot be started: {(error.strerror or '').lower()}"
            ) from None
        deadline = time.monotonic() + self._timeout
        overdue = threading.Timer(self._timeout, process.kill)
        overdue.daemon = True
        overdue.start()
        try:
            with process:
                if (yield from self._receive(process, fingerprint)):
                    return
        finally:
            overdue.cancel()
        if time.monotonic() >= deadline:
            raise BackupError(f"it did not end within {self._timeout:.0f} s")
        code = process.returncode
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise BackupError(f"the process that takes it ended with {how}")

    def _receive(
        self, process: subprocess.Popen[bytes], fingerprint: str | None
    ) -> Generator[Message, None, bool]:
        """What the run reports; the generator's value is whether it came to its end."""
        _send(process, {**self._config, "fingerprint": fingerprint})
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith(b"\n"):
                break
            message = decode(line)
            if message["event"] == "lease":
                _send(process, {"op": "lease", "lease": self._lease()})
            elif message["event"] == "failed":
                raise BackupError(message["error"])
            elif message["event"] == "done":
                return True
            else:
                yield message
        return False


def _send(process: subprocess.Popen[bytes], message: Message) -> None:
    assert process.stdin is not None
    # Of one that is gone, the end of what it says will tell.
    with suppress(BrokenPipeError):
        process.stdin.write(encode(message))
