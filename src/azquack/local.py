"""The pair on a laptop: where it keeps its things, how it is started and stopped.

A lake directory holds `catalog/` (the catalog file), `data/` (Parquet), `tokens/` (mode 0700), `up.log`,
and, while the pair is up, `up.json`, which says where it listens. Whoever serves the lake holds a lock on
`up.lock`; the kernel gives it back when that process is gone, however it went.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import SecretStr

from azquack.errors import LakeError, StartError
from azquack.tokens import GeneratedTokens, TokenSource


@dataclass(frozen=True)
class Running:
    """A pair that is up. The token is not here: it lies in a file of its own."""

    uri: str
    catalog_uri: str
    http_url: str
    catalog_http_url: str
    pid: int
    dir: str
    since: str


@dataclass(frozen=True)
class LakeDirectory:
    """One lake on a local disk."""

    path: Path

    @property
    def catalog_dir(self) -> Path:
        """Where catalog.duckdb lies."""
        return self.path / "catalog"

    @property
    def data_path(self) -> Path:
        """Where the Parquet files lie."""
        return self.path / "data"

    @property
    def token_dir(self) -> Path:
        """Where the generated tokens lie."""
        return self.path / "tokens"

    @property
    def log(self) -> Path:
        """The log of a pair that runs in the background."""
        return self.path / "up.log"

    def tokens(self) -> TokenSource:
        """The tokens of this lake, made on its first start."""
        return GeneratedTokens(self.token_dir)

    def public_token(self) -> SecretStr:
        """The token of the users."""
        return self.tokens().public()

    def make(self) -> None:
        """Make what is missing. Raises `LakeError` when the disk does not let us."""
        try:
            for directory in (self.path, self.catalog_dir, self.data_path):
                directory.mkdir(parents=True, exist_ok=True)
            self.token_dir.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise LakeError(f"the lake directory {self.path} cannot be made: {error.strerror}") from None
        if not os.access(self.path, os.W_OK | os.X_OK):
            raise LakeError(f"the lake directory {self.path} is not writable for this user")

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the lake for this process. Raises `LakeError` when another holds it."""
        with (self.path / "up.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                running = self.running()
                who = f" (pid {running.pid}, {running.uri})" if running else ""
                raise LakeError(
                    f"the lake in {self.path} is up already{who}: "
                    f"attach to it, or stop it with azquack down --dir {self.path}"
                ) from None
            try:
                yield
            finally:
                (self.path / "up.json").unlink(missing_ok=True)

    def announce(self, running: Running) -> None:
        """Say where the pair listens."""
        draft = self.path / ".up.json"
        draft.write_text(json.dumps(asdict(running), indent=2) + "\n")
        draft.replace(self.path / "up.json")

    def running(self) -> Running | None:
        """The pair that is up in this directory, or None."""
        if not self._held():
            return None
        with suppress(OSError, ValueError, TypeError):
            return Running(**json.loads((self.path / "up.json").read_text()))
        return None

    def stop(self, patience: float) -> bool:
        """Stop the pair; False when none is up. Raises `StartError` when it outlives `patience` seconds."""
        running = self.running()
        if running is None:
            return False
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while self._held():
            if time.monotonic() > deadline:
                raise StartError(
                    f"the pair (pid {running.pid}) did not stop within {patience:.0f} s: see {self.log}"
                )
            time.sleep(0.05)
        return True

    def _held(self) -> bool:
        try:
            with (self.path / "up.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False
