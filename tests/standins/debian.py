"""What a test needs of Debian's packages and the machine lacks."""

from __future__ import annotations

import os
import shutil
import subprocess


def install(package: str) -> str:
    """Install `package` by apt-get when we are root; '' or why that cannot be."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        return f"{package} is not installed (Debian: apt-get install {package})"
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", package]):
        done = subprocess.run(
            ["apt-get", *command], env=environment, capture_output=True, text=True, timeout=300
        )
        if done.returncode != 0:
            return f"apt-get {command[0]} failed, so there is no {package}: {done.stderr.strip()[-200:]}"
    return ""
