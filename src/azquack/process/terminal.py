"""A program that has the terminal: it gets the signals, and leaves the terminal as it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

# The terminal sends these to all of its foreground processes: the program has them already.
_FROM_THE_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
_FORWARDED = (signal.SIGTERM, signal.SIGHUP)


def run(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Runs a program in the foreground until it ends; its exit code, or 128 and the number of the signal it died of.

    What interrupts or ends this process goes to the program instead, which decides what it means.
    """
    with _terminal_kept(), _signals_passed_on() as children:
        child = subprocess.Popen(arguments, env=dict(environment))
        children.append(child)
        code = child.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _signals_passed_on() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Within it no signal ends this process; those that it alone gets go to the children that are listed."""
    children: list[subprocess.Popen[bytes]] = []

    # Handlers, and not SIG_IGN, which the program would inherit.
    def drop(number: int, frame: FrameType | None) -> None:
        pass

    def forward(number: int, frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    before = {each: signal.signal(each, drop) for each in _FROM_THE_TERMINAL}
    before |= {each: signal.signal(each, forward) for each in _FORWARDED}
    try:
        yield children
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def _terminal_kept() -> Iterator[None]:
    """Puts the terminal's modes back: a line editor that was killed leaves it raw, without an echo."""
    if not sys.stdin.isatty():
        yield
        return
    import termios

    modes = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        # Of a terminal that is gone there is nothing to keep.
        with suppress(termios.error):
            termios.tcsetattr(sys.stdin, termios.TCSADRAIN, modes)
