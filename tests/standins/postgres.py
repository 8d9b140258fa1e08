"""A PostgreSQL cluster in a directory of its own, run by a user who is not root (PostgreSQL refuses root)."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from tests.cluster import wait_until
from tests.standins import debian

PASSWORD = "hunter2's \\ password"
_DEBIAN = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """The directory with `initdb` and `postgres`: from PATH, or the newest where Debian puts them."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    homes = [path.parent for path in _DEBIAN.glob("*/bin/initdb")]
    return max(homes, key=lambda home: float(home.parent.name), default=None)


def install() -> str:
    """Install PostgreSQL by apt-get when we are root; '' or why that cannot be."""
    if programs() is not None:
        return ""
    if why := debian.install("postgresql"):
        return why
    return "" if programs() else "apt-get installed PostgreSQL, but no initdb is to be found"


class TempPostgres:
    """One cluster with the user `lake`, whose password is `PASSWORD`; `fsync`: whether commits are durable."""

    def __init__(self, *, fsync: bool = False) -> None:
        self._fsync = "on" if fsync else "off"
        # Not below pytest's directory, which nobody but its owner may enter.
        self._directory = Path(tempfile.mkdtemp(prefix="standin-postgres-"))
        self._log = self._directory / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            names = {entry.pw_name for entry in pwd.getpwall()}
            user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(self._directory, user.pw_uid, user.pw_gid)

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        return self._process.pid if self._process else None

    def connection(self, database: str) -> str:
        """libpq's connection string, without the password."""
        return f"host=127.0.0.1 port={self.port} dbname={database} user=lake"

    def new_database(self) -> str:
        """The connection string of a database that nobody else uses."""
        name = f"lake_{secrets.token_hex(4)}"
        with psycopg.connect(self.connection("postgres"), password=PASSWORD, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.connection(name)

    def start(self) -> None:
        """Make the cluster and wait until it answers a client."""
        home = programs()
        assert home is not None
        password_file = self._directory / "password"
        password_file.write_text(PASSWORD)
        password_file.chmod(0o644)
        made = subprocess.run(
            [
                home / "initdb", "--pgdata", self._directory / "data", "--username", "lake",
                "--pwfile", password_file, "--auth", "scram-sha-256", "--no-sync", "--encoding", "UTF8",
            ],
            capture_output=True, text=True, cwd=self._directory, timeout=120, **self._as,
        )  # fmt: skip
        assert made.returncode == 0, f"initdb failed:\n{made.stderr}"
        wait_until(self._run, "PostgreSQL found no free port that stays free", timeout=60)

    def _run(self) -> bool:
        """Start the server on a free port; False when somebody else took it meanwhile."""
        home = programs()
        assert home is not None
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = int(taken.getsockname()[1])
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    home / "postgres", "-D", self._directory / "data", "-c", "listen_addresses=127.0.0.1",
                    "-c", f"port={self.port}", "-c", "unix_socket_directories=", "-c", f"fsync={self._fsync}",
                ],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self._directory, **self._as,
            )  # fmt: skip
        return bool(
            wait_until(self._answers, lambda: f"PostgreSQL did not start:\n{self.log_text()}") == "yes"
        )

    def _answers(self) -> str:
        assert self._process is not None
        if self._process.poll() is not None:
            assert "could not bind" in self.log_text(), f"PostgreSQL ended:\n{self.log_text()}"
            return "no"
        try:
            psycopg.connect(self.connection("postgres"), password=PASSWORD).close()
        except psycopg.OperationalError:
            return ""
        return "yes"

    def stop(self) -> None:
        """End it and delete it."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            self._process.wait(30)
        shutil.rmtree(self._directory)

    def log_text(self) -> str:
        """What the server wrote."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""
