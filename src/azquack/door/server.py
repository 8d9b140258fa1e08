"""The door's listening side: uvicorn, with deadlines and caps that keep floods of sockets outside."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Coroutine
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
    entered = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else "local"
        self._head_timer: asyncio.TimerHandle | None = None
        self._in_head = True
        self._head_bytes = 0
        self.entered = self.entered or self.guard.enter(self._address)
        super().connection_made(transport)
        if self.entered:
            self._start_head_timer()
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        if self.entered:
            self.entered = False
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


class TlsServer(QuietServer):
    """Accepts sockets and shakes hands for TLS itself.

    asyncio tells of a socket only after its handshake: until then nobody would count it.
    """

    def __init__(self, config: uvicorn.Config, protocol: type[GuardedProtocol], tls: ssl.SSLContext) -> None:
        super().__init__(config)
        self._protocol = protocol
        self._guard = protocol.guard
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to accept on `sockets`."""
        self.servers = []
        for listener in sockets or []:
            listener.setblocking(False)
            listener.listen(self.config.backlog)
            self._start(self._accept(listener))
        self.started = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn does; handshakes under way are given up."""
        for task in self._tasks:
            task.cancel()
        await super().shutdown(sockets)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, peer = await asyncio.get_running_loop().sock_accept(listener)
            except OSError:
                # Out of file descriptors, or a client that left at once.
                await asyncio.sleep(0.05)
            else:
                self._start(self._welcome(sock, peer[0]))

    async def _welcome(self, sock: socket.socket, address: str) -> None:
        if not self._guard.enter(address):
            sock.close()
            return
        protocol = self._protocol(config=self.config, server_state=self.server_state, app_state={})
        protocol.entered = True
        loop, seconds = asyncio.get_running_loop(), self._guard.limits.head_seconds
        try:
            await loop.connect_accepted_socket(
                lambda: protocol, sock, ssl=self._tls, ssl_handshake_timeout=seconds
            )
        except OSError:
            # An SSLError and an end of patience are OSErrors too.
            self._guard.leave(address)
            sock.close()


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
        guard = Guard(self._door.limits, self._door.metrics, shared=bool(where.trusted_proxies))
        protocol: type[GuardedProtocol] = type("Protocol", (GuardedProtocol,), {"guard": guard})
        config, tls = self._config(protocol), _tls(where)
        sock = listening_socket(where.host, where.port)
        self.port = sock.getsockname()[1]
        self._server = TlsServer(config, protocol, tls) if tls else QuietServer(config)
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

    def _config(self, protocol: type[GuardedProtocol]) -> uvicorn.Config:
        where, limits = self._listening, self._door.limits
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
        )


def _tls(where: Listening) -> ssl.SSLContext | None:
    if where.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(where.certificate, where.key)
        if where.client_ca is not None:
            context.load_verify_locations(where.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"the door's TLS files cannot be used: {error.strerror or error}") from None
    return context
