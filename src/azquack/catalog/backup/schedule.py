"""When a backup run starts, and what came of it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from azquack.catalog.backup.file_stats import FileStats, quiet_since, stats_of
from azquack.catalog.backup.runner import Runner
from azquack.catalog.backup.status import BackupStatus
from azquack.errors import BackupError

log = logging.getLogger(__name__)

# After a failure the next try comes no later than this, in seconds.
RETRY = 60.0
# How often it says that there is nothing to do: an alert looks for that, in seconds.
SAY = 3600.0
# A commit is in the files before a reader sees it, for as long as the disk takes to write: not longer than this, in
# seconds. What is younger when a run begins, the run may have missed.
SETTLE = 10.0
# How often it is looked whether the newest backup is still there and whole, where its files cannot be watched, in
# seconds.
VERIFY = 900.0


class Schedule:
    """Starts a backup run every `every` seconds when the catalog, whose files are `files`, was written to."""

    def __init__(self, runner: Runner, files: Sequence[str], every: float) -> None:
        self._runner = runner
        self._files = files
        self._every = every
        # As it was before the last run that went well, where the run saw all that is in it.
        self._seen: FileStats | None = None
        self._fingerprint: str | None = None
        # The files of the newest backup, where they can be watched, and how they were when it was last seen whole.
        self._backup: tuple[Sequence[str], FileStats | None] = ((), None)
        self._verified = 0.0
        self._said = 0.0
        self._stopping = threading.Event()
        self.status = BackupStatus()

    def run(self, report: Callable[[], None]) -> None:
        """Back up until `stop`, and once more then; `report` is called after each run."""
        while not self._stopping.is_set():
            self._back_up()
            report()
            self._stopping.wait(min(self._every, RETRY) if self.status.problem else self._every)
        self._back_up()

    def stop(self) -> None:
        """Have `run` end, from any thread; a run that is under way ends first."""
        self._stopping.set()

    def _back_up(self) -> None:
        """Take a backup when the catalog changed; a failure goes into the log and the status."""
        began = time.time()
        stats = stats_of(self._files)
        whole = self._is_whole(began)
        if whole and stats is not None and stats == self._seen:
            self._same(began)
            return
        self._seen = None
        if not whole:
            # The run reads the place anew.
            self._fingerprint = None
            self._verified = began
        try:
            backup = self._run(began)
        except BackupError as error:
            self.status.failed += 1
            self.status.problem = str(error)
            log.warning("the backup failed", extra={"reason": str(error)})
            # What the next run knows of the place it reads there.
            self._fingerprint = None
            return
        if stats is not None and quiet_since(stats, began - min(self._every, SETTLE)):
            self._seen = stats
        if backup:
            seconds = round(time.time() - began, 2)
            log.info("backed up", extra={"backup": backup, "bytes": self.status.size, "seconds": seconds})

    def _is_whole(self, now: float) -> bool:
        """Whether the newest backup is as it was, as far as can be seen without a run."""
        files, stats = self._backup
        if not files:
            return now - self._verified < VERIFY
        # One that was lost or cut short before its files were first read shows that by itself.
        if stats is None or None in stats or stats[0] is None or stats[0][0] != self.status.size:
            return False
        return stats_of(files) == stats

    def _run(self, began: float) -> str:
        """One run, into the status; the name of the backup that was taken, or ''. Raises `BackupError`."""
        status, backup = self.status, ""
        for message in self._runner.run(self._fingerprint):
            if "kept" in message:
                status.kept = message["kept"]
            if "fingerprint" in message:
                self._fingerprint = message["fingerprint"]
                status.last, status.size = message["last"], message["size"]
                self._backup = (message["files"], stats_of(message["files"]))
            elif message["event"] == "known":
                self._backup, status.last, status.size = ((), None), 0.0, 0
            if message["event"] == "taken":
                backup, self._said = message["backup"], began
                status.taken += 1
            if message["event"] in ("same", "taken"):
                self._same(began)
        return backup

    def _same(self, began: float) -> None:
        """The newest backup, where there is one, holds everything that was in the catalog when it `began`."""
        self.status.checked, self.status.problem = began, ""
        if self.status.last and began - self._said >= SAY:
            log.info("the newest backup holds everything")
            self._said = began
