"""The backup process of a catalog replica: `python -m azquack.catalog.backup`, started by the supervisor.

It has the catalog looked at every so often, backed up when it changed, and once more when it is told to stop,
which the supervisor does before it ends the catalog's node. It runs for as long as the catalog does and
mostly waits: what is imported here should be little.
"""

from __future__ import annotations

import os
import threading

from azquack.catalog.backup.looks import Looks
from azquack.catalog.backup.schedule import Schedule
from azquack.process import logs
from azquack.process.pipes import ChildChannel, Message

# The supervisor tells the lease right after the start, which the first copy may outrun; in seconds.
TOLD_WITHIN = 10.0


class Lease:
    """The lease on the catalog, as the supervisor told it last."""

    def __init__(self) -> None:
        self._lease: Message | None = None
        self._told = threading.Event()

    def learn(self, lease: Message | None) -> None:
        """Take it in; None when the replica does not hold it."""
        self._lease = lease
        self._told.set()

    def read(self) -> Message | None:
        """The lease; None when the replica does not hold it, or nobody told in time that it does."""
        self._told.wait(TOLD_WITHIN)
        return self._lease


def main() -> int:
    """The process: 0 after a stop, 1 when the supervisor is gone before it said anything."""
    channel = ChildChannel()
    plan = channel.receive()
    if plan is None:
        return 1
    logs.configure(plan["name"], plan["log_level"])
    lease = Lease()
    schedule = Schedule(Looks(plan["look"], lease.read), plan["files"], plan["every"])
    channel.send("ready")
    threading.Thread(target=_obey, args=(channel, schedule, lease), daemon=True).start()
    schedule.run(lambda: channel.send("probed", backup=schedule.standing.message()))
    channel.send("stopped")
    return 0


def _obey(channel: ChildChannel, schedule: Schedule, lease: Lease) -> None:
    """Answer the supervisor; when it is gone this process ends, and with it the look under way."""
    while (message := channel.receive()) is not None:
        if message["op"] == "ping":
            channel.send("pong")
        elif message["op"] == "state":
            lease.learn(message["lease"])
        elif message["op"] == "stop":
            schedule.stop()
    os._exit(0)


if __name__ == "__main__":
    os._exit(main())
