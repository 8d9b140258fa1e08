"""The alarm of a catalog: somebody with the internal token sent what neither DuckLake nor AzQuack sends."""

from __future__ import annotations

import logging
from contextlib import suppress

from azquack.errors import StatementError, UpstreamError
from azquack.gateway.audit import Audit, about, summary_of
from azquack.gateway.metrics import Metrics
from azquack.gateway.statement import Statement

log = logging.getLogger(__name__)

SHOWN = 80


class Alarm:
    """Tells the operator, by the log, a metric and the audit log; `audit` is None where there is none."""

    def __init__(self, metrics: Metrics, audit: Audit | None) -> None:
        self._metrics = metrics
        self._audit = audit

    async def sound(self, statement: Statement) -> None:
        """Says that `statement` is refused, and takes back what its transaction has done before."""
        session, verdict, sql = statement.session, statement.verdict, statement.sql
        assert verdict is not None, "what was not checked is not refused"
        self._metrics.foreign.inc()
        facts = {**about(session), "address": statement.client.address, "kind": verdict.kind}
        # From where it is not known to the first string, which may be a user's data or a secret.
        at = getattr(verdict, "at", 0)
        begins = sql[at : at + SHOWN].split("'")[0].strip() if sql else "a native insert"
        log.error(
            "the catalog refused a statement that neither DuckLake nor AzQuack sends: see docs/operations.md",
            extra=facts | {"begins": begins, "characters": len(sql)},
        )
        if self._audit is not None:
            more = {"summary": summary_of(sql)} if sql else {}
            self._audit.finish(self._audit.start(**facts, **more), "refused", reason="foreign")
        with suppress(StatementError, UpstreamError):
            await session.asking.run("ROLLBACK")
