"""A lease as it is held: until when, and what proves it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from azquack.process.pipes import Message

TAKEN = "another process has taken the catalog over"


def now() -> float:
    """Seconds on the one clock that all processes of a machine share and that goes on while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Grant:
    """A held lease: `epoch` is greater than that of every owner before, `until` is on the clock of `now`.

    A lease in a directory also names its own claim and the one that the next owner would make: as long as the
    first is there and the second is not, nobody has taken over, however late it is looked at. It names the catalog's
    `file` too, once there is one, and what an owner who found another lease would leave beside it before copying it.

    `lake`, `served` and `number` are what the lease said before it was taken: of which lake, which epoch was served
    last (-1: nobody knows), and its number.
    """

    epoch: int
    until: float
    claim: str | None = None
    successor: str | None = None
    file: str | None = None
    followed: str | None = None
    lake: str = ""
    served: int = 0
    number: int = 0

    def held(self) -> bool:
        """Whether the lease is held at this moment; from any process of the machine."""
        return not self.lost()

    def lost(self) -> str:
        """Why it is not held at this moment; '' when it is."""
        if now() >= self.until:
            return "it was not renewed in time"
        if self.claim is None or self.successor is None:
            return ""
        # In this order: claims are removed oldest first, so a successor that came and went took ours along.
        if Path(self.successor).exists():
            return TAKEN
        if not Path(self.claim).exists():
            return "the lease was removed, or another process has taken the catalog over"
        return self.file_lost()

    def file_lost(self) -> str:
        """Why the catalog's file is not ours any more; '' when it is."""
        if self.followed is not None and Path(self.followed).exists():
            return TAKEN
        if self.file is not None and not Path(self.file).exists():
            return f"the catalog's file {self.file} is gone"
        return ""

    def to_message(self) -> Message:
        """The grant as JSON-shaped data."""
        return asdict(self)

    @staticmethod
    def from_message(message: Message) -> Grant:
        """The grant that `to_message` made."""
        return Grant(**message)
