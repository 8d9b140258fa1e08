"""A client of Quack 3 as its gateway knows it: its connections to the node, its results, its streams, its lease.

Quack 3 lets a session have several open results, Quack 1 one for each connection. So a session has further connections
to its node beside its own. What reads and needs nothing of the session goes there while the session's own is busy; all
else waits for its own, and an open result there is taken from the node first.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

from azquack.errors import Refusal, StatementError, UpstreamError, WireError
from azquack.gateway.node_session import CONNECTION_NUMBER, node_session
from azquack.gateway.quack3.results import CLOSED, Result
from azquack.gateway.quack3.streams import Stream
from azquack.gateway.sessions import Session
from azquack.gateway.statement import Reply
from azquack.patterns import re
from azquack.quack import wire3
from azquack.quack.upstream import Session as NodeLogin

# Further connections of one session, and results of it that are remembered after their end.
FURTHER = 8
FORGOTTEN = "This result was dropped, for it was not fetched for too long: run the statement again"
REMEMBERED = 32
STREAMS = 8
_READS = re.compile(
    r"\s*+(?:SELECT|WITH|FROM|VALUES|TABLE|SHOW|DESCRIBE|SUMMARIZE|EXPLAIN)\b[^;]*+;?+\s*+", re.IGNORECASE
)


@dataclass(slots=True, eq=False)
class Connection:
    """One connection to the node; `result` is the open one in it."""

    session: Session
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    result: Result | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something runs in it, or is to be fetched from it."""
        return self.lock.locked() or (self.result is not None and self.result.is_open)


class Client:
    """The client of `session`; `lease` in seconds."""

    def __init__(self, session: Session, lease: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.own = Connection(session)
        self.lease = lease
        self.results: OrderedDict[int, Result] = OrderedDict()
        self.streams: dict[str, Stream] = {}
        self.staged: dict[Stream, Connection] = {}
        self.running: dict[int, Connection] = {}
        self._asked: set[int] = set()
        # Settings and temporary tables, which further connections do not have.
        self.has_state = False
        self._clock = clock
        self._further: list[Connection] = []
        self.seen = clock()

    @property
    def session(self) -> Session:
        """The session of its own connection."""
        return self.own.session

    @property
    def connections(self) -> list[Connection]:
        """All of them."""
        return [self.own, *self._further]

    @property
    def is_expired(self) -> bool:
        """Whether it has said nothing for as long as its lease."""
        return self._clock() - self.seen > self.lease

    def touch(self) -> None:
        """It has said something."""
        self.seen = self._clock()

    @contextmanager
    def asks(self, query: int) -> Iterator[None]:
        """While the statement `query` is answered. Raises `Refusal` where that is another's id."""
        if query != wire3.WHOLE:
            if self.knows(query):
                raise Refusal(
                    "query", "This query id is that of another statement of this session: take a new one"
                )
            self._asked.add(query)
        try:
            yield
        finally:
            self._asked.discard(query)

    def knows(self, query: int) -> bool:
        """Whether a statement or a result of it has that id, or any would do."""
        inserts = [each.query for each in self.streams.values()]
        return query in (wire3.WHOLE, *self._asked, *self.results, *inserts)

    def result(self, query: int) -> Result:
        """The result of `query`. Raises `Refusal`."""
        result = self.results.get(query)
        if result is None:
            raise Refusal("result", CLOSED)
        return result

    def remember(self, result: Result) -> None:
        """Keeps `result` for further questions, and of ended ones the last few."""
        self.results[result.query] = result
        for query in [key for key, each in self.results.items() if not each.is_open][:-REMEMBERED]:
            del self.results[query]

    @asynccontextmanager
    async def connection(self, sql: str, reply: Reply) -> AsyncIterator[Connection]:
        """The connection that `sql` shall run in, free for it. Raises `Refusal`."""
        chosen = self.own
        if self._may_go_beside and self.own.is_busy and _READS.fullmatch(sql):
            chosen = await self._beside()
        async with self.held(chosen, reply):
            yield chosen

    @asynccontextmanager
    async def held(self, connection: Connection, reply: Reply) -> AsyncIterator[None]:
        """`connection` for oneself, without an open result."""
        async with connection.lock:
            if connection.result is not None:
                await connection.result.settle(reply)
                connection.result = None
            yield

    async def staging(self) -> Connection:
        """The connection for rows that are staged: its own within a transaction, else a further one."""
        return await self._beside() if self._may_go_beside else self.own

    @property
    def _may_go_beside(self) -> bool:
        return not self.has_state and self.session.transaction.open is None

    async def _beside(self) -> Connection:
        used = set(self.staged.values())
        for each in self._further:
            if not each.is_busy and each not in used:
                return each
        if len(self._further) >= FURTHER:
            raise Refusal(
                "results",
                f"A session has at most {FURTHER + 1} open results and inserts: fetch one to its end, then try again",
            )
        own = self.session
        try:
            login = await NodeLogin.login(own.node.upstream, own.node.address.token)
            number = int(await login.text(CONNECTION_NUMBER))
        except (UpstreamError, StatementError, WireError) as error:
            raise Refusal("node", str(error)) from None
        made = Connection(
            replace(
                own,
                connection_id=f"{own.connection_id}/{len(self._further) + 1}",
                ticket=replace(own.ticket, inner=login.connection_id, number=number),
                asking=node_session(own.node.upstream, login.connection_id),
                plain=True,
                transaction=type(own.transaction)(),
                flights=set(),
            )
        )
        made.session.transaction.unsure = False
        self._further.append(made)
        return made

    def drop_forgotten(self) -> None:
        """Drops results that were not asked for for too long."""
        for each in self.results.values():
            if each.is_forgotten:
                each.fail(Refusal("results", FORGOTTEN))

    def forget(self, stream: Stream) -> None:
        """`stream` is over."""
        self.staged.pop(stream, None)
        for name in [name for name, each in self.streams.items() if each is stream]:
            del self.streams[name]

    def fail(self, refusal: Refusal) -> None:
        """Everything that it has open is over."""
        for stream in list(self.streams.values()):
            stream.fail(refusal)
            self.forget(stream)
        for result in self.results.values():
            if result.is_open or result.held:
                result.fail(refusal)
