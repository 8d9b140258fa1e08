"""JSON lines between a supervisor and its child, over the child's standard input and output.

The parent sends objects with `op`, the child objects with `event`; each is one line. The end of the child's
standard input means that the parent is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from typing import Any

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """`message` as one line."""
    return json.dumps(message, separators=(",", ":"), default=str).encode() + b"\n"


def decode(line: bytes) -> Message:
    """The message of one line."""
    message: Message = json.loads(line)
    return message


class ParentPipe:
    """The child's end: its pipe to the parent. It also takes the process out of reach of a terminal's Ctrl-C.

    That signal goes to the whole group; only the supervisor may say in which order a replica ends.
    """

    def __init__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        # Only messages may reach the parent's pipe: a library that prints goes to standard error.
        self._out = os.fdopen(os.dup(1), "wb", buffering=0)
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def receive(self) -> Message | None:
        """The next message, waiting for it; None when the parent is gone."""
        line = sys.stdin.buffer.readline()
        return decode(line) if line else None

    def send(self, event: str, **more: Any) -> None:
        """Tell the parent that `event` happened. Does nothing when the parent is gone."""
        with self._lock:
            try:
                self._out.write(encode({"event": event, **more}))
            except (BrokenPipeError, ValueError):
                return
