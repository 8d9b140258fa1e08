"""A lease on a blob: Azure itself sees to it that one client at a time holds it.

https://learn.microsoft.com/rest/api/storageservices/lease-blob: a lease lasts 15 to 60 seconds from its last
renewal, on the clock of the service. Ours is counted from before the request was sent, so it ends first.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from azquack.catalog.lease.grant import TAKEN, Grant, now
from azquack.config.settings import Settings
from azquack.errors import LeaseError, LeaseLostError, SettingError
from azquack.lake.state import LeaseRecord, Seen
from azquack.storage.container import container_client, sentence

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.storage.blob import BlobClient, BlobLeaseClient

_PLACE = re.compile(r"az://(?P<container>[a-z0-9-]{3,63})/(?P<blob>.+)")
SHORTEST = 15
_EPOCH, _LAKE, _SERVED = "epoch", "lake", "served"
# The service's own words for a lease that is somebody else's, or nobody's.
_TAKEN = frozenset({"LeaseAlreadyPresent", "LeaseIdMissing", "LeaseIsBreakingAndCannotBeAcquired"})
_LOST = frozenset({"LeaseIdMismatchWithLeaseOperation", "LeaseIdMismatchWithBlobOperation", "LeaseLost",
                   "LeaseNotPresentWithLeaseOperation", "LeaseNotPresentWithBlobOperation",
                   "LeaseIsBrokenAndCannotBeRenewed"})  # fmt: skip
_GONE = frozenset({"BlobNotFound", "ContainerNotFound", "ContainerBeingDeleted"})


def container_and_blob(place: str) -> tuple[str, str] | None:
    """The two names in `az://container/blob`; None when `place` is nothing of that kind."""
    match = _PLACE.fullmatch(place)
    return (match["container"], match["blob"]) if match else None


class BlobLease:
    """The lease on `blob` for `seconds`. The epoch stands in the blob's metadata."""

    def __init__(self, blob: BlobClient, seconds: float) -> None:
        self._blob = blob
        self._seconds = int(seconds)
        self._lease: BlobLeaseClient | None = None

    @classmethod
    def from_settings(cls, settings: Settings, container: str, name: str, seconds: float) -> BlobLease:
        """The lease on the blob `name` of `container`, in the account of the settings. Raises `SettingError`."""
        if seconds < SHORTEST:
            raise SettingError(
                f"AZQUACK_LEASE_SECONDS is {seconds:g}: a lease on a blob lasts {SHORTEST} to 60 seconds"
            )
        # A try that takes longer than the time between two of them is worth nothing.
        limits = {"retry_total": 0, "connection_timeout": 4, "read_timeout": 4}
        return cls(container_client(settings, container, **limits).get_blob_client(name), seconds)

    def acquire(self, floor: int = 0) -> Grant | None:
        """The lease with an epoch beyond `floor`, or None while another holds it. Raises `LeaseError`."""
        from azure.core.exceptions import AzureError, ResourceExistsError
        from azure.storage.blob import BlobLeaseClient

        started = now()
        lease = BlobLeaseClient(self._blob)
        try:
            with contextlib.suppress(ResourceExistsError):
                self._blob.upload_blob(b"", overwrite=False)
            lease.acquire(lease_duration=self._seconds)
            before = self._record(self._blob.get_blob_properties(lease=lease).metadata)
            epoch = max(before.number, floor) + 1
            self._write(lease, epoch, before.lake, before.served)
        except AzureError as error:
            if _code(error) in _TAKEN | _LOST | _GONE - {"ContainerNotFound"}:
                return None
            raise self._failed(error) from None
        self._lease = lease
        return Grant(
            epoch, started + self._seconds, lake=before.lake, served=before.served, number=before.number
        )

    def renew(self, grant: Grant) -> Grant:
        """The same epoch for longer. Raises `LeaseLostError`, `LeaseError`."""
        from azure.core.exceptions import AzureError

        started = now()
        if self._lease is None:
            raise LeaseLostError("the lease was never held")
        try:
            self._lease.renew()
        except AzureError as error:
            raise self._ended(error) from None
        return replace(grant, until=started + self._seconds)

    def settle(self, grant: Grant, lake: str) -> None:
        """Keep that the epoch of `grant` is served, and of which lake. Raises `LeaseLostError`, `LeaseError`."""
        from azure.core.exceptions import AzureError

        if self._lease is None:
            raise LeaseLostError("the lease was never held")
        try:
            self._write(self._lease, grant.epoch, lake, grant.epoch)
        except AzureError as error:
            raise self._ended(error) from None

    def release(self, grant: Grant) -> None:
        """Give it back. Raises `LeaseError`."""
        from azure.core.exceptions import AzureError

        if self._lease is None:
            return
        try:
            self._lease.release()
        except AzureError as error:
            if _code(error) not in _LOST | _GONE:
                raise self._failed(error) from None
        self._lease = None

    def holder(self) -> str:
        """Azure does not say who holds a lease."""
        return ""

    def record(self) -> LeaseRecord:
        """What it says of its last owner. Raises `LeaseError`."""
        from azure.core.exceptions import AzureError

        try:
            return self._record(self._blob.get_blob_properties().metadata)
        except AzureError as error:
            # A request without a body is answered without a code.
            if getattr(error, "status_code", None) == HTTPStatus.NOT_FOUND:
                return LeaseRecord(Seen.MISSING, self._where)
            raise self._failed(error) from None

    @property
    def _where(self) -> str:
        return f"the lease az://{self._blob.container_name}/{self._blob.blob_name}"

    def _record(self, metadata: dict[str, str] | None) -> LeaseRecord:
        found = metadata or {}
        number = int(found.get(_EPOCH, 0))
        if not number:
            return LeaseRecord(Seen.EMPTY, self._where)
        return LeaseRecord(Seen.THERE, self._where, found.get(_LAKE, ""), number, int(found.get(_SERVED, -1)))

    def _write(self, lease: BlobLeaseClient, epoch: int, lake: str, served: int) -> None:
        # The metadata of a blob may have no empty value.
        named = {_LAKE: lake} if lake else {}
        self._blob.set_blob_metadata({_EPOCH: str(epoch), _SERVED: str(served), **named}, lease=lease)

    def _ended(self, error: AzureError) -> LeaseError:
        """What an error on the way says: lost to another, gone, or only in trouble."""
        if _code(error) in _LOST:
            return LeaseLostError(TAKEN)
        if _code(error) in _GONE:
            return LeaseLostError(f"{self._where} was removed")
        return self._failed(error)

    def _failed(self, error: AzureError) -> LeaseError:
        forbidden = getattr(error, "status_code", None) == HTTPStatus.FORBIDDEN
        return LeaseError(f"{self._where} cannot be used: {sentence(error)}", may_pass=forbidden)


def _code(error: AzureError) -> str:
    return str(getattr(error, "error_code", "") or "")
