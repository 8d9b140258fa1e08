"""The two roles as `azquack serve` runs them, to be killed, paused and stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil

from azquack.replicas.child import SETTLED
from tests import cluster
from tests.link.processes import free_port

PUBLIC, INTERNAL = "public-token-of-the-tests", "internal-token-of-the-tests"


class Replica:
    """One replica on ports that stay; `settings` are its own, by name."""

    def __init__(self, role: str, name: str, directory: Path, settings: Mapping[str, object]) -> None:
        self.role, self.name = role, name
        self.port, self.http_port = free_port(), free_port()
        self._log = directory / f"{name}.log"
        own = {
            "role": role, "name": name, "port": self.port, "http_port": self.http_port, "log_level": "info",
            "public_token": PUBLIC, "internal_token": INTERNAL, **settings,
        }  # fmt: skip
        self.environment = os.environ | {f"AZQUACK_{key.upper()}": str(value) for key, value in own.items()}
        self._directory = directory
        self._process: subprocess.Popen[str] | None = None
        self.said: list[str] = []

    def begin(self) -> None:
        """Start it; `wait_for` tells how far it is."""
        self.said = []
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "azquack", "serve"],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
                env=self.environment, cwd=self._directory,
            )  # fmt: skip
        threading.Thread(target=self._listen, args=(self._process, self.said), daemon=True).start()

    def start(self) -> None:
        """Start it and wait until it serves."""
        self.begin()
        self.wait_for("ready")

    def wait_for(self, event: str) -> None:
        """Until it has printed `event`: ready, or standby."""
        cluster.wait_until(
            lambda: event in self.said or not self.alive,
            lambda: f"{self.name} never said {event}:\n{self.log_text()}",
            timeout=90,
        )
        assert self.alive, f"{self.name} ended:\n{self.log_text()}"

    @staticmethod
    def _listen(process: subprocess.Popen[str], said: list[str]) -> None:
        assert process.stdout
        for line in process.stdout:
            said.append(json.loads(line)["event"])

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def status(self) -> dict[str, Any]:
        """What its sidecar says of it; {} when it does not answer."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.http_port}/status", timeout=5, trust_env=False)
        except httpx.TransportError:
            return {}
        body: dict[str, Any] = answer.json()
        return body

    @property
    def owns(self) -> bool:
        """Whether it owns the catalog and serves it."""
        status = self.status()
        return bool(status.get("ready")) and not status["standby"]

    def process(self, name: str) -> psutil.Process:
        """The running process `name` of this replica, once it has run for so long that its end is an accident.

        The supervisor makes one that ends again and again wait before it starts it anew.
        """

        def found() -> psutil.Process | None:
            settled = datetime.now(UTC) - timedelta(seconds=SETTLED)
            for each in self.status().get("processes", []):
                if each["name"] == name and each["ready"] and datetime.fromisoformat(each["since"]) < settled:
                    return psutil.Process(each["pid"]) if psutil.pid_exists(each["pid"]) else None
            return None

        process: psutil.Process = cluster.wait_until(
            found, lambda: f"{name} is not up:\n{self.log_text()}", timeout=60
        )
        return process

    def tree(self) -> list[psutil.Process]:
        """The supervisor and all its children."""
        assert self._process is not None
        top = psutil.Process(self._process.pid)
        return [top, *top.children(recursive=True)]

    def kill(self) -> None:
        """As when the container goes: all processes at once, by SIGKILL."""
        if self._process is None:
            return
        self._signal(signal.SIGKILL)
        cluster.end(self._process)
        self._process = None

    def pause(self) -> None:
        """SIGSTOP to all processes: the supervisor last, so that it starts nothing meanwhile."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)

    def stop(self) -> int:
        """SIGTERM, as a platform ends a replica; the exit code."""
        assert self._process is not None
        code = cluster.end(self._process, first=signal.SIGTERM)
        self._process = None
        return code

    def log_text(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def _signal(self, number: signal.Signals) -> None:
        for each in reversed(self.tree()):
            try:
                each.send_signal(number)
            except psutil.NoSuchProcess:
                continue
