"""When the catalog is looked at, and what came of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from azquack.catalog.backup.looks import Looks
from azquack.catalog.backup.stamp import Stamp, quiet_since, stamp_of
from azquack.catalog.backup.standing import Standing
from azquack.errors import BackupError

log = logging.getLogger(__name__)

# After a failure the next try comes no later than this, in seconds.
RETRY = 60.0
# How often it says that there is nothing to do: an alert looks for that, in seconds.
SAY = 3600.0
# A commit is in the files before a reader sees it, for as long as the disk takes to write: not longer than this, in
# seconds. What is younger when a look begins, the look may have missed.
SETTLE = 10.0
# How often it is looked whether the newest backup is still there and whole, where its files cannot be watched, in
# seconds.
VERIFY = 900.0


class Schedule:
    """Has the catalog, whose files are `files`, looked at every so many seconds when they were written to."""

    def __init__(self, looks: Looks, files: Sequence[str], every: float) -> None:
        self._looks = looks
        self._files = files
        self._every = every
        # As it was before the last look that went well, where the look saw all that is in it.
        self._seen: Stamp | None = None
        self._fingerprint: str | None = None
        # The files of the newest backup, where they can be watched, and how they were when it was last seen whole.
        self._backup: tuple[Sequence[str], Stamp | None] = ((), None)
        self._verified = 0.0
        self._said = 0.0
        self._stopping = threading.Event()
        self.standing = Standing()

    def run(self, report: Callable[[], None]) -> None:
        """Look until `stop`, and once more then; `report` is called after each look."""
        while not self._stopping.is_set():
            self._look()
            report()
            self._stopping.wait(min(self._every, RETRY) if self.standing.problem else self._every)
        self._look()

    def stop(self) -> None:
        """Have `run` end, from any thread; a look that is under way ends first."""
        self._stopping.set()

    def _look(self) -> None:
        """Take a backup when the catalog changed; a failure goes into the log and the standing."""
        began = time.time()
        stamp = stamp_of(self._files)
        whole = self._is_whole(began)
        if whole and stamp is not None and stamp == self._seen:
            self._same(began)
            return
        self._seen = None
        if not whole:
            # The look reads the place anew.
            self._fingerprint = None
            self._verified = began
        try:
            backup = self._run(began)
        except BackupError as error:
            self.standing.failed += 1
            self.standing.problem = str(error)
            log.warning("the backup failed", extra={"reason": str(error)})
            # What the next look knows of the place it reads there.
            self._fingerprint = None
            return
        if stamp is not None and quiet_since(stamp, began - min(self._every, SETTLE)):
            self._seen = stamp
        if backup:
            seconds = round(time.time() - began, 2)
            log.info("backed up", extra={"backup": backup, "bytes": self.standing.size, "seconds": seconds})

    def _is_whole(self, now: float) -> bool:
        """Whether the newest backup is as it was, as far as can be told without a look."""
        files, stamp = self._backup
        if not files:
            return now - self._verified < VERIFY
        # One that was lost or cut short before it was first looked at shows that by itself.
        if stamp is None or None in stamp or stamp[0] is None or stamp[0][0] != self.standing.size:
            return False
        return stamp_of(files) == stamp

    def _run(self, began: float) -> str:
        """One look, into the standing; the name of the backup that was taken, or ''. Raises `BackupError`."""
        standing, backup = self.standing, ""
        for message in self._looks.look(self._fingerprint):
            if "kept" in message:
                standing.kept = message["kept"]
            if "fingerprint" in message:
                self._fingerprint = message["fingerprint"]
                standing.last, standing.size = message["last"], message["size"]
                self._backup = (message["files"], stamp_of(message["files"]))
            elif message["event"] == "known":
                self._backup, standing.last, standing.size = ((), None), 0.0, 0
            if message["event"] == "taken":
                backup, self._said = message["backup"], began
                standing.taken += 1
            if message["event"] in ("same", "taken"):
                self._same(began)
        return backup

    def _same(self, began: float) -> None:
        """The newest backup, where there is one, holds everything that was in the catalog when it `began`."""
        self.standing.checked, self.standing.problem = began, ""
        if self.standing.last and began - self._said >= SAY:
            log.info("the newest backup holds everything")
            self._said = began
