"""Who makes a call, and how fast they may."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from azquack.errors import Refusal
from azquack.gateway.flight.calls import NOBODY, Call
from azquack.gateway.flight.tickets import Tickets
from azquack.gateway.logins import Authentication
from azquack.gateway.ports import Principal
from azquack.gateway.traffic import Traffic


@dataclass(frozen=True, slots=True)
class Access:
    """How a server knows who calls, and how fast they may; `loop` is where that is asked."""

    authentication: Authentication
    traffic: Traffic
    tickets: Tickets
    loop: asyncio.AbstractEventLoop

    async def _enter(self, call: Call, token: str) -> Principal:
        await self.traffic.arrive(call.address)
        return await self.authentication.of(call.address, token)

    def enter(self, call: Call, token: str) -> Principal:
        """Whose call it is. Raises `Refusal`."""
        if not token:
            raise Refusal("token", NOBODY)
        return asyncio.run_coroutine_threadsafe(self._enter(call, token), self.loop).result()

    def refused(self, call: Call, refusal: Refusal, kind: str) -> None:
        """Counts it, and notes it in the audit log."""
        self.loop.call_soon_threadsafe(self.traffic.refused, refusal, kind, call.address, call.session)
