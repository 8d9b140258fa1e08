"""The catalog as the link sees it: sessions that are kept open, log in again, and wait while it is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import deque
from dataclasses import dataclass, field

from azquack.errors import CatalogAwayError, NoAnswerError, StatementError, UpstreamError
from azquack.quack import wire
from azquack.quack.lost import ENDED, FENCED, INVALID_ID, LOST, UNCERTAIN, UNKNOWN
from azquack.quack.upstream import Upstream, exchange

# What a bare node says, and what a gateway says in its place.
SESSION_IS_GONE = frozenset({INVALID_ID, UNKNOWN, ENDED, LOST})
NOT_LET_IN = "Authentication failed"
FIRST_PAUSE = 0.02
LONGEST_PAUSE = 0.5
# How often a batch goes out again that was lost on the way and not applied.
RESENT = 4


@dataclass
class Counters:
    """What the link did since it started; the owner reads them at any time, from any thread."""

    requests: dict[str, int] = field(default_factory=dict)
    """Statements of the node by kind (`link.statements.Kind`)."""
    commits: int = 0
    rollbacks: int = 0
    conflicts: int = 0
    """Commits refused because another took their snapshot; DuckLake starts them over."""
    logins: int = 0
    relogins: int = 0
    """Sessions lost to a restart of the catalog and opened anew."""
    holds: int = 0
    """Statements that waited for the catalog to come back."""
    recovered: int = 0
    """Commits whose answer was lost and whose outcome was then found."""
    unknown: int = 0
    """Commits whose outcome could not be found."""
    cached: int = 0
    """Reads that were answered without asking the catalog."""


log = logging.getLogger(__name__)


class Hold:
    """How long one statement may try to reach the catalog, in all its attempts together."""

    def __init__(self, seconds: float, counters: Counters) -> None:
        self._seconds = seconds
        self._deadline = asyncio.get_running_loop().time() + seconds
        self._pause = FIRST_PAUSE
        self._counters = counters
        self._held = False
        self._resent = self._relogins = 0

    @property
    def left(self) -> float:
        """Seconds until the time is used up; below 0 afterwards."""
        return self._deadline - asyncio.get_running_loop().time()

    async def wait(self, reason: Exception) -> None:
        """Returns after a pause that grows; `CatalogAwayError` once the time is used up, with the last `reason`."""
        left = self.left
        if left <= 0:
            raise CatalogAwayError(self._last_word(reason))
        if not self._held:
            self._held = True
            self._counters.holds += 1
            log.info("waiting for the catalog", extra={"reason": str(reason)})
        await asyncio.sleep(min(self._pause * random.uniform(0.8, 1.2), left))  # noqa: S311  jitter, not a secret
        self._pause = min(self._pause * 1.6, LONGEST_PAUSE)

    async def log_in_again(self) -> None:
        """Returns when a statement whose session was lost may try a new one: the first time at once."""
        if self._relogins:
            await self.wait(LostSession())
        self._relogins += 1

    async def resend(self, reason: Exception) -> None:
        """`wait`, before a batch goes out again that was lost on the way: it may be the one that ends the catalog.

        Raises `CatalogAwayError` also when it went out `RESENT` times already.
        """
        if self._resent == RESENT:
            raise CatalogAwayError(
                f"The connection to the catalog broke {RESENT + 1} times while it was sent this change, of which "
                f"nothing was kept. {_without_period(reason)}: see the log of the catalog"
            )
        self._resent += 1
        await self.wait(reason)

    def _last_word(self, reason: Exception) -> str:
        if isinstance(reason, NoAnswerError):
            return (
                "The catalog is there but took too long for this statement, which changed nothing. "
                f"{_without_period(reason)}: ask for less at once, or try again when it is less busy"
            )
        return (
            f"The catalog did not come back within {self._seconds:g} s, so the statement was not run: "
            f"try again. {reason}"
        )


def _without_period(reason: Exception) -> str:
    return str(reason).rstrip(".")


class LostSession(Exception):
    """The catalog does not know the session: it refused the request unexecuted."""

    def __init__(self) -> None:
        super().__init__("The catalog does not know the session that it has just opened")


class Session:
    """One login. `generation` counts the catalog's lives that the link has seen."""

    def __init__(
        self, upstream: Upstream, connection_id: str, generation: int, answer_timeout: float
    ) -> None:
        self._upstream = upstream
        self._answer_timeout = answer_timeout
        self.connection_id = connection_id
        self.generation = generation

    async def send(self, message: bytes) -> bytes:
        """The answer to `message`, which carries this session's id.

        Raises `LostSession`, `StatementError` with the catalog's sentence, or `UpstreamError`, whose `sent`
        tells whether the catalog may have got the message.
        """
        try:
            async with asyncio.timeout(self._answer_timeout):
                return await exchange(self._upstream, message)
        except TimeoutError:
            raise NoAnswerError(f"The catalog did not answer within {self._answer_timeout:g} s") from None
        except StatementError as error:
            if str(error) in SESSION_IS_GONE:
                raise LostSession from None
            if str(error) == FENCED or UNCERTAIN in str(error):
                raise UpstreamError(str(error), sent=True) from None
            raise

    async def run(self, sql: str, query_id: int | None = None) -> bytes:
        """Runs `sql`; as `send`."""
        return await self.send(wire.prepare(self.connection_id, sql, query_id))


