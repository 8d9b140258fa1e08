"""A lease as it is held: until when, and what proves it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path

from azquack.channel import Message


def now() -> float:
    """Seconds on the one clock that all processes of a machine share and that goes on while it sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True)
class Grant:
    """A held lease: `epoch` is greater than that of every owner before, `until` is on the clock of `now`.

    A lease in a directory also names its own claim and the one that the next owner would make: as long as the
    first is there and the second is not, nobody has taken over, however late it is looked at.
    """

    epoch: int
    until: float
    claim: str | None = None
    successor: str | None = None

    def held(self) -> bool:
        """Whether the lease is held at this moment; from any process of the machine."""
        if now() >= self.until:
            return False
        if self.claim is None or self.successor is None:
            return True
        # In this order: claims are removed oldest first, so a successor that came and went took ours along.
        return not Path(self.successor).exists() and Path(self.claim).exists()

    def to_message(self) -> Message:
        """The grant as JSON-shaped data."""
        return asdict(self)

    @staticmethod
    def from_message(message: Message) -> Grant:
        """The grant that `to_message` made."""
        return Grant(**message)
