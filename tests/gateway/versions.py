"""Stock DuckDB clients of every version that speaks Quack 1, each from hash-pinned wheels of its own."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from tests.environments import OUTSIDE
from tests.gateway.parts import ANN, ROOT, extensions_home

OLDER = ("1.5.3", "1.5.4")
VERSIONS = (*OLDER, duckdb.__version__)
WHEELS = ROOT / ".venv-clients"


class ClientError(Exception):
    """What DuckDB told the client."""


@functools.cache
def installed(version: str) -> Path:
    """The directory of the wheels of DuckDB `version`, installed by the first test that asks; else skips."""
    target = WHEELS / version
    done = target / ".ready"
    WHEELS.mkdir(exist_ok=True)
    with (WHEELS / f"{version}.lock").open("w") as lock:
        # Tests run in several processes.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            install = subprocess.run(
                [
                    Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", "--require-hashes",
                    "--python", sys.executable, "--target", target,
                    "--requirements", ROOT / "requirements" / f"client-{version}.txt",
                ],
                capture_output=True, text=True, timeout=150, check=False, env=OUTSIDE,
            )  # fmt: skip
            if install.returncode != 0:
                pytest.skip(f"DuckDB {version} could not be installed: {install.stderr.strip()[-300:]}")
            _link_extensions(version, target)
            done.touch()
    return target


def _link_extensions(version: str, target: Path) -> None:
    """Makes `target` an extension directory too."""
    with duckdb.connect() as connection:
        ((platform,),) = connection.execute("PRAGMA platform").fetchall()
    home = target / f"v{version}" / platform
    home.mkdir(parents=True, exist_ok=True)
    for file in target.glob(f"duckdb_extension_*/extensions/v{version}/*.duckdb_extension"):
        (home / file.name).unlink(missing_ok=True)
        (home / file.name).symlink_to(file)


class StockClient:
    """A DuckDB of `version` in a process of its own, attached to `port` as `r`."""

    def __init__(self, version: str, port: int, token: str = ANN) -> None:
        environment = dict(os.environ)
        extensions = extensions_home()
        if version in OLDER:
            extensions = installed(version)
            environment["PYTHONPATH"] = str(extensions)
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("run_client.py")), str(extensions)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
        assert self.rows("SELECT version()") == [(f"v{version}",)]
        self.rows("LOAD httpfs")
        self.rows("LOAD quack")
        self.attach(port, token)

    def attach(self, port: int, token: str = ANN) -> None:
        """Attaches `port` as `r`."""
        self.rows(f"ATTACH 'quack:127.0.0.1:{port}' AS r (TOKEN '{token}')")

    def rows(self, sql: str) -> list[Any]:
        """The rows of `sql`. Raises `ClientError` with DuckDB's words."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(sql) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the client ended at {sql}"
        answer = json.loads(line)
        if "error" in answer:
            raise ClientError(answer["error"])
        return [tuple(row) for row in answer["rows"]]

    def there(self, sql: str) -> list[Any]:
        """The rows of `sql`, run on the node."""
        return self.rows("FROM r.query('" + sql.replace("'", "''") + "')")

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=20)
        self.process.stdout.close()
