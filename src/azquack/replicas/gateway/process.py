"""A gateway with everything around it: the sidecar, the nodes that come and go, the canary."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from azquack.catalog.backup.metrics import BackupCollector
from azquack.config.settings import Settings
from azquack.errors import AzQuackError, SettingError
from azquack.gateway.alarm import Alarm
from azquack.gateway.audit import Audit, appending
from azquack.gateway.metrics import Metrics
from azquack.gateway.ports import Policy
from azquack.gateway.quack.app import Gateway, Mode, Records, Rights
from azquack.gateway.quack.server import GatewayServer, Listening
from azquack.gateway.routing import Nodes
from azquack.gateway.seal import Seal
from azquack.gateway.writes import CatalogWrites, DataWrites, WritesCheck
from azquack.http.listening import listening_socket
from azquack.node.address import NodeAddress
from azquack.principals import Principals, PublicToken, Role
from azquack.principals.configured import principals_for
from azquack.process.disks import Room
from azquack.process.health import Board
from azquack.process.pipes import Message
from azquack.quack.upstream import Session, Upstream
from azquack.replicas.gateway.limits import limits_of
from azquack.replicas.gateway.state import Replica, ReplicaCollector
from azquack.replicas.tasks import Work, forever, refresh
from azquack.tokens.configured import token_source_for

if TYPE_CHECKING:
    from azquack.gateway.views import LakeViews
    from azquack.replicas.sidecar import SidecarServer

log = logging.getLogger(__name__)

CANARY = "canary"
# Seconds between canaries while they sing, and while one did not.
CANARY_EVERY = 20.0
CANARY_AGAIN = 2.0
CANARY_TIMEOUT = 10.0
LOOPBACK = "127.0.0.1"
LOOPBACKS = (LOOPBACK, "::1", "localhost")


class GatewayProcess:
    """Built from the supervisor's configuration; `send` sends an event back to it."""

    def __init__(self, config: Message, send: Callable[..., None]) -> None:
        self._config = config
        self._send = send
        self._settings = Settings.model_validate(config["settings"])
        self._board = Board([*config["checks"], CANARY])
        self._replica = Replica(
            self._board,
            config["node_token"],
            send,
            leased=config["leased"],
            on_demand=config["on_demand"],
            peers=frozenset(self._settings.peers),
        )
        self._peers = list(_peers(self._settings, config["node_token"]))
        first = [
            NodeAddress(each["name"], LOOPBACK, each["port"], config["node_token"], each["access"])
            for each in config["nodes"]
        ]
        self._nodes = Nodes([*first, *self._peers])
        self._tasks: list[asyncio.Task[None]] = []
        self._principals = self._who()
        self._room = Room({name: Path(path) for name, path in config["room"].items()})
        writes = DataWrites(config["data_path"], self._nodes) if config["public"] else CatalogWrites()
        self._writes = WritesCheck(writes)
        self._server: GatewayServer | None = None
        self._sidecar: asyncio.Task[SidecarServer] | None = None
        self.http_port = 0
        """The sidecar's port."""

    @property
    def port(self) -> int:
        """The gateway's port."""
        return self._server.port if self._server else 0

    async def start(self) -> None:
        """Returns when both listen; the sidecar answers a moment later. Raises `StartError`."""
        gateway = self._made(*await self._policies())
        known = BackupCollector(self._replica.backup), ReplicaCollector(self._replica)
        for each in (*known, self._room, self._writes):
            gateway.metrics.registry.register(each)
        listener = listening_socket(self._config["http_host"], self._config["http_port"])
        listener.listen()
        self.http_port = int(listener.getsockname()[1])
        self._server = GatewayServer(gateway, _listening(self._config, self._settings))
        await self._server.start()
        self._sidecar = asyncio.create_task(self._serve_sidecar(listener, gateway.metrics.registry))
        works: list[Work] = [
            self._canary,
            partial(refresh, self._principals),
        ]
        works += [partial(each.note, self._board) for each in (self._room, self._writes)]
        self._tasks += [asyncio.create_task(forever(each)) for each in works]

    async def stop(self) -> None:
        """No new requests; those in flight get the settings' grace."""
        for task in self._tasks:
            task.cancel()
        if self._server:
            await self._server.stop(self._settings.stop_timeout)
        if self._sidecar:
            await (await self._sidecar).stop()

    async def _serve_sidecar(self, listener: socket.socket, registry: CollectorRegistry) -> SidecarServer:
        """Starts the sidecar. Its libraries take half a second to load, for which no user shall wait."""
        try:
            sidecar = await asyncio.to_thread(import_module, "azquack.replicas.sidecar")
            server: SidecarServer = sidecar.SidecarServer(
                sidecar.application(self._board, registry, self._replica.status), listener
            )
            await server.start()
        except Exception:
            # Nobody waits for it before the gateway stops: said now, it explains why no probe is answered.
            log.exception("the sidecar could not be started")
            raise
        return server

    def learn(self, children: list[Message], lease: Message | None) -> None:
        """Take in the state of the replica's processes: nodes may have come, gone or moved."""
        self._replica.learn(children, lease)
        self._nodes.update([*self._replica.nodes(), *self._peers])

    def answered(self, answer: Message) -> None:
        """Take in what another process of the replica says to a question."""
        self._replica.questions.learn(answer)

    def _who(self) -> Principals:
        if self._config["public"]:
            return principals_for(self._settings, token_source_for(self._settings))
        return Principals([PublicToken(self._config["token"], Role.ADMIN, "replica")])

    async def _policies(self) -> tuple[Policy, LakeViews | None]:
        """What a public gateway lets people run, and the gateway of a catalog whoever has the internal token."""
        if not self._config["public"]:
            from azquack.catalog.policy.policy import CatalogPolicy

            return CatalogPolicy(), None
        # With it comes a DuckDB, 17 MB that a gateway without a policy need not hold.
        from azquack.gateway.views import LakeViews
        from azquack.policy.policy import Policy

        policy = Policy(functions=await self._functions())
        longest, alone = self._settings.statement_timeout, self._is_only_gateway()
        # A pair on a laptop has a catalog of its own.
        quack = (self._settings.catalog or "quack:").startswith("quack:")
        return policy, LakeViews(policy.lake, self._principals, longest, alone=alone, over_quack=quack)

    async def _functions(self) -> list[str]:
        """The names of a node's own functions: one that nobody has reviewed must not pass for a macro.

        They follow from the configuration of the node and from nothing that the lake holds, so that the policy is the
        same whenever the gateway starts.
        """
        from azquack.policy.functions import QUESTION

        for node in self._nodes:
            async with node.own_session() as session:
                return (await session.text(QUESTION)).split()
        return []

    def _made(self, policy: Policy, views: LakeViews | None) -> Gateway:
        settings = self._settings
        public, alone = bool(self._config["public"]), self._is_only_gateway()
        metrics = Metrics()
        audit = Audit(appending(settings.audit_log), text=settings.audit_text) if settings.audit_log else None
        if public:
            records = Records(metrics, audit, writes=self._writes.of)
            mode = Mode(
                native_names=True,
                read_only=settings.read_only,
                alone=alone,
                group_commit=settings.group_commit and alone,
            )
        else:
            # The catalog's gateway has the statements of query nodes: of them, only an alarm is worth a line.
            records = Records(metrics, alarm=Alarm(metrics, audit), writes=self._writes.of)
            mode = Mode(alone=alone)
        return Gateway(
            self._nodes,
            Rights(self._principals, Seal(self._config["seal"]), policy, views),
            records,
            mode,
            limits_of(settings, public=public),
            self._replica,
        )

    def _is_only_gateway(self) -> bool:
        """Whether every statement of a session must come through this gateway: nobody else reaches its nodes."""
        return not self._peers and self._settings.node_host in LOOPBACKS

    async def _canary(self) -> float:
        """Log in through the gateway as a user does, and read; seconds until the next time."""
        if self._replica.standby:
            return CANARY_AGAIN
        if self._settings.tls_client_ca is not None:
            # It has no certificate that this gateway takes from its clients.
            self._board.note(CANARY, "")
            return CANARY_EVERY
        host = LOOPBACK if self._config["host"] in ("0.0.0.0", "::") else self._config["host"]  # noqa: S104
        upstream = Upstream(host, self.port, tls=_own_trust(self._settings))
        try:
            async with asyncio.timeout(CANARY_TIMEOUT):
                session = await Session.login(upstream, self._config["token"])
                try:
                    await session.run("SELECT 1")
                finally:
                    await session.close()
            self._board.note(CANARY, "")
            return CANARY_EVERY
        except TimeoutError:
            self._board.note(CANARY, f"no answer within {CANARY_TIMEOUT:.0f} s")
        except AzQuackError as error:
            self._board.note(CANARY, str(error))
        finally:
            await upstream.close()
        return CANARY_AGAIN


def _listening(config: Message, settings: Settings) -> Listening:
    return Listening(
        host=config["host"],
        port=config["port"],
        certificate=settings.tls_cert,
        key=settings.tls_key,
        client_ca=settings.tls_client_ca,
        trusted_proxies=settings.trusted_proxies,
    )


def _own_trust(settings: Settings) -> ssl.SSLContext | None:
    """How a client on this machine knows this gateway: by its own certificate, whatever names stand in it."""
    if settings.tls_cert is None:
        return None
    context = ssl.create_default_context(cafile=settings.tls_cert)
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def _peers(settings: Settings, token: str) -> list[NodeAddress]:
    peers = []
    for name, where in settings.peers.items():
        host, _, port = where.rpartition(":")
        if not host or not port.isdigit():
            raise SettingError(f"AZQUACK_PEERS gives {name} the address {where!r}: write NAME=HOST:PORT")
        peers.append(NodeAddress(name, host.strip("[]"), int(port), token))
    return peers
