"""Who owns the catalog: a lease that one process at a time holds, and the epoch that it stands for.

A lease alone cannot stop a process that was paused and wakes up in the middle of a write. Three things together
can: every owner has an epoch and a catalog file of its own (`azquack.catalog.epochs`); the next owner copies that file
after it has the lease; and no answer leaves the owner's gateway unless the lease was still held after the answer was
made (`Grant.held`). So what was acknowledged lies in the copy, and what is not in the copy was not acknowledged.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from azquack.catalog.lease.blob import BlobLease, container_and_blob
from azquack.catalog.lease.file import FileLease
from azquack.catalog.lease.grant import Grant
from azquack.config.settings import Settings, required
from azquack.errors import SettingError
from azquack.lake.state import LeaseRecord

__all__ = ["BlobLease", "FileLease", "Grant", "Lease", "lease_for"]


class Lease(Protocol):
    """A lease on one catalog. Its methods block; all raise `LeaseError` when the place of the lease fails."""

    def acquire(self, floor: int = 0) -> Grant | None:
        """The lease with an epoch of its own, beyond `floor`, or None while another holds it."""

    def renew(self, grant: Grant) -> Grant:
        """The same epoch for longer. Raises `LeaseLostError` once another owner has begun or may have."""

    def settle(self, grant: Grant, lake: str) -> None:
        """Keep in the lease that the epoch of `grant` is served, and of which lake. Raises `LeaseLostError`."""

    def release(self, grant: Grant) -> None:
        """Give it back, so that another takes it at once; nothing happens when it is lost already."""

    def holder(self) -> str:
        """Who holds it, for a person; '' when nobody knows."""

    def record(self) -> LeaseRecord:
        """What it says of its last owner; whether or not it is held."""


def lease_for(settings: Settings, name: str) -> Lease:
    """The lease that `settings` name, for the holder `name`. Raises `SettingError`."""
    seconds = settings.lease_seconds
    if settings.lease is None:
        directory = required(settings, "catalog_dir", "it is where the catalog role keeps catalog.duckdb")
        return FileLease(Path(directory) / "lease", seconds, name)
    if place := container_and_blob(settings.lease):
        return BlobLease.from_settings(settings, *place, seconds)
    if "://" in settings.lease:
        raise SettingError(
            f"AZQUACK_LEASE is {settings.lease!r}: allowed are a directory on a local disk and az://CONTAINER/BLOB"
        )
    return FileLease(Path(settings.lease), seconds, name)