class Catalog:
    """Sessions at the catalog, each used by one statement at a time.

    `token` is the internal token, which nobody but this object holds. `answer_timeout` is how long an answer may
    take, in seconds.
    """

    def __init__(self, upstream: Upstream, token: str, answer_timeout: float, counters: Counters) -> None:
        self._upstream = upstream
        self._token = token
        self._answer_timeout = answer_timeout
        self._counters = counters
        # First in, first out: a result that is still being fetched keeps its session the longest.
        self._free: deque[Session] = deque()
        self._ending: set[asyncio.Future[None]] = set()
        self.generation = 0
        self.greeting = b""
        """The catalog's answer to the last login, for the link's own client."""

    async def session(self, hold: Hold) -> Session:
        """A session for one statement; waits while the catalog is away. `StatementError`: it refuses us."""
        while self._free:
            session = self._free.popleft()
            if session.generation == self.generation:
                return session
        request = wire.connection_request(wire.ConnectionRequest(self._token, "v1.5.5"))
        while True:
            try:
                async with asyncio.timeout(self._answer_timeout):
                    answer = await exchange(self._upstream, request)
                break
            except UpstreamError as error:
                # A login that may have been heard leaves an idle session behind, nothing worse.
                await hold.wait(error)
            except TimeoutError:
                silent = f"The catalog did not answer a login within {self._answer_timeout:g} s"
                await hold.wait(UpstreamError(silent, sent=True))
            except StatementError as error:
                if str(error).startswith(NOT_LET_IN):
                    raise
                # A gateway that waits for its node to start.
                await hold.wait(error)
        self._counters.logins += 1
        self.greeting = answer
        connection_id = wire.parse_connection_response(answer).connection_id
        return Session(self._upstream, connection_id, self.generation, self._answer_timeout)

    def release(self, session: Session) -> None:
        """Takes a session back that is in no transaction."""
        if session.generation == self.generation:
            self._free.append(session)

    def lost(self, session: Session) -> None:
        """The catalog refused this session: it is a new process, so all sessions of this life are gone."""
        if session.generation == self.generation:
            self.generation += 1
            self._free.clear()
            self._counters.relogins += 1

    def discard(self, session: Session) -> None:
        """Ends a session of unknown state, in the background; the catalog rolls its transaction back."""
        task = asyncio.ensure_future(self._end(session))
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def _end(self, session: Session) -> None:
        with contextlib.suppress(UpstreamError, StatementError, LostSession):
            await session.send(wire.disconnect(session.connection_id))

    async def close(self) -> None:
        """Ends the idle sessions and their sockets."""
        for task in self._ending:
            task.cancel()
        await asyncio.gather(*map(self._end, self._free))
        self._free.clear()
        await self._upstream.close()
