"""A replica's claim to the catalog: taken, kept, lost, given back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

from azquack.catalog import epochs
from azquack.catalog.lake_places import catalog_in, lease_before
from azquack.catalog.lease import Lease
from azquack.catalog.lease.grant import Grant, now
from azquack.errors import LakeError, LeaseError, LeaseLostError
from azquack.lake.state import Places, Seen, judge, next_epoch

log = logging.getLogger(__name__)

# A standby asks this often, in seconds, and so takes over soon after a release.
ASK_EVERY = 0.5
# After a refusal it takes its time, in seconds: each try is an owner's number, and what must be mended takes longer.
REFUSED_EVERY = 2.0


class Ownership:
    """Holds `lease` on the catalog in `directory`, and makes the file of each epoch.

    One that is no `standby` does not wait for another owner. An owner renews three times in `seconds`. `read_places`
    says what the other places of the lake hold; an owner whose places do not agree gives the catalog back at once.
    """

    def __init__(
        self,
        lease: Lease,
        directory: Path,
        *,
        seconds: float,
        standby: bool,
        read_places: Callable[[], Places] = Places,
    ) -> None:
        self._lease = lease
        self._directory = directory
        self._read_places = read_places
        self._places = Places()
        self._settled = False
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

    @property
    def places(self) -> Places:
        """What the places of the lake were found to hold, for the node that opens the file."""
        return self._places

    async def settle(self, lake: str) -> None:
        """The file was found whole, and nobody has been served from it yet: it is what `lake` stands on from now on.

        Raises `LeaseError`: then it must not be served.
        """
        grant = self._grant
        if grant is None or self._file is None:
            raise LeaseLostError("this replica does not own the catalog any more")
        await asyncio.to_thread(self._lease.settle, grant, lake)
        if not self._settled:
            await asyncio.to_thread(epochs.settle, self._file)
        self._settled = True
        self._grant = self._watched(grant)
        record = replace(
            self._places.lease, seen=Seen.THERE, lake=lake, number=grant.epoch, served=grant.epoch
        )
        found = replace(self._places.catalog, seen=Seen.UNKNOWN, number=grant.epoch)
        self._places = replace(self._places, catalog=found, lease=record)

    def subscribe(self, on_renewal: Callable[[], Awaitable[None]]) -> None:
        """Have `on_renewal` told whenever the lease is held for longer."""
        self._on_renewal = on_renewal

    async def take(self) -> bool:
        """Take the catalog unless another has it. Raises `LeaseError`, `LakeError`."""
        places = await asyncio.to_thread(self._read_places)
        grant = await asyncio.to_thread(self._lease.acquire, next_epoch(places) - 1)
        if grant is None:
            if not self._standby:
                who = await asyncio.to_thread(self._lease.holder)
                raise LakeError(
                    f"the catalog in {self._directory} is in use by another process"
                    f"{f', {who}' if who else ''}: stop that one first"
                )
            return False
        self._grant, self._settled = grant, False
        self._keeping = asyncio.create_task(self._keep(grant))
        try:
            # Looked at again now that nobody else may change it.
            found = await asyncio.to_thread(catalog_in, self._directory)
            if max(found.number, *found.lost, 0) >= grant.epoch:
                raise LakeError(
                    f"another owner began epoch {grant.epoch} of {self._directory} at the same time"
                )
            self._places = replace(places, catalog=found, lease=lease_before(grant))
            judge(self._places).insist()
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
                await asyncio.sleep(REFUSED_EVERY)
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
        grant, self._grant, file, self._file = self._grant, None, self._file, None
        if grant is not None:
            if file is not None and not self._settled:
                await asyncio.to_thread(epochs.discard, file)
            try:
                await asyncio.to_thread(self._lease.release, grant)
            except LeaseError as error:
                log.warning("%s", error)

    async def _keep(self, grant: Grant) -> str:
        """Renew the lease until it is lost; why."""
        while True:
            await asyncio.sleep(min(self._renew_every, max(0.0, grant.until - now()) / 2))
            try:
                grant = await asyncio.to_thread(self._lease.renew, grant)
                if self._settled:
                    grant = self._watched(grant)
                self._grant = grant
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

    def _watched(self, grant: Grant) -> Grant:
        """The grant with the catalog's file in it, where the gateway can look at it before each answer.

        Raises `LeaseLostError` when the file is gone or another's.
        """
        seen = replace(grant, file=str(self.file), followed=str(epochs.followed_by(self.file)))
        if reason := seen.file_lost():
            raise LeaseLostError(reason)
        return seen
