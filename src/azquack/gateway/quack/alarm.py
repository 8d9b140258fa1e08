"""The alarm of a catalog: somebody with the internal token sent what neither DuckLake nor AzQuack sends."""

from __future__ import annotations

import logging
from contextlib import suppress

from azquack.errors import StatementError, UpstreamError
from azquack.gateway.audit import Audit, about, told_of
from azquack.gateway.metrics import Metrics
from azquack.gateway.ports import Verdict
from azquack.gateway.sessions import Session
from azquack.http import Exchange
from azquack.quack import wire
from azquack.quack.upstream import exchange as ask

log = logging.getLogger(__name__)

SHOWN = 80


class Alarm:
    """Tells the operator, by the log, a metric and the audit log; `audit` is None where there is none."""

    def __init__(self, metrics: Metrics, audit: Audit | None) -> None:
        self._metrics = metrics
        self._audit = audit

    async def sound(self, exchange: Exchange, session: Session, verdict: Verdict, sql: str = "") -> None:
        """Says that `sql` was refused, and takes back what its transaction has done before."""
        self._metrics.foreign.inc()
        facts = {**about(session), "address": exchange.address, "kind": verdict.kind}
        # From where it is not known to the first string, which may be a user's data or a secret.
        at = getattr(verdict, "at", 0)
        begins = sql[at : at + SHOWN].split("'")[0].strip() if sql else "a native insert"
        log.error(
            "the catalog refused a statement that neither DuckLake nor AzQuack sends: see docs/operations.md",
            extra=facts | {"begins": begins, "characters": len(sql)},
        )
        if self._audit is not None:
            more = {"told": told_of(sql)} if sql else {}
            self._audit.finish(self._audit.start(**facts, **more), "refused", reason="foreign")
        with suppress(StatementError, UpstreamError):
            await ask(session.node.upstream, wire.prepare(session.ticket.inner, "ROLLBACK"))
