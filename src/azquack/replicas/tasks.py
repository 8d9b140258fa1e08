"""What a process of a replica does again and again beside its requests."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Coroutine
from typing import Any

from azquack.errors import AzQuackError
from azquack.principals import Principals

log = logging.getLogger(__name__)

REFRESH_EVERY = 30.0

Work = Callable[[], Coroutine[Any, Any, float]]
"""Something to be done, which gives the seconds until the next time."""


async def forever(work: Work) -> None:
    """Do `work` again and again, after about as long as it says: the spread keeps replicas from marching in step."""
    while True:
        pause = await work()
        await asyncio.sleep(pause * random.uniform(0.9, 1.1))  # noqa: S311  jitter, not a secret


async def refresh(principals: Principals) -> float:
    """Read the principals anew; seconds until the next time."""
    try:
        await asyncio.to_thread(principals.refresh)
    except AzQuackError as error:
        log.warning("%s", error)
    return REFRESH_EVERY
