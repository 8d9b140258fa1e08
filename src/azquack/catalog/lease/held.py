"""A lease that a command holds for as long as its work takes, which may be many times that of a lease."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from azquack.catalog.lease import Lease
from azquack.catalog.lease.grant import Grant, now
from azquack.errors import LeaseError, LeaseLostError


class Held:
    """A grant of `lease` that a thread renews, from any thread."""

    def __init__(self, lease: Lease, grant: Grant) -> None:
        self._lease = lease
        self._grant = grant
        self._every = max(0.0, grant.until - now()) / 3
        self._reason = ""
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._thread.start()

    @property
    def grant(self) -> Grant:
        """The grant as it is held now. Raises `LeaseLostError`."""
        if reason := self._reason or self._grant.lost():
            raise LeaseLostError(
                f"the lease on the catalog was lost meanwhile ({reason}): see what serves it"
            )
        return self._grant

    def end(self) -> None:
        """Renew it no more, and give it back. Raises `LeaseError`."""
        self._over.set()
        self._thread.join()
        self._lease.release(self._grant)

    def _renew(self) -> None:
        while not self._over.wait(self._every):
            try:
                self._grant = self._lease.renew(self._grant)
            except LeaseLostError as error:
                self._reason = str(error)
                return
            except LeaseError:
                # It may pass; when it does not, the grant's time is up.
                continue


@contextmanager
def held(lease: Lease, grant: Grant) -> Iterator[Held]:
    """Hold `grant` within, and give it back then."""
    kept = Held(lease, grant)
    try:
        yield kept
    finally:
        kept.end()
