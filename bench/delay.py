"""A line that takes its time: a TCP proxy that delays every byte and counts round trips."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import cast

import uvloop


class DelayProxy:
    """Stands before `target`, a port of this machine. `seconds` is what each way takes, and may be changed.

    A round trip is counted in `trips` when a client speaks after the server did, or for the first time; the bytes of
    the server's answers in `answered`.
    """

    def __init__(self, target: int, seconds: float = 0.0) -> None:
        self.target = target
        self.seconds = seconds
        self.trips = 0
        self.answered = 0
        self.port = 0
        self._loop = uvloop.new_event_loop()
        self._serving = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        if not self._serving.wait(10):
            raise RuntimeError("the delay proxy did not start")

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port = int(listener.getsockname()[1])
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Inbound(self), sock=listener)
        )
        self._serving.set()
        self._loop.run_forever()
        server.close()

    def close(self) -> None:
        """Ends the thread, and with it every connection."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)


class _End(asyncio.Protocol):
    """One end of a connection; what it gets goes out of `other` after the delay."""

    def __init__(self, proxy: DelayProxy) -> None:
        self._proxy = proxy
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self.other: _End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        for data in self._early:
            self._transport.write(data)

    def data_received(self, data: bytes) -> None:
        if self._proxy.seconds:
            # Timers of one delay fire in the order in which they were set.
            self._loop.call_later(self._proxy.seconds, self._pass, data)
        else:
            self._pass(data)

    def _pass(self, data: bytes) -> None:
        if self.other is not None:
            self.other.write(data)

    def write(self, data: bytes) -> None:
        """Sends `data`, once there is a connection."""
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.other is not None and self.other._transport is not None:
            self.other._transport.close()


class _Inbound(_End):
    """The client's end, which connects to the target."""

    def __init__(self, proxy: DelayProxy) -> None:
        super().__init__(proxy)
        self.speaks = False
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.other = _Outbound(self._proxy, self)
        self._connecting = self._loop.create_task(self._connect(self.other))

    async def _connect(self, other: _End) -> None:
        try:
            await self._loop.create_connection(lambda: other, "127.0.0.1", self._proxy.target)
        except OSError:
            if self._transport is not None:
                self._transport.abort()

    def data_received(self, data: bytes) -> None:
        if not self.speaks:
            self.speaks = True
            self._proxy.trips += 1
        super().data_received(data)


class _Outbound(_End):
    """The server's end."""

    def __init__(self, proxy: DelayProxy, inbound: _Inbound) -> None:
        super().__init__(proxy)
        self.other: _End | None = inbound
        self._inbound = inbound

    def data_received(self, data: bytes) -> None:
        self._inbound.speaks = False
        self._proxy.answered += len(data)
        super().data_received(data)
