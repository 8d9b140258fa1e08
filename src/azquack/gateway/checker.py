"""The process in which a gateway has large texts read: `python -m azquack.gateway.checker`, started by `Checks`.

What DuckDB's parser does with a text of a stranger takes time, memory and stack. Here it takes nobody else's: the
process reads one text at a time, and ends itself when one takes too long.
"""

from __future__ import annotations

import pickle
import resource
import signal
import sys
from typing import Any, BinaryIO

from azquack.gateway.audit import summary_of

MEMORY = 2 << 30
"""Bytes of address space that the process may take."""
SECONDS = 20.0
"""How long one text may take."""
HEAD = 8


def frame(value: Any) -> bytes:
    """`value` as it crosses the pipe: its length, and its pickle."""
    body = pickle.dumps(value)
    return len(body).to_bytes(HEAD, "big") + body


def received(stream: BinaryIO) -> Any:
    """The next value that crosses the pipe. Raises `EOFError` at its end."""
    head = stream.read(HEAD)
    if len(head) < HEAD:
        raise EOFError
    # From the gateway, our own parent, over a pipe that nobody else holds.
    return pickle.loads(stream.read(int.from_bytes(head, "big")))  # noqa: S301


def main() -> None:
    """Takes a policy first, then questions, until the gateway closes the pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    questions, out = sys.stdin.buffer, sys.stdout.buffer
    try:
        policy = received(questions)
        answers = {"check": policy.check, "view": policy.view, "summary": summary_of}
        while True:
            what, arguments = received(questions)
            signal.setitimer(signal.ITIMER_REAL, SECONDS)
            try:
                answer = answers[what](*arguments)
            except MemoryError:
                answer = None
            signal.setitimer(signal.ITIMER_REAL, 0)
            out.write(frame(answer))
            out.flush()
    except EOFError:
        return


if __name__ == "__main__":
    main()
