"""`azquack connect` in a real terminal: who gets Ctrl-C and the other signals, and how the terminal is afterwards."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster import Pair, wait_until

FOREVER = "SELECT count(*) FROM range(1000000000) a, range(1000000) b;"


class Terminal:
    """`azquack connect` in a terminal of its own, as its session leader."""

    def __init__(self, pair: Pair, temporary: Path) -> None:
        environment = os.environ | {
            "AZQUACK_PUBLIC_TOKEN": pair.token, "TMPDIR": str(temporary), "TERM": "xterm", "HOME": str(temporary),
        }  # fmt: skip
        self.screen = ""
        self.code: int | None = None
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(  # noqa: S606  no shell is wanted
                sys.executable, [sys.executable, "-m", "azquack", "connect", "--uri", pair.uri], environment
            )
        termios.tcsetwinsize(self._fd, (40, 160))
        self.modes = self._modes()

    def _modes(self) -> list[Any]:
        return termios.tcgetattr(self._fd)

    def read(self) -> str:
        """What is on the screen by now."""
        while select.select([self._fd], [], [], 0.02)[0]:
            try:
                data = os.read(self._fd, 1 << 16)
            except OSError:
                break
            self.screen += data.decode(errors="replace")
            if b"\x1b[6n" in data:
                # The line editor asks the terminal where its cursor is.
                os.write(self._fd, b"\x1b[1;1R")
        return self.screen

    def shows(self, pattern: str) -> None:
        """Waits until what came since the last time holds `pattern`."""
        found = wait_until(
            lambda: re.search(pattern, self.read()),
            lambda: f"no {pattern!r} on the screen:\n{self.screen}",
            60,
        )
        self.screen = self.screen[found.end() :]

    def types(self, text: str) -> None:
        os.write(self._fd, text.encode())

    def ended(self) -> int:
        """Waits for its end; the exit code, or the negative number of a signal."""

        def over() -> bool:
            self.read()
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.code = os.waitstatus_to_exitcode(status)
            return bool(pid)

        wait_until(over, lambda: f"azquack connect did not end:\n{self.screen}", 60)
        assert self.code is not None
        return self.code

    def whole(self) -> bool:
        """Whether the terminal is as it was before the shell."""
        return self._modes() == self.modes

    def close(self) -> None:
        if self.code is None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        os.close(self._fd)


@pytest.fixture
def terminal(pair: Pair, tmp_path: Path) -> Iterator[Terminal]:
    opened = Terminal(pair, tmp_path)
    try:
        opened.shows("lake.*D ")
        yield opened
    finally:
        opened.close()


def children(pid: int) -> list[int]:
    """The processes that `pid` started."""
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_ctrl_c_interrupts_the_query_and_the_shell_goes_on(terminal: Terminal, tmp_path: Path) -> None:
    [shell] = children(terminal.pid)
    for _ in range(2):
        begins(terminal, shell)
        terminal.types("\x03")
        terminal.shows(r"\^C.*D ")
    terminal.types("FROM lake.query('SELECT ''still'' || ''here'' AS word');\r")
    terminal.shows("stillhere")
    terminal.types(".quit\r")
    # The shell's own code, of one that saw a statement fail.
    assert terminal.ended() == 1
    assert terminal.whole()
    assert not list(tmp_path.glob("azquack-*"))


def test_ctrl_c_while_a_line_is_typed_drops_the_line_alone(terminal: Terminal) -> None:
    terminal.types("SELECT 'half a line")
    terminal.shows("half a line")
    terminal.types("\x03")
    terminal.types("SELECT 'an' || 'other' AS word;\r")
    terminal.shows("another")
    terminal.types("\x04")
    assert terminal.ended() == 0
    assert terminal.whole()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("running", [False, True], ids=["at-its-prompt", "in-a-query"])
def test_what_ends_connect_ends_the_shell_and_leaves_the_terminal_whole(
    terminal: Terminal, tmp_path: Path, number: signal.Signals, running: bool
) -> None:
    [shell] = children(terminal.pid)
    if running:
        begins(terminal, shell)
    os.kill(terminal.pid, number)
    assert terminal.ended() == 128 + number
    assert not Path(f"/proc/{shell}").exists()
    assert terminal.whole()
    assert not list(tmp_path.glob("azquack-*"))


def test_a_shell_that_is_killed_leaves_the_terminal_whole(terminal: Terminal) -> None:
    [shell] = children(terminal.pid)
    os.kill(shell, signal.SIGKILL)
    assert terminal.ended() == 128 + signal.SIGKILL
    assert terminal.whole()


def begins(terminal: Terminal, shell: int) -> None:
    """Has the shell run a query without an end, and waits until it is at it."""
    before = used(shell)
    terminal.types(f"{FOREVER}\r")
    wait_until(lambda: used(shell) > before + 0.2, "the shell did not begin the query")


def used(pid: int) -> float:
    """Seconds of CPU that `pid` has used."""
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system
