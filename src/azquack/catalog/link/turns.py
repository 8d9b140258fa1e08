"""The turns of a node's commits: one at a time, and a large one is not overtaken for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from azquack.catalog.link.catalog import Hold
from azquack.errors import CatalogAwayError

# DuckLake needs so long to make a text of that size anew that small commits come between every time.
LARGE = 256 << 10
RESERVED_SECONDS = 5.0
BUSY = "Other commits of this node took all the time that this one had, so it was not made: try again"


class Turns:
    """Lets one commit of a node through at a time.

    DuckLake 1.5.5 fails with "Failed to get path for schema" when transactions that create tables commit at
    the same time, and of commits that run side by side one alone can win anyway.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._reserved_for = 0
        self._over = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def take(self, size: int, hold: Hold) -> AsyncIterator[None]:
        """Waits for the turn of a commit of `size` characters; `CatalogAwayError` when `hold` is over first."""
        try:
            async with asyncio.timeout(max(hold.left, 0.0)):
                await self._acquire(size)
        except TimeoutError:
            raise CatalogAwayError(BUSY) from None
        try:
            yield
        finally:
            self._lock.release()

    async def _acquire(self, size: int) -> None:
        await self._lock.acquire()
        while size < self._reserved_for:
            self._lock.release()
            await self._over.wait()
            await self._lock.acquire()
        if self._reserved_for:
            self._free()

    def reserve(self, size: int) -> bool:
        """Keeps the next turn, for some seconds, for the commit of `size` that came too late; whether it does.

        It does for a large one, and while no other one has its turn kept.
        """
        if size < LARGE or self._reserved_for:
            return False
        # What DuckLake sends instead differs in a few numbers.
        self._reserved_for = size - size // 10
        self._over.clear()
        self._timer = asyncio.get_running_loop().call_later(RESERVED_SECONDS, self._free)
        return True

    def _free(self) -> None:
        self._reserved_for = 0
        if self._timer is not None:
            self._timer.cancel()
        self._over.set()
