"""The backup process of a catalog replica: `python -m azquack.backup`, started by the supervisor.

It looks at the catalog every so often, takes a backup when it changed, and a last one when it is told to
stop, which the supervisor does before it ends the catalog's node.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import UTC, datetime

from pydantic import SecretStr

from azquack import logs
from azquack.backup.backups import Backups
from azquack.backup.metrics import Standing
from azquack.backup.places import place_for
from azquack.backup.retention import Retention
from azquack.channel import ChildChannel, Message
from azquack.client import Target
from azquack.errors import AzQuackError
from azquack.lease.grant import Grant
from azquack.settings import Settings

log = logging.getLogger(__name__)

# After a failure the next try comes no later than this, in seconds.
RETRY = 60.0
# How often it says that there is nothing to do: an alert looks for that, in seconds.
SAY = 3600.0


class Keeper:
    """Keeps the backups of one catalog fresh, and says how they stand."""

    def __init__(self, backups: Backups, catalog: Target) -> None:
        self._backups = backups
        self._catalog = catalog
        self._fingerprint: str | None = None
        self._grant: Grant | None = None
        self._told = threading.Event()
        self._said = 0.0
        self.standing = Standing()

    def learn(self) -> None:
        """Find out what lies in the place already. Raises `BackupError`."""
        found = self._backups.listed()
        self.standing.kept = len(found)
        if found:
            self._fingerprint = found[0].fingerprint
            self.standing.last, self.standing.size = found[0].time.timestamp(), found[0].size

    def hear(self, lease: Message | None) -> None:
        """Take in how the replica holds the catalog."""
        self._grant = Grant.from_message(lease) if lease else None
        self._told.set()

    def _owned(self) -> bool:
        # The supervisor tells it right after the start, which the first copy may outrun.
        self._told.wait(RETRY)
        return self._grant is not None and self._grant.held()

    def look(self) -> None:
        """Take a backup when the catalog changed, then prune; a failure goes into the log and the standing."""
        began = time.time()
        try:
            if not self.standing.last:
                self.learn()
            taken = self._backups.take(self._catalog, unless=self._fingerprint, owned=self._owned)
            self.standing.checked, self.standing.problem = began, ""
            if taken is None:
                if self.standing.last and began - self._said >= SAY:
                    log.info("the newest backup holds everything")
                    self._said = began
                return
            self._said = began
            self._fingerprint = taken.fingerprint
            self.standing.last, self.standing.size = taken.time.timestamp(), taken.size
            self.standing.taken += 1
            self._backups.prune(datetime.now(UTC))
            self.standing.kept = len(self._backups.listed())
        except AzQuackError as error:
            self.standing.failed += 1
            self.standing.problem = str(error)
            log.warning("the backup failed", extra={"reason": str(error)})
        else:
            log.info(
                "backed up",
                extra={"backup": taken.name, "bytes": taken.size, "seconds": round(time.time() - began, 2)},
            )


def main() -> int:
    """The process: 0 after a stop, 1 when the supervisor is gone before it said anything."""
    channel = ChildChannel()
    plan = channel.receive()
    if plan is None:
        return 1
    logs.configure(plan["name"], plan["log_level"])
    settings = Settings.model_validate(plan["settings"])
    keeper = Keeper(
        Backups(place_for(settings), Retention.from_settings(settings)),
        Target(plan["uri"], SecretStr(plan["token"]), tls=False),
    )
    stopping = threading.Event()
    channel.send("ready")
    watching = threading.Thread(target=_watch, args=(keeper, plan["every"], channel, stopping), daemon=True)
    watching.start()
    told = _obey(channel, keeper)
    stopping.set()
    if told:
        # One that is being taken ends first; its successor sees what was written meanwhile.
        watching.join()
        keeper.look()
        channel.send("stopped")
    return 0


def _watch(keeper: Keeper, every: float, channel: ChildChannel, stopping: threading.Event) -> None:
    while not stopping.is_set():
        keeper.look()
        channel.send("probed", backup=keeper.standing.message())
        stopping.wait(min(every, RETRY) if keeper.standing.problem else every)


def _obey(channel: ChildChannel, keeper: Keeper) -> bool:
    """Answer the supervisor until it says stop (True) or is gone (False)."""
    while (message := channel.receive()) is not None:
        if message["op"] == "ping":
            channel.send("pong")
        elif message["op"] == "state":
            keeper.hear(message["lease"])
        elif message["op"] == "stop":
            return True
    return False


if __name__ == "__main__":
    os._exit(main())
