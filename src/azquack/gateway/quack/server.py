"""The gateway's listening side: sockets that are counted, TLS, and proxies that are believed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from pathlib import Path
from typing import Any

from azquack.errors import StartError
from azquack.gateway.limits import Limits
from azquack.gateway.metrics import Metrics
from azquack.gateway.quack.app import Gateway
from azquack.http import HttpServer, Timeouts
from azquack.http.listening import listening_socket
from azquack.process import certificates

BACKLOG = 2048
EVERYBODY = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how the gateway listens; port 0 takes a free one.

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


class Place:
    """An open socket's place; `close` is called when it has to give way to another."""

    def __init__(self, guard: Guard, address: str, close: Callable[[], object]) -> None:
        self.address = address
        self.close = close
        self._guard = guard

    def vouch(self) -> None:
        """Whoever speaks on the socket is known: it gives way to nobody."""
        self._guard.vouch(self)

    def leave(self) -> None:
        """The socket has closed."""
        self._guard.leave(self)


class Guard:
    """Counts open sockets, in all and, unless proxies are `trusted`, so that one speaks for many, per address.

    Of those on which nobody is known yet there are at most `Limits.unknown_connections`. Where there is no place
    for a further one, the oldest of them gives way.
    """

    def __init__(self, limits: Limits, metrics: Metrics, trusted: str) -> None:
        self._limits = limits
        self._trusted = _networks(trusted)
        self._metrics = metrics
        self._per_address: dict[str, int] = {}
        self._unknown: OrderedDict[Place, None] = OrderedDict()
        self._places: set[Place] = set()
        metrics.connections.set_function(lambda: len(self._places))

    def enter(self, address: str, close: Callable[[], object]) -> Place | None:
        """The place of a further socket from `address`; None when only known ones are open."""
        limits = self._limits
        fits = True
        if not self._trusted and self._per_address.get(address, 0) >= limits.connections_per_address:
            fits = self._give_way(address)
        elif len(self._places) >= limits.connections or len(self._unknown) >= limits.unknown_connections:
            fits = self._give_way()
        if not fits:
            return None
        place = Place(self, address, close)
        self._places.add(place)
        self._unknown[place] = None
        self._per_address[address] = self._per_address.get(address, 0) + 1
        return place

    def _give_way(self, address: str | None = None) -> bool:
        """Closes the oldest socket, of this address, on which nobody is known; whether there was one."""
        self._metrics.refusals.labels("connections").inc()
        for place in self._unknown:
            if address is None or place.address == address:
                self.leave(place)
                place.close()
                return True
        return False

    def vouch(self, place: Place) -> None:
        """Somebody is known at `place`."""
        self._unknown.pop(place, None)

    def leave(self, place: Place) -> None:
        """The socket of `place` has closed, or will."""
        if place not in self._places:
            return
        self._places.discard(place)
        self._unknown.pop(place, None)
        self._per_address[place.address] -= 1
        if not self._per_address[place.address]:
            del self._per_address[place.address]

    def speaker(self, address: str, forwarded: str) -> str:
        """The last one in `forwarded` whom no trusted proxy has added for another such proxy."""
        hosts = [_without_port(each.strip()) for each in forwarded.split(",")]
        while hosts and self._trusts(address):
            address = hosts.pop()
        return address

    def _trusts(self, address: str) -> bool:
        try:
            return any(ip_address(address) in network for network in self._trusted)
        except ValueError:
            return False


class TlsListener:
    """Accepts sockets and shakes hands for TLS itself.

    asyncio tells of a socket only after its handshake: until then nobody would count it.
    """

    def __init__(self, server: HttpServer, gate: Guard, tls: ssl.SSLContext, handshake: float) -> None:
        self._server = server
        self._gate = gate
        self._tls = tls
        self._handshake = handshake
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, listener: socket.socket) -> None:
        """Begins to accept on `listener`."""
        listener.setblocking(False)
        listener.listen(BACKLOG)
        self._spawn(self._accept(listener))

    def close(self) -> None:
        """Accepts no more; handshakes under way are given up."""
        for task in self._tasks:
            task.cancel()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        with listener:
            while True:
                try:
                    sock, peer = await asyncio.get_running_loop().sock_accept(listener)
                except OSError:
                    # Out of file descriptors, or a client that left at once.
                    await asyncio.sleep(0.05)
                else:
                    self._spawn(self._welcome(sock, peer[0]))

    async def _welcome(self, sock: socket.socket, address: str) -> None:
        task = asyncio.current_task()
        assert task is not None
        place = self._gate.enter(address, task.cancel)
        if place is None:
            sock.close()
            return
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._server.connection(place),
                sock,
                ssl=self._tls,
                ssl_handshake_timeout=self._handshake,
            )
        except (OSError, asyncio.CancelledError):
            # An SSLError and an end of patience are OSErrors too; cancelled is who gave way.
            place.leave()
            sock.close()


class GatewayServer:
    """Runs a `Gateway` on a socket: `start`, then `port` is known, then `stop`."""

    def __init__(self, gateway: Gateway, listening: Listening) -> None:
        limits = gateway.limits
        self._gateway = gateway
        self._listening = listening
        self._guard = Guard(limits, gateway.metrics, listening.trusted_proxies)
        timeouts = Timeouts(
            limits.head_seconds,
            limits.body_seconds,
            limits.read_seconds,
            limits.idle_seconds,
            limits.login_seconds,
            limits.head_bytes,
        )
        self._server = HttpServer(gateway, timeouts, self._guard)
        self._listener: asyncio.Server | TlsListener | None = None
        self._watching: asyncio.Task[None] | None = None
        self.port = 0

    async def start(self) -> None:
        """Returns when the gateway accepts. Raises `StartError` when it cannot listen."""
        where = self._listening
        tls = _tls(where)
        sock = listening_socket(where.host, where.port)
        self.port = sock.getsockname()[1]
        if tls is None:
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_server(self._server.connection, sock=sock, backlog=BACKLOG)
        else:
            self._listener = TlsListener(self._server, self._guard, tls, self._gateway.limits.head_seconds)
            self._listener.start(sock)
        self._watching = asyncio.create_task(self._gateway.nodes.watch())

    async def stop(self, grace: float = 5.0) -> None:
        """Takes no further request, gives those in flight `grace` seconds, and closes."""
        if self._listener is None or self._watching is None:
            return
        self._watching.cancel()
        self._listener.close()
        await self._server.stop(grace)
        await asyncio.gather(self._watching, return_exceptions=True)
        await self._gateway.nodes.close()


def _networks(trusted: str) -> list[IPv4Network | IPv6Network]:
    names = [each.strip() for each in trusted.split(",") if each.strip()]
    try:
        return [ip_network(each, strict=False) for each in (EVERYBODY if "*" in names else names)]
    except ValueError as error:
        raise StartError(f"AZQUACK_TRUSTED_PROXIES: {error}") from None


def _without_port(host: str) -> str:
    name, _, port = host.rpartition(":")
    return (
        name.strip("[]")
        if port.isdigit() and (name.count(":") == 0 or name.startswith("[")) and name
        else host
    )


def _tls(where: Listening) -> ssl.SSLContext | None:
    if where.certificate is None:
        return None
    context = certificates.load(where.certificate, where.key)
    if where.client_ca is not None:
        try:
            context.load_verify_locations(where.client_ca)
        except (OSError, ssl.SSLError) as error:
            raise StartError(f"the gateway's TLS files cannot be used: {error.strerror or error}") from None
        context.verify_mode = ssl.CERT_REQUIRED
    return context
