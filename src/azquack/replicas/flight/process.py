"""A Flight SQL server with everything around it: its DuckDB, its event loop, those whom it lets in."""

from __future__ import annotations

import asyncio
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from azquack.config.settings import Settings
from azquack.errors import StartError
from azquack.gateway.audit import Audit, appending
from azquack.gateway.checks import Checks
from azquack.gateway.flight.access import Access
from azquack.gateway.flight.calls import Calls
from azquack.gateway.flight.database import BESIDE, Database
from azquack.gateway.flight.server import FlightSqlServer
from azquack.gateway.flight.tickets import Tickets
from azquack.gateway.limits import Limits, Slots
from azquack.gateway.logins import Authentication
from azquack.gateway.metrics import Metrics
from azquack.gateway.pipeline import Services
from azquack.gateway.traffic import Traffic
from azquack.gateway.verdicts import Verdicts
from azquack.gateway.views import LakeViews
from azquack.node.process import Node
from azquack.policy.functions import QUESTION
from azquack.policy.policy import Policy
from azquack.principals.configured import principals_for
from azquack.process.pipes import Message
from azquack.replicas.gateway.limits import limits_of
from azquack.replicas.tasks import forever, refresh
from azquack.tokens.configured import token_source_for

log = logging.getLogger(__name__)


class FlightProcess:
    """Serves the lake that `node` has opened, as `config` says."""

    def __init__(self, node: Node, config: Message) -> None:
        self._node, self._config = node, config
        self._settings = settings = Settings.model_validate(config["settings"])
        self._limits = limits_of(settings, public=True)
        self._principals = principals_for(settings, token_source_for(settings))
        self._loop = asyncio.new_event_loop()
        self._calls = Calls(self._limits.statement_seconds, self._limits.result_seconds)
        self._server: FlightSqlServer | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.port) if self._server else 0

    def start(self) -> None:
        """Returns when it listens. Raises `StartError`, `SettingError`."""
        settings, limits = self._settings, self._limits
        connection = self._node.connection
        row = connection.execute(QUESTION).fetchone()
        policy = Policy(functions=str(row[0] if row else "").split())
        connection.execute(f"ATTACH ':memory:' AS {BESIDE}")
        self._node.lock()
        # The pipeline asks DuckDB for views and principals for JWTs in these.
        self._loop.set_default_executor(ThreadPoolExecutor(8, "pipeline"))
        threading.Thread(target=self._loop.run_forever, daemon=True, name="pipeline").start()
        self._server = asyncio.run_coroutine_threadsafe(self._made(policy, limits), self._loop).result()
        asyncio.run_coroutine_threadsafe(forever(partial(refresh, self._principals)), self._loop)
        log.info("serves Flight SQL", extra={"port": self.port, "host": settings.host})

    async def _made(self, policy: Policy, limits: Limits) -> FlightSqlServer:
        """The server. What counts is made in the loop in which it is counted."""
        settings, connection = self._settings, self._node.connection
        audit = Audit(appending(settings.audit_log), text=settings.audit_text) if settings.audit_log else None
        metrics = Metrics()
        services = Services(
            Slots(limits.statements, limits.statements_per_principal, limits.queue, limits.queue_seconds),
            Verdicts(policy, Checks(policy, limits.queue_seconds)),
            views=LakeViews(
                policy.lake,
                self._principals,
                limits.statement_seconds,
                alone=True,
                over_quack=self._config["over_quack"],
            ),
            audit=audit,
        )
        access = Access(
            Authentication(self._principals, limits),
            Traffic(limits, metrics, audit),
            Tickets(self._config["seal"]),
            self._loop,
        )
        database = Database(connection, services, self._calls, self._loop, f"{settings.name}-flight")
        tls = settings.tls_cert is not None and settings.tls_key is not None
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            return FlightSqlServer(
                f"grpc{'+tls' if tls else ''}://{host}:{self._config['port']}",
                access,
                database,
                limits,
                certificates=[(_bytes(settings.tls_cert), _bytes(settings.tls_key))] if tls else None,
                client_ca=_bytes(settings.tls_client_ca) if settings.tls_client_ca else None,
            )
        except OSError:
            raise StartError(
                f"port {self._config['port']} on {settings.host} is taken: choose another with "
                "AZQUACK_FLIGHT_PORT"
            ) from None

    def stop(self) -> None:
        """No new calls; those in flight get the settings' grace."""
        if self._server is not None:
            threading.Thread(
                target=self._calls.stop, args=(self._settings.stop_timeout,), daemon=True
            ).start()
            self._server.shutdown()


def _bytes(path: Path | None) -> bytes:
    return Path(path).read_bytes() if path else b""
