"""The pair on a laptop: where it keeps its things, how it is started and stopped.

A lake directory holds `catalog/` (the catalog file), `data/` (Parquet) and `tokens/` (mode 0700), unless the settings
say otherwise, `up.log`, and, while the pair is up, `up.json`, which says where it listens. Whoever serves the lake
holds a lock on `up.lock`; the kernel gives it back when that process is gone, however it went.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azquack.errors import LakeError, StartError

if TYPE_CHECKING:
    from azquack.config.sources import Loaded

# A pair has a catalog replica of its own, on loopback, whatever the environment says of another.
OWN = {
    "role": None,
    "catalog": None,
    "catalog_password": None,
    "catalog_tls": False,
    "catalog_ca_file": None,
}


@dataclass(frozen=True)
class Running:
    """A pair that is up.

    The token of its users is not here: it lies in `token_file`, where it lies in a file. `data_path` is where its data
    lies, which only a flag may have said. With `tls` the public gateway speaks it, and `ca_file` (PEM) proves it.
    `flight` is '' where Flight SQL is not spoken.
    """

    uri: str
    catalog_uri: str
    http_url: str
    catalog_http_url: str
    pid: int
    dir: str
    since: str
    token_file: str = ""
    data_path: str = ""
    tls: bool = False
    ca_file: str = ""
    flight: str = ""


@dataclass(frozen=True)
class LakeDirectory:
    """One lake on a local disk."""

    path: Path

    def load(self, flags: Mapping[str, Any] | None = None, *, env_file: Path | None = Path(".env")) -> Loaded:
        """The settings of the pair in this directory: its own defaults come after every other source.

        Whoever runs a lake on their own machine is its administrator, unless told otherwise; the catalog is the
        pair's own. Raises `SettingError`.
        """
        # A slow import, of which who only asks a running pair has no need.
        from azquack.config.sources import load

        running = self.running()
        defaults = {
            "catalog_dir": self.path / "catalog",
            "data_path": (running and running.data_path) or str(self.path / "data"),
            "public_role": "admin",
            "principals_file": self.path / "principals.json",
            "token_source": "generated",
            "token_dir": self.path / "tokens",
        }
        return load(flags, env_file=env_file, defaults=defaults, fixed=OWN, origin="the pair")

    @property
    def log(self) -> Path:
        """The log of a pair that runs in the background."""
        return self.path / "up.log"

    @property
    def _announced(self) -> Path:
        return self.path / "up.json"

    def make(self) -> None:
        """Make what is missing. Raises `LakeError` when the disk does not let us."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / "tokens").mkdir(mode=0o700, exist_ok=True)
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
            # One that was killed has left its own, which is no word about this one.
            self._announced.unlink(missing_ok=True)
            try:
                yield
            finally:
                self._announced.unlink(missing_ok=True)

    def announce(self, running: Running) -> None:
        """Say where the pair listens."""
        draft = self.path / ".up.json"
        draft.write_text(json.dumps(asdict(running), indent=2) + "\n")
        draft.replace(self._announced)

    def running(self) -> Running | None:
        """The pair that is up in this directory, or None."""
        if not self._held():
            return None
        with suppress(OSError, ValueError, TypeError):
            return Running(**json.loads(self._announced.read_text()))
        return None

    def stop(self, timeout: float) -> bool:
        """Stop the pair; False when none is up. Raises `StartError` when it outlives `timeout` seconds."""
        running = self.running()
        if running is None:
            return False
        os.kill(running.pid, signal.SIGTERM)
        deadline = time.monotonic() + timeout
        while self._held():
            if time.monotonic() > deadline:
                raise StartError(
                    f"the pair (pid {running.pid}) did not stop within {timeout:.0f} s: see {self.log}"
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
