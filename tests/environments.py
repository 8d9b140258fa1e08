"""Python environments of clients that cannot share ours, each from hash-pinned requirements of its own."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = ROOT / ".venv-clients"
# The machine's own environment, which an installer may need to reach its index; the tests get it scrubbed.
OUTSIDE = dict(os.environ)


@functools.cache
def environment(name: str, *packages: str) -> Path:
    """The `bin` of the environment of `requirements/client-NAME.txt`, made by the first test that asks; else skips.

    `packages` are folders of this repository that are installed into it as they are.
    """
    target = ENVIRONMENTS / name
    requirements = ROOT / "requirements" / f"client-{name}.txt"
    done = target / hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]
    uv = Path(sys.executable).with_name("uv")
    python: list[str | Path] = ["--python", target / "bin" / "python"]
    ENVIRONMENTS.mkdir(exist_ok=True)
    with (ENVIRONMENTS / f"{name}.lock").open("w") as lock:
        # Tests run in several processes.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _run(name, uv, "venv", "--quiet", "--clear", "--python", sys.executable, target)
            _run(
                name,
                uv,
                "pip",
                "install",
                "--quiet",
                "--require-hashes",
                *python,
                "--requirements",
                requirements,
            )
            done.touch()
        for each in packages:
            options: list[str | Path] = [
                "--quiet",
                "--no-deps",
                "--no-build-isolation",
                "--reinstall",
                *python,
            ]
            _run(name, uv, "pip", "install", *options, ROOT / each)
    return target / "bin"


def _run(name: str, *command: str | Path) -> None:
    finished = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False, env=OUTSIDE)
    if finished.returncode != 0:
        pytest.skip(f"the clients of {name} could not be installed: {finished.stderr.strip()[-300:]}")
