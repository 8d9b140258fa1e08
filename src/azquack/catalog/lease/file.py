"""A lease in a directory of a local disk: one small file per owner, its modification time the heartbeat.

The file of epoch N is named `N`. To take over, a process makes `N+1`, which can be made once only. A file system
that shows a made file late (SMB, NFS) is no place for it: there `az://` is.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from azquack.catalog.lease.grant import Grant, now
from azquack.errors import LeaseError, LeaseLostError
from azquack.lake.state import LeaseRecord, Seen

# What a lease that was given back still says.
_KEPT = ("lake", "served")
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_PID_NAMESPACE = Path("/proc/self/ns/pid")


class FileLease:
    """The lease in `directory`. An owner whose heartbeat stands still for `seconds` has lost it.

    `name` tells others who holds it.
    """

    def __init__(self, directory: Path, seconds: float, name: str) -> None:
        self._directory = directory
        self._seconds = seconds
        self._name = name
        self._seen: tuple[int, int] = (0, 0)
        self._since = 0.0

    def acquire(self, floor: int = 0) -> Grant | None:
        """The lease with an epoch beyond `floor`, or None while another holds it. Raises `LeaseError`."""
        started = now()
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            newest = self._newest()
            if newest and not self._is_free(newest):
                return None
            before = self._record(newest)
            epoch = max(newest, floor) + 1
            if not self._claim(epoch, before):
                return None
            others = sorted(each for each in self._epochs() if each != epoch)
            if others and others[-1] > epoch:
                # Another began at the same moment from a higher floor.
                (self._directory / str(epoch)).unlink(missing_ok=True)
                return None
            for older in others:
                (self._directory / str(older)).unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from None
        claim, successor = (str(self._directory / str(each)) for each in (epoch, epoch + 1))
        until = started + self._seconds
        return Grant(
            epoch, until, claim, successor, lake=before.lake, served=before.served, number=before.number
        )

    def renew(self, grant: Grant) -> Grant:
        """The same epoch for longer. Raises `LeaseLostError`, `LeaseError`."""
        started = now()
        try:
            os.utime(self._directory / str(grant.epoch))
        except FileNotFoundError:
            raise LeaseLostError(grant.lost()) from None
        except OSError as error:
            raise self._failed(error) from None
        renewed = replace(grant, until=started + self._seconds)
        if reason := renewed.lost():
            raise LeaseLostError(reason)
        return renewed

    def settle(self, grant: Grant, lake: str) -> None:
        """Keep that the epoch of `grant` is served, and of which lake. Raises `LeaseLostError`, `LeaseError`."""
        if reason := grant.lost():
            raise LeaseLostError(reason)
        try:
            found = self._read(grant.epoch)
        except OSError as error:
            raise self._failed(error) from None
        self._write(grant.epoch, found | {"lake": lake, "served": grant.epoch}, new=False)

    def release(self, grant: Grant) -> None:
        """Give it back. Raises `LeaseError`."""
        if grant.held():
            try:
                found = self._read(grant.epoch)
            except OSError as error:
                raise self._failed(error) from None
            kept = {key: found[key] for key in _KEPT if key in found}
            self._write(grant.epoch, {"released": True, **kept}, new=False)

    def holder(self) -> str:
        """Who holds it; '' when nobody knows."""
        with contextlib.suppress(OSError, KeyError, LeaseError):
            if newest := self._newest():
                found = self._read(newest)
                return "" if found.get("released") else f"{found['name']} (pid {found['pid']})"
        return ""

    def record(self) -> LeaseRecord:
        """What it says of its last owner. Raises `LeaseError`."""
        try:
            return self._record(self._newest()) if self._directory.is_dir() else LeaseRecord(Seen.MISSING)
        except OSError as error:
            raise self._failed(error) from None

    def _record(self, newest: int) -> LeaseRecord:
        where = f"the lease in {self._directory}"
        if not newest:
            return LeaseRecord(Seen.EMPTY, where)
        found = self._read(newest)
        return LeaseRecord(
            Seen.THERE, where, str(found.get("lake", "")), newest, int(found.get("served", -1))
        )

    def _is_free(self, epoch: int) -> bool:
        path = self._directory / str(epoch)
        beat = (epoch, path.stat().st_mtime_ns)
        if beat != self._seen:
            self._seen, self._since = beat, now()
        found = self._read(epoch)
        if found.get("released"):
            return True
        if found.get("machine") == _machine():
            return not _lives(int(found["pid"])) or now() - self._since > self._seconds
        return now() - self._since > self._seconds

    def _claim(self, epoch: int, before: LeaseRecord) -> bool:
        """Make the file of `epoch`, complete from its first moment; False when another was quicker."""
        own = {"name": self._name, "pid": os.getpid(), "machine": _machine()}
        return self._write(epoch, {**own, "lake": before.lake, "served": before.served}, new=True)

    def _write(self, epoch: int, content: dict[str, Any], *, new: bool) -> bool:
        path = self._directory / str(epoch)
        try:
            number, name = tempfile.mkstemp(dir=self._directory, prefix=".")
            draft = Path(name)
            try:
                # Closed within: a full disk shows itself there, and must not keep the draft.
                with os.fdopen(number, "w") as text:
                    json.dump(content, text)
                if new:
                    os.link(draft, path)
                else:
                    draft.replace(path)
            finally:
                draft.unlink(missing_ok=True)
        except FileExistsError:
            return False
        except OSError as error:
            raise self._failed(error) from None
        return True

    def _read(self, epoch: int) -> dict[str, Any]:
        path = self._directory / str(epoch)
        try:
            content: dict[str, Any] = json.loads(path.read_text())
            if {"released", "pid", "name"}.isdisjoint(content):
                raise ValueError("it says nothing of an owner")
        except (ValueError, TypeError):
            raise LeaseError(
                f"the lease {path} is damaged: once nothing serves the catalog, remove that file and start again"
            ) from None
        return content

    def _newest(self) -> int:
        return max(self._epochs(), default=0)

    def _epochs(self) -> list[int]:
        return [int(each.name) for each in self._directory.iterdir() if each.name.isdigit()]

    def _failed(self, error: OSError) -> LeaseError:
        return LeaseError(f"the lease in {self._directory} cannot be used: {(error.strerror or '').lower()}")


def _machine() -> str:
    """What two processes have in common that can see each other's process ids."""
    try:
        return f"{_BOOT.read_text().strip()} {_PID_NAMESPACE.readlink()}"
    except OSError:
        return socket.gethostname()


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
