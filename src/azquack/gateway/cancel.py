"""Cancels what a session has on its way, whoever wants it: its client, an administrator, a message of a protocol."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from azquack.gateway.results import Results
from azquack.gateway.sessions import Session
from azquack.gateway.stops import cancelled

# Seconds for which whoever cancels is kept waiting to hear whether it has ended.
PATIENCE = 2.0


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of it: whether anything was on its way or open, and whether that has ended."""

    found: bool
    ended: bool = True


async def cancel(
    session: Session,
    by: str,
    results: Results | None = None,
    *,
    force: bool = False,
    seconds: float = PATIENCE,
) -> Cancelled:
    """Stops what `session` has on its way, and drops its open result; its transaction is rolled back, and it goes on.

    `by` is who wants it, as its client is told. With `force` a statement that does not react costs the node. Returns
    once all has ended, or after `seconds`.
    """
    reason = cancelled(by, force=force)
    flights = list(session.flights)
    for flight in flights:
        flight.stop(reason)
    if flights:
        try:
            async with asyncio.timeout(seconds):
                for flight in flights:
                    await flight.over()
        except TimeoutError:
            return Cancelled(True, False)
        return Cancelled(True)
    dropped = results is not None and await results.drop(session, f"{reason.sentence}: run it again")
    return Cancelled(dropped)
