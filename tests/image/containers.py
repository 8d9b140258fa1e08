"""Real containers without an engine: podman over runc, in a network namespace that has loopback and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
IMAGE = "localhost/azquack:test"
TOOLS = ("buildah", "debootstrap", "podman", "runc", "ip")
TMP = "/tmp:mode=1777"  # noqa: S108  a tmpfs inside a container
NAMES = ("devstoreaccount1.blob.localhost", "kv-local.vault.localhost")
# A hybrid cgroup tree is too old for crun, podman's default.
RUNTIME = ("--runtime", "runc", "--cgroup-manager", "cgroupfs")


def missing() -> str:
    """Why no container can be run here, or ''; installs what Debian has."""
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if lacking and os.geteuid() == 0 and shutil.which("apt-get"):
        packages = ["iproute2" if tool == "ip" else tool for tool in lacking]
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
        subprocess.run(["apt-get", "update", "-qq"], check=False, capture_output=True)
        subprocess.run(command, check=False, capture_output=True)
        lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0:
        return "containers are run as root here"
    return f"no {', '.join(lacking)} on PATH" if lacking else ""


def run(*command: str | Path, timeout: float = 120, check: bool = True) -> str:
    """What the command prints; fails with its errors."""
    done = subprocess.run(command, text=True, capture_output=True, timeout=timeout, check=False, cwd=ROOT)
    assert done.returncode == 0 or not check, f"{command[0]} {command[1]}: {done.stderr}{done.stdout}"
    return done.stdout


class Namespace:
    """A network namespace with nothing but loopback."""

    def __init__(self, name: str) -> None:
        self.name = name

    def make(self) -> None:
        """Make it, with loopback up."""
        run("ip", "netns", "add", self.name)
        run("ip", "-n", self.name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Remove it."""
        run("ip", "netns", "delete", self.name, check=False)

    def command(self, *command: str | Path) -> list[str | Path]:
        """`command`, to be run inside."""
        return ["ip", "netns", "exec", self.name, *command]

    def get(self, url: str) -> tuple[int, str]:
        """(status, body) of a GET inside; status 0 when nothing answers."""
        answer = run(
            *self.command("curl", "--silent", "--max-time", "5", "-w", "\n%{http_code}", url), check=False
        )
        body, _, status = answer.rpartition("\n")
        return int(status or 0), body


class Container:
    """A container of the image: read-only root, its own user, 1 GiB, no network but `namespace`."""

    def __init__(
        self,
        name: str,
        namespace: Namespace,
        environment: Mapping[str, str],
        mounts: Mapping[Path, str],
        arguments: Sequence[str],
    ) -> None:
        self.name = name
        self._namespace = namespace
        self._environment, self._mounts, self._arguments = environment, mounts, arguments

    def start(self) -> None:
        """Start it; it serves some time later."""
        run("podman", *RUNTIME, "run", "--detach", *self._command())

    def finish(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Run it to its end, as a job."""
        return subprocess.run(
            ["podman", *RUNTIME, "run", "--rm", *self._command()],
            text=True, capture_output=True, timeout=timeout, check=False,
        )  # fmt: skip

    def _command(self) -> list[str | Path]:
        return [
            "--name", self.name, "--read-only", "--pull", "never",
            "--tmpfs", TMP, "--memory", "1g", "--network", f"ns:/run/netns/{self._namespace.name}",
            # The image's own limits may lie above those of this machine.
            "--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096",
            *[part for name in NAMES for part in ("--add-host", f"{name}:127.0.0.1")],
            *[part for key, value in self._environment.items() for part in ("--env", f"{key}={value}")],
            *[part for path, inside in self._mounts.items() for part in ("--volume", f"{path}:{inside}")],
            IMAGE, *self._arguments,
        ]  # fmt: skip

    def stop(self) -> int:
        """Stop it as Container Apps would; its exit code."""
        run("podman", *RUNTIME, "stop", "--time", "60", self.name)
        return int(run("podman", "inspect", "--format", "{{.State.ExitCode}}", self.name))

    def kill(self) -> None:
        """Kill every process of it at once."""
        run("podman", *RUNTIME, "kill", "--signal", "KILL", self.name)
        run("podman", *RUNTIME, "wait", self.name)

    def remove(self) -> None:
        """Remove it, running or not."""
        run("podman", *RUNTIME, "rm", "--force", "--time", "1", self.name, check=False)

    def restart(self) -> None:
        """Start it again after a stop or a kill."""
        run("podman", *RUNTIME, "start", self.name)

    def log_text(self) -> str:
        """Everything it wrote."""
        done = subprocess.run(
            ["podman", "logs", self.name], text=True, capture_output=True, timeout=60, check=False
        )
        return done.stdout + done.stderr

    def inspect(self) -> dict[str, Any]:
        """What podman knows of it."""
        (found,) = json.loads(run("podman", "inspect", self.name))
        return dict(found)

    def processes(self) -> list[Path]:
        """The /proc directories of its processes."""
        pids = run("podman", *RUNTIME, "top", self.name, "hpid").split()[1:]
        return [Path("/proc") / pid for pid in pids]
