"""Where texts are checked: small ones at once, others in processes beside the gateway, a principal's in turn."""

from __future__ import annotations

import asyncio
import pickle
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

from azquack.errors import Refusal
from azquack.gateway.audit import Summary, summary_of
from azquack.gateway.checker import HEAD, frame
from azquack.gateway.limits import Busy
from azquack.gateway.ports import Policy, Principal, Verdict
from azquack.policy.errors import Refused
from azquack.policy.scope import Scope
from azquack.policy.shape import CHARACTERS, SMALL, measured

if TYPE_CHECKING:
    from azquack.policy.views import View

PROCESSES = 2
IDLE_SECONDS = 60.0
TOO_MUCH_VIEW = "A view takes too much time or memory to be read: make it anew, in parts"
TOO_MUCH = "This text takes too much time or memory to be checked: split it, or load the values into a table"


class Checker:
    """One process that reads texts; started when first asked, and gone after a while without questions."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._process: asyncio.subprocess.Process | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def ask(self, what: str, *arguments: Any) -> Any:
        """The answer to a question; None when it takes more than a process may."""
        if self._idle is not None:
            self._idle.cancel()
        try:
            process = await self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(frame((what, arguments)))
            await process.stdin.drain()
            head = await process.stdout.readexactly(HEAD)
            # From our own child, over a pipe that nobody else holds.
            answer = pickle.loads(await process.stdout.readexactly(int.from_bytes(head, "big")))  # noqa: S301
        except (asyncio.IncompleteReadError, ConnectionError):
            self.end()
            return None
        except BaseException:
            # Its answer would be taken for that to the next question.
            self.end()
            raise
        self._idle = asyncio.get_running_loop().call_later(IDLE_SECONDS, self.end)
        return answer

    def end(self) -> None:
        """Ends the process, where there is one."""
        process, self._process = self._process, None
        if self._idle is not None:
            self._idle.cancel()
        if process is not None:
            with suppress(ProcessLookupError):
                process.kill()

    async def _started(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "azquack.gateway.checker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert self._process.stdin is not None
            self._process.stdin.write(frame(self._policy))
        return self._process


class Checks:
    """Checks texts against `policy`. One of a principal waits while another of the same is read, `seconds` at most."""

    def __init__(self, policy: Policy, seconds: float) -> None:
        self._policy = policy
        self._seconds = seconds
        self._free = [Checker(policy) for _ in range(PROCESSES)]
        self._all = tuple(self._free)
        self._places = asyncio.Semaphore(PROCESSES)
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: Counter[str] = Counter()

    async def check(self, principal: Principal, sql: str, scope: Scope) -> Verdict:
        """What the policy says of `sql`, as `Policy.check`. Raises `Refusal` when that takes too much."""
        if is_small(sql):
            return self._policy.check(principal, sql, scope)
        async with self._turn(principal.name) as checker:
            verdict: Verdict | None = await checker.ask("check", principal, sql, scope)
        if verdict is None:
            raise Refusal("shape", TOO_MUCH)
        return verdict

    async def summary(self, principal: Principal, sql: str) -> Summary:
        """What the audit log says of `sql`."""
        if is_small(sql):
            return summary_of(sql)
        async with self._turn(principal.name) as checker:
            summary: Summary | None = await checker.ask("summary", sql)
        return summary or Summary("", "")

    async def view(self, principal: Principal, sql: str, schema: str) -> View:
        """What a view says whose text in `schema` is `sql`, for a statement of `principal`."""
        if is_small(sql):
            return self._policy.view(sql, schema)
        async with self._turn(principal.name) as checker:
            view: View | None = await checker.ask("view", sql, schema)
        if view is None:
            raise Refusal("views", TOO_MUCH_VIEW)
        return view

    def close(self) -> None:
        """Ends the processes."""
        for each in self._all:
            each.end()

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[Checker]:
        """A process for a text of principal `name`. Raises `Busy`."""
        turn = self._turns.setdefault(name, asyncio.Lock())
        self._waiting[name] += 1
        try:
            try:
                async with asyncio.timeout(self._seconds):
                    await turn.acquire()
            except TimeoutError:
                raise Busy("Your long texts wait for each other here: try again in a moment") from None
            try:
                async with self._places:
                    checker = self._free.pop()
                    try:
                        yield checker
                    finally:
                        self._free.append(checker)
            finally:
                turn.release()
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name], self._turns[name]


def is_small(sql: str) -> bool:
    """Whether reading `sql` holds nobody up; one that is too long is refused unread."""
    if len(sql) > CHARACTERS:
        return True
    if len(sql) > SMALL:
        return False
    try:
        return measured(sql).small
    except Refused:
        return True
