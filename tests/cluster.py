"""A pair to test against: one that is thrown away, or one that runs elsewhere, behind one interface.

After asyncpg's `Cluster`: the same tests run against a local pair, the container image or a deployment.
"""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Protocol, Self

import duckdb
from pydantic import SecretStr

from azquack.lake import client, extensions
from azquack.sql import literal

# One that holds a log is a function, so that it is the log of the failure.
Sentence = str | Callable[[], str]


def wait_until(condition: Callable[[], Any], sentence: Sentence, timeout: float = 30.0) -> Any:
    """The first true result of `condition`; fails with `sentence` after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{_text(sentence)} (waited {timeout:.0f} s)")
        time.sleep(0.02)
    return result


def _text(sentence: Sentence) -> str:
    return sentence if isinstance(sentence, str) else sentence()


class Pair(Protocol):
    """A catalog and a query replica, as a user meets them."""

    uri: str
    token: str
    http_url: str

    def log_text(self) -> str:
        """What its processes wrote so far, for the report of a failed test."""
        ...


class RunningPair:
    """A pair that somebody else started: `AZQUACK_TEST_URI`, `_HTTP_URL`, `AZQUACK_PUBLIC_TOKEN`."""

    def __init__(self) -> None:
        self.uri = os.environ["AZQUACK_TEST_URI"]
        self.token = os.environ["AZQUACK_PUBLIC_TOKEN"]
        self.http_url = os.environ.get("AZQUACK_TEST_HTTP_URL", "")

    def log_text(self) -> str:
        """Nothing: the log is where the pair runs."""
        return ""


class TempPair:
    """A pair of our own in `directory`, run by `azquack up`; `flags` are further arguments.

    Its log is beside the directory, or in the file `log`. `with` starts it, and ends whatever is left of it.
    """

    def __init__(
        self, directory: Path, *flags: str, env: dict[str, str] | None = None, log: Path | None = None
    ) -> None:
        self.directory = directory
        self._flags = flags
        self._env = env or {}
        self._log = log or directory.parent / f"{directory.name}.log"
        self._process: subprocess.Popen[str] | None = None
        self.uri = self.token = self.http_url = ""
        self.info: dict[str, Any] = {}

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.destroy()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.destroy()

    @property
    def pid(self) -> int:
        """The supervisor's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it serves."""
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable, "-m", "azquack", "up",
                    "--dir", str(self.directory), "--port", "0", "--json", *self._flags,
                ],
                stdout=subprocess.PIPE, stderr=log, stdin=subprocess.DEVNULL, text=True,
                env=os.environ | self._env, cwd=self.directory.parent,
            )  # fmt: skip
        self.info = json.loads(
            read_line(self._process, lambda: f"the pair did not start:\n{self.log_text()}")
        )
        self.uri, self.token, self.http_url = (self.info[key] for key in ("uri", "token", "http_url"))

    def stop(self) -> int:
        """Stop it as an operator would; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = end(self._process)
        self._process = None
        return code

    def destroy(self) -> None:
        """End whatever is left of it."""
        if self._process is not None:
            end(self._process, first=signal.SIGTERM)

    def log_text(self) -> str:
        """What its processes wrote so far."""
        return self._log.read_text() if self._log.exists() else ""


def read_line(process: subprocess.Popen[str], sentence: Sentence, timeout: float = 120.0) -> str:
    """The next line of the process's output; fails with `sentence` when none comes in time."""
    lines: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=lambda stream: lines.append(stream.readline()), args=(process.stdout,))
    reader.daemon = True
    reader.start()
    reader.join(timeout)
    assert lines, _text(sentence)
    assert lines[0], _text(sentence)
    return lines[0]


def end(process: subprocess.Popen[Any], first: signal.Signals | None = None, patience: float = 45.0) -> int:
    """Terminate, wait, kill; the exit code."""
    if first is not None and process.poll() is None:
        process.send_signal(first)
    try:
        code = process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AssertionError(f"process {process.pid} did not end within {patience:.0f} s") from None
    finally:
        for stream in (process.stdout, process.stdin):
            close(stream)
    return code


def close(stream: IO[Any] | None) -> None:
    """Close a pipe that may be none or broken."""
    if stream is not None:
        try:
            stream.close()
        except BrokenPipeError:
            return


def attach_as_r(pair: Pair, home: Path, token: str | None = None) -> list[str]:
    """The statements that make any stock DuckDB a client of `pair`, attached as `r`.

    Its extensions come from the wheels, through `home`; a user who has a network needs only the last two.
    """
    extensions.link_all(home)
    secret, attach = client.Target(pair.uri, SecretStr(token or pair.token), tls=False).attach()
    return [
        f"SET extension_directory = {literal(str(home))}",
        "SET autoinstall_known_extensions = false",
        "LOAD httpfs",
        "LOAD quack",
        secret.text.rstrip(";"),
        attach.text.rstrip(";").replace(f" AS {client.ALIAS}", " AS r"),
    ]


def remote(sql: str) -> str:
    """The statement that runs `sql` on the query node."""
    return f"FROM r.query({literal(sql)})"


class Shell:
    """The stock `duckdb` program, attached to a pair as `r`."""

    def __init__(self, pair: Pair, home: Path) -> None:
        self._pair, self._home = pair, home

    def run(
        self, *statements: str, token: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `statements` in one session; the finished process. Fails on an error unless `check` is off."""
        script = [
            ".mode csv",
            ".output /dev/null",
            *(f"{each};" for each in attach_as_r(self._pair, self._home, token)),
            ".output",
            *(f"{each};" for each in statements),
        ]
        finished = subprocess.run(
            [str(extensions.program()), "-bail", "-no-init", ":memory:"],
            input="\n".join(script), capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        if check and finished.returncode != 0:
            raise AssertionError(f"duckdb failed: {finished.stderr}\n{self._pair.log_text()}")
        return finished

    def rows(self, *statements: str) -> str:
        """What the statements print, as CSV without the final newline."""
        return self.run(*statements).stdout.strip()

    def table(self, *statements: str) -> list[tuple[str, ...]]:
        """The rows that the last statement prints, each value as text; NULL is the word NULL."""
        *before, last = statements
        finished = self.run(".output /dev/null\n" + ";\n".join(before), ".output\n" + last)
        return [tuple(row) for row in csv.reader(finished.stdout.splitlines())][1:]


@contextmanager
def attached(pair: Pair, home: Path, token: str | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A stock DuckDB in Python, attached to the pair as `r`."""
    with duckdb.connect(":memory:") as connection:
        for each in attach_as_r(pair, home, token):
            connection.execute(each)
        yield connection
