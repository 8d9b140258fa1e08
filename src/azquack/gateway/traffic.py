"""How fast requests may come, how much of them may be on its way at once, and what is noted of those refused."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from azquack.errors import Refusal
from azquack.gateway.audit import Audit, about
from azquack.gateway.limits import Limits, Rate, Slots
from azquack.gateway.metrics import Metrics
from azquack.gateway.sessions import Session

# Refusals that the audit log notes per second and address: nobody shall fill the disk with them.
AUDITED_REFUSALS = 1.0


class Traffic:
    """The requests of all protocols at a gateway."""

    def __init__(self, limits: Limits, metrics: Metrics, audit: Audit | None) -> None:
        self._wait = limits.queue_seconds
        self._metrics = metrics
        self._audit = audit
        # One principal may hold a request of the largest size, all together more of them.
        self._bodies = Slots(
            max(limits.bodies_bytes, limits.body_bytes), limits.body_bytes, limits.queue, limits.queue_seconds
        )
        self._addresses = Rate(limits.requests_per_address)
        self._principals = Rate(limits.requests_per_principal)
        self._refusals = Rate(AUDITED_REFUSALS)

    async def arrive(self, address: str) -> None:
        """A request from `address`, which waits where they come too fast. Raises `Refusal`."""
        await self._slow_down(self._addresses.wait(address, self._wait), "from this address")

    @asynccontextmanager
    async def hold(self, session: Session, size: int) -> AsyncIterator[None]:
        """A request of `session` with a body of `size` bytes, while it is answered. Raises `Refusal`."""
        name = session.principal.name
        async with self._bodies.hold(name, max(1, size)):
            await self._slow_down(self._principals.wait(name, self._wait), f"of {name}")
            yield

    async def _slow_down(self, seconds: float, whose: str) -> None:
        """Has one wait who asks too fast, as a load may by right: to refuse a part of it would break it off."""
        if seconds == math.inf:
            raise Refusal("rate", f"Too many requests {whose}: try again in a moment")
        if seconds:
            self._metrics.slowed.inc()
            await asyncio.sleep(seconds)

    def refused(self, refusal: Refusal, kind: str, address: str, session: Session | None) -> None:
        """Counts a refusal, and audits one that came before the statement was looked at."""
        self._metrics.refusals.labels(refusal.reason).inc()
        if self._audit is None or refusal.audited:
            return
        if self._refusals.allow(address):
            facts = about(session) if session else {}
            entry = self._audit.start(**facts, kind=kind, address=address)
            self._audit.finish(entry, "refused", reason=refusal.reason)
