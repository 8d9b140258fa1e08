"""One run of a backup: `python -m azquack.catalog.backup.run`, started by the backup process.

It gets its configuration as a JSON line on its standard input, takes a backup when the catalog changed, prunes, and
tells what it found and did in JSON lines:

known    what lies in the place already: `kept`, and of the newest whole backup `last`, `size`, `fingerprint`, `files`
empty    the catalog holds no lake yet, nor has it any backup
same     the catalog is as it was, and so is the newest backup
lease    a question: the lease on the catalog as it is held, which the next line of the input shall answer
taken    a backup was taken: `backup` (its name), `last`, `size`, `fingerprint`, `files`
kept     how many there are now: `kept`
done     the end; or
failed   the end, with an `error`, in a sentence
"""

from __future__ import annotations

import logging
import os
import threading
from datetime import UTC, datetime
from queue import SimpleQueue

from pydantic import SecretStr

from azquack.catalog.backup.backups import Backups
from azquack.catalog.backup.copy import session
from azquack.catalog.backup.manifest import Manifest
from azquack.catalog.backup.places import DirectoryPlace, Place, place_for
from azquack.catalog.backup.retention import Retention
from azquack.catalog.lease.grant import Grant
from azquack.config.settings import Settings
from azquack.errors import AzQuackError
from azquack.lake.client import Target
from azquack.process import logs, machine
from azquack.process.pipes import Message, ParentPipe

log = logging.getLogger(__name__)


def main() -> int:
    """The process: 0 once it reported how it ended, 1 when nobody is there to hear it."""
    parent = ParentPipe()
    config = parent.receive()
    if config is None:
        return 1
    logs.configure(config["name"], config["log_level"])
    # Otherwise the kernel would end the catalog's node in its stead when memory runs out.
    machine.first_to_go()
    answers: SimpleQueue[Message] = SimpleQueue()
    threading.Thread(target=_receive, args=(parent, answers), daemon=True).start()
    try:
        _run(config, parent, answers)
    except AzQuackError as error:
        parent.send("failed", error=str(error))
    except OSError as error:
        parent.send("failed", error=f"this machine failed: {(error.strerror or '').lower()}")
    except Exception as error:
        log.debug("a backup run broke off", exc_info=True)
        # What it says may hold secrets.
        parent.send("failed", error=f"it ended with {type(error).__name__}")
    else:
        parent.send("done")
    return 0


def _run(config: Message, parent: ParentPipe, answers: SimpleQueue[Message]) -> None:
    def owned() -> bool:
        parent.send("lease")
        lease = answers.get()["lease"]
        return lease is not None and Grant.from_message(lease).held()

    settings = Settings.model_validate(config["settings"])
    place, retention = place_for(settings), Retention.from_settings(settings)
    catalog = Target(config["uri"], SecretStr(config["token"]), tls=False)
    fingerprint = config["fingerprint"]
    if fingerprint is None:
        with session(catalog) as opened:
            backups = Backups(place, retention, opened.identity().lake)
            holds_lake = opened.state() is not None
        newest = _known(backups, parent)
        if not holds_lake and newest is None:
            parent.send("empty")
            return
        fingerprint = newest.fingerprint if newest else None
    backups = Backups(place, retention)
    taken = backups.take(catalog, unless=fingerprint, owned=owned)
    if taken is None:
        parent.send("same")
        return
    parent.send("taken", backup=taken.name, **_facts(taken, place))
    backups = Backups(place, retention, taken.lake)
    backups.prune(datetime.now(UTC), taken)
    parent.send("kept", kept=len(backups.listed()))


def _known(backups: Backups, parent: ParentPipe) -> Manifest | None:
    """Tell what lies in the place; the newest backup when it is whole."""
    found = backups.inventory()
    for each in found.damaged:
        log.warning("a backup is damaged", extra={"backup": each.name, "reason": each.reason})
    if found.foreign:
        lakes = sorted({each.lake for each in found.foreign})
        log.warning("the place holds backups of other lakes too: they are left alone", extra={"lakes": lakes})
    newest = found.backups[0] if found.backups else None
    if newest and not backups.is_whole(newest):
        log.warning("a backup is damaged", extra={"backup": newest.name, "reason": "its data was changed"})
        newest = None
    parent.send("known", kept=len(found.backups), **(_facts(newest, backups.place) if newest else {}))
    return newest


def _facts(backup: Manifest, place: Place) -> Message:
    """What the backup process shall know of `backup`: also its files, where it can see whether they change."""
    files = []
    if isinstance(place, DirectoryPlace):
        files = [str(place.path.absolute() / name) for name in (backup.file, backup.manifest_file)]
    return {
        "last": backup.time.timestamp(),
        "size": backup.size,
        "fingerprint": backup.fingerprint,
        "files": files,
    }


def _receive(parent: ParentPipe, answers: SimpleQueue[Message]) -> None:
    """Hand on what the backup process says; when it is gone this process ends, wherever it is."""
    while (message := parent.receive()) is not None:
        answers.put(message)
    os._exit(1)


if __name__ == "__main__":
    os._exit(main())
