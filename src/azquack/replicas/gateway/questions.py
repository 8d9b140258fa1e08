"""What a gateway asks a node process of its replica, through the supervisor that both are children of."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

from azquack.process.pipes import Message

ANSWER_SECONDS = 5.0
"""How long an answer is waited for: a process that lives answers within milliseconds."""


class Questions:
    """Questions that wait for their answers; `tell` sends an event to the supervisor."""

    def __init__(self, tell: Callable[..., None]) -> None:
        self._tell = tell
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Message]] = {}

    async def ask(self, child: str, what: str, **more: object) -> Message | None:
        """The answer of the process `child`; None where there was none in time."""
        number = next(self._numbers)
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                self._tell("ask", child=child, number=number, question={"what": what, **more})
                return await answer
        except TimeoutError:
            return None
        finally:
            del self._waiting[number]

    def learn(self, answer: Message) -> None:
        """An answer has come; one that nobody waits for any more is forgotten."""
        waiting = self._waiting.get(answer["number"])
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
