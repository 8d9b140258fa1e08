"""The backup process of a catalog replica: `python -m azquack.catalog.backup`, started by the supervisor.

It starts a backup run every so often when the catalog changed, and once more when it has to stop,
which the supervisor does before it ends the catalog's node. It runs for as long as the catalog does and
mostly waits: what is imported here should be little.
"""

from __future__ import annotations

import os
import threading

from azquack.catalog.backup.runner import Runner
from azquack.catalog.backup.schedule import Schedule
from azquack.process import logs
from azquack.process.pipes import Message, ParentPipe

# The supervisor sends the lease right after the start, which the first copy may outrun; in seconds.
LEASE_TIMEOUT = 10.0


class Lease:
    """The lease on the catalog, as the supervisor sent it last."""

    def __init__(self) -> None:
        self._lease: Message | None = None
        self._received = threading.Event()

    def learn(self, lease: Message | None) -> None:
        """Take it in; None when the replica does not hold it."""
        self._lease = lease
        self._received.set()

    def read(self) -> Message | None:
        """The lease; None when the replica does not hold it, or the supervisor has not sent it in time."""
        self._received.wait(LEASE_TIMEOUT)
        return self._lease


def main() -> int:
    """The process: 0 after a stop, 1 when the supervisor is gone before it said anything."""
    parent = ParentPipe()
    config = parent.receive()
    if config is None:
        return 1
    logs.configure(config["name"], config["log_level"])
    lease = Lease()
    schedule = Schedule(Runner(config["run"], lease.read), config["files"], config["every"])
    parent.send("ready")
    threading.Thread(target=_obey, args=(parent, schedule, lease), daemon=True).start()
    schedule.run(lambda: parent.send("probed", backup=schedule.status.message()))
    parent.send("stopped")
    return 0


def _obey(parent: ParentPipe, schedule: Schedule, lease: Lease) -> None:
    """Answer the supervisor; when it is gone this process ends, and with it the run under way."""
    while (message := parent.receive()) is not None:
        if message["op"] == "ping":
            parent.send("pong")
        elif message["op"] == "state":
            lease.learn(message["lease"])
        elif message["op"] == "stop":
            schedule.stop()
    os._exit(0)


if __name__ == "__main__":
    os._exit(main())
