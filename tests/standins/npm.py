"""Programs from npm, as the lock beside them pins them."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path


def missing(what: str) -> str:
    """Why `what`, which runs on Node, cannot run here, or ''."""
    lacking = [name for name in ("node", "npm") if shutil.which(name) is None]
    return f"{what} needs {' and '.join(lacking)} on PATH" if lacking else ""


def install(directory: Path, environment: Mapping[str, str]) -> Path:
    """The `node_modules` of `directory`, made by `npm ci` at first use; safe when several processes ask at once."""
    lock_file = directory / "package-lock.json"
    stamp = directory / "node_modules" / ".installed"
    wanted = hashlib.sha256(lock_file.read_bytes()).hexdigest()
    with (directory / ".gitignore").open() as gate:
        fcntl.flock(gate, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            done = subprocess.run(
                command, cwd=directory, env=dict(environment), capture_output=True, text=True, timeout=300
            )
            assert done.returncode == 0, f"npm could not install what {lock_file} pins:\n{done.stderr}"
            stamp.write_text(wanted)
    return directory / "node_modules"
