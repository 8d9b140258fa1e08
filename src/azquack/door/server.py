"""The door's listening side: uvicorn, with deadlines and caps that keep floods of sockets outside."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from azquack.door.app import Door
from azquack.door.limits import Limits
from azquack.door.metrics import Metrics
from azquack.errors import StartError
from azquack.serving import QuietServer, listening_socket


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how the door listens; port 0 takes a free one.

    With `certificate` and `key` (PEM files) it speaks TLS; with `client_ca` as well it lets in only clients
    whose certificate that authority signed. `trusted_proxies` (addresses, networks or `*`) are believed when
    they say, in `X-Forwarded-For`, whom they speak for.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    trusted_proxies: str = ""


class Guard:
    """Counts open sockets, in all and, unless `shared`, per address.

    `shared`: proxies are trusted, so that one address speaks for many people.
    """

    def __init__(self, limits: Limits, metrics: Metrics, *, shared: bool) -> None:
        self.limits = limits
        self._shared = shared
        self._metrics = metrics
        self._per_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Whether a further socket from `address` may stay."""
        limits = self.limits
        if self._per_address.total() >= limits.connections or (
            not self._shared and self._per_address[address] >= limits.connections_per_address
        ):
            self._metrics.refusals.labels("connections").inc()
            return False
        self._per_address[address] += 1
        self._metrics.connections.inc()
        return True

    def leave(self, address: str) -> None:
        """A socket that entered has closed."""
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
        self._metrics.connections.dec()


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a deadline and a size for the head of each request."""

    guard: Guard

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else "local"
        self._entered = self.guard.enter(self._address)
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        super().connection_made(transport)
        if self._entered:
            self._start_head_timer()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        if self._entered:
            self._entered = False
            self.guard.leave(self._address)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._start_head_timer()
            self._head_bytes += len(data.partition(b"\r\n\r\n")[0])
            if self._head_bytes > self.guard.limits.head_bytes:
                self.transport.abort()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._head_bytes = 0
        self._stop_head_timer()
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        self._in_head = True
        super().on_response_complete()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(self.guard.limits.head_seconds, self.transport.abort)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class DoorServer:
    """Runs a `Door` on a socket: `start`, then `port` is known, then `stop`."""

    def __init__(self, door: Door, listening: Listening) -> None:
        self._door = door
        self._listening = listening
        self._server: uvicorn.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.port = 0

    async def start(self) -> None:
        """Returns when the door accepts. Raises `StartError` when it cannot listen."""
        where = self._listening
        sock = listening_socket(where.host, where.port)
        self.port = sock.getsockname()[1]
        self._server = QuietServer(self._config())
        serving = asyncio.create_task(self._server.serve(sockets=[sock]))
        self._tasks = [serving, asyncio.create_task(self._door.nodes.watch())]
        while not self._server.started:
            if serving.done():
                raise StartError(f"The door could not begin to listen on {where.host}:{self.port}")
            await asyncio.sleep(0.01)

    async def stop(self, grace: float = 5.0) -> None:
        """Takes no further request, gives those in flight `grace` seconds, and closes."""
        if self._server is None:
            return
        serving, watching = self._tasks
        watching.cancel()
        self._server.should_exit = True
        _, running = await asyncio.wait([serving], timeout=grace)
        if running:
            self._server.force_exit = True
            await asyncio.wait([serving])
        await asyncio.gather(watching, return_exceptions=True)
        await self._door.nodes.close()

    def _config(self) -> uvicorn.Config:
        where, limits = self._listening, self._door.limits
        guard = Guard(limits, self._door.metrics, shared=bool(where.trusted_proxies))
        protocol = type("Protocol", (GuardedProtocol,), {"guard": guard})
        tls: dict[str, Any] = {}
        if where.certificate is not None:
            tls = {"ssl_certfile": where.certificate, "ssl_keyfile": where.key}
        if where.client_ca is not None:
            tls |= {"ssl_ca_certs": str(where.client_ca), "ssl_cert_reqs": ssl.CERT_REQUIRED}
        return uvicorn.Config(
            self._door,
            http=protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,
            proxy_headers=bool(where.trusted_proxies),
            forwarded_allow_ips=where.trusted_proxies or None,
            timeout_keep_alive=int(limits.idle_seconds),
            **tls,
        )
