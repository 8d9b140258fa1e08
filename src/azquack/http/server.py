"""The open sockets of one server: their deadlines, and how it leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from azquack.http.connection import Connection, Gate, Handler, Place
from azquack.http.exchange import Timeouts

SWEEP_SECONDS = 0.25


class HttpServer:
    """Answers with `handle` what comes to its `connection`s, in the running event loop.

    They pass the `gate`, where there is one.
    """

    def __init__(self, handle: Handler, timeouts: Timeouts | None = None, gate: Gate | None = None) -> None:
        # Asked once: in Python 3.11 each asking is a system call.
        self.loop = asyncio.get_running_loop()
        self.handle = handle
        self.timeouts = timeouts or Timeouts()
        self.gate = gate
        self.stopping = False
        self._connections: set[Connection] = set()
        self._left = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None

    def connection(self, place: Place | None = None) -> Connection:
        """The protocol of a new socket, for the event loop; `place` as in `Connection`."""
        return Connection(self, place)

    def opened(self, connection: Connection) -> None:
        """A connection is there."""
        self._connections.add(connection)
        self._left.clear()
        if self._sweeper is None:
            self._sweep()

    def closed(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        if not self._connections:
            self._left.set()

    def _sweep(self) -> None:
        """Closes those whose deadline is over: one timer for all costs less than one for each request."""
        now = self.loop.time()
        for connection in [each for each in self._connections if each.deadline < now]:
            connection.abort()
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep) if self._connections else None

    async def stop(self, grace: float) -> None:
        """Closes idle connections, gives requests in flight `grace` seconds, then closes all."""
        self.stopping = True
        for each in [each for each in self._connections if each.idle]:
            each.abort()
        if self._connections:
            with suppress(TimeoutError):
                async with asyncio.timeout(grace):
                    await self._left.wait()
        for each in tuple(self._connections):
            each.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
