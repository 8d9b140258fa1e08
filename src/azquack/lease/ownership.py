"""A replica's claim to the catalog: taken, kept, lost, given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from azquack import epochs
from azquack.errors import LakeError, LeaseError, LeaseLostError
from azquack.lease import Lease
from azquack.lease.grant import Grant, now

log = logging.getLogger(__name__)

# A standby asks this often, in seconds, and so takes over soon after a release.
ASK_EVERY = 0.5


class Ownership:
    """Holds `lease` on the catalog in `directory`, and makes the file of each epoch.

    One that is no `standby` does not wait for another owner. An owner renews three times in `seconds`.
    """

    def __init__(self, lease: Lease, directory: Path, *, seconds: float, standby: bool) -> None:
        self._lease = lease
        self._directory = directory
        self._standby = standby
        self._renew_every = seconds / 3
        self._grant: Grant | None = None
        self._file: Path | None = None
        self._keeping: asyncio.Task[str] | None = None
        self._on_renewal: Callable[[], Awaitable[None]] | None = None

    @property
    def grant(self) -> Grant | None:
        """The lease as it is held; None for a standby."""
        return self._grant

    @property
    def file(self) -> Path:
        """The catalog's file of this epoch. Raises `LeaseError` for a standby."""
        if self._file is None:
            raise LeaseError("this replica does not own the catalog")
        return self._file

    def subscribe(self, on_renewal: Callable[[], Awaitable[None]]) -> None:
        """Have `on_renewal` told whenever the lease is held for longer."""
        self._on_renewal = on_renewal

    async def take(self) -> bool:
        """Take the catalog unless another has it. Raises `LeaseError`, `LakeError`."""
        grant = await asyncio.to_thread(self._lease.acquire)
        if grant is None:
            if not self._standby:
                who = await asyncio.to_thread(self._lease.holder)
                raise LakeError(
                    f"the catalog in {self._directory} is in use by another process"
                    f"{f', {who}' if who else ''}: stop that one first"
                )
            return False
        self._grant = grant
        self._keeping = asyncio.create_task(self._keep(grant))
        try:
            self._file = await asyncio.to_thread(epochs.begin, self._directory, grant.epoch)
            if self._keeping.done():
                raise LeaseLostError(self._keeping.result())
        except (LakeError, LeaseError):
            await self.release()
            raise
        # Where nobody else could, it goes without saying.
        level = logging.INFO if self._standby else logging.DEBUG
        log.log(level, "this replica owns the catalog", extra={"epoch": grant.epoch, "file": str(self._file)})
        return True

    async def wait(self) -> None:
        """Return once the catalog is this replica's, however long that takes; trouble goes into the log."""
        said = ""
        while True:
            try:
                if await self.take():
                    return
            except (LeaseError, LakeError) as error:
                if str(error) != said:
                    log.warning("%s", error)
                said = str(error)
            await asyncio.sleep(ASK_EVERY)

    async def lost(self) -> str:
        """Why the lease was lost, once it is: this replica is a standby from then on."""
        assert self._keeping is not None
        reason = await self._keeping
        self._grant = self._file = None
        return reason

    async def release(self) -> None:
        """Give the lease back, so that another takes over at once."""
        if self._keeping is not None:
            self._keeping.cancel()
        grant, self._grant, self._file = self._grant, None, None
        if grant is not None:
            try:
                await asyncio.to_thread(self._lease.release, grant)
            except LeaseError as error:
                log.warning("%s", error)

    async def _keep(self, grant: Grant) -> str:
        """Renew the lease until it is lost; why."""
        while True:
            await asyncio.sleep(min(self._renew_every, max(0.0, grant.until - now()) / 2))
            try:
                self._grant = grant = await asyncio.to_thread(self._lease.renew, grant)
            except LeaseLostError as error:
                return str(error)
            except LeaseError as error:
                log.warning("%s", error)
                if now() >= grant.until:
                    return f"it could not be renewed in time: {error}"
                await asyncio.sleep(ASK_EVERY)
            else:
                if self._on_renewal is not None:
                    await self._on_renewal()
