"""The limits of a gateway, as the settings of its replica say."""

from __future__ import annotations

from azquack.config import sizes
from azquack.config.settings import Settings
from azquack.gateway.limits import Limits
from azquack.process import machine

# The part of the memory that a node's messages may have; what makes them takes three times their bytes.
MESSAGES = 48


def limits_of(settings: Settings, *, public: bool) -> Limits:
    """Those of a `public` gateway, or of a catalog's."""
    # The catalog's gateway must read every commit that a link sends.
    statement = sizes.STATEMENT if public else sizes.COMMIT
    return Limits(
        statement_bytes=statement,
        body_bytes=settings.body_limit if public else max(settings.body_limit, statement),
        statement_seconds=settings.statement_timeout,
        abandoned_seconds=settings.abandoned_timeout,
        interrupt_seconds=settings.interrupt_timeout,
        statements=settings.statements_limit,
        statements_per_principal=settings.statements_per_principal,
        results=settings.results_limit,
        results_per_principal=settings.results_per_principal,
        result_seconds=settings.result_timeout,
        messages_bytes=machine.memory_bytes() // settings.query_nodes // MESSAGES,
        queue=settings.queue_limit,
        queue_seconds=settings.queue_timeout,
        sessions=settings.sessions_limit,
        sessions_per_principal=settings.sessions_per_principal,
        session_idle_seconds=settings.idle_timeout,
        connections=settings.connections_limit,
        connections_per_address=settings.connections_per_address,
        unknown_connections=settings.unknown_connections,
        login_seconds=settings.login_timeout,
        requests_per_address=settings.requests_per_address,
        requests_per_principal=settings.requests_per_principal,
        failed_logins=settings.failed_logins,
        node_wait_seconds=settings.start_timeout,
    )
