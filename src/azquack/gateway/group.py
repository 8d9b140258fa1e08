"""Group commit: small inserts of several sessions that come at once become one transaction of the lake.

A commit of the lake costs about the same for one row and for many, and commits wait for each other. So while an
insert of a principal is on its way at a node, further ones gather, and then run as one transaction in a session
of the gateway's own. Their answers are let go once the commit is there. When the transaction fails, nothing of it
was kept, and its halves are tried apart, so that in the end each who has an error gets it alone, in its own
session. A commit whose end is not known is told to all of them, and never tried again.

Only what means the same in every session comes here: literal rows for one table (`Verdict.rows`), from a session
that is as its login left it (`Session.plain`).
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from azquack.errors import Refusal, StatementError, UpstreamError
from azquack.gateway.limits import Limits
from azquack.gateway.metrics import Metrics
from azquack.gateway.node_session import CONNECTION_NUMBER
from azquack.gateway.ports import Replica
from azquack.gateway.routing import CLOSE_TIMEOUT, Node
from azquack.gateway.sessions import Session
from azquack.gateway.stops import NOTHING_KEPT, Flight, Reason, Stopped
from azquack.quack import wire
from azquack.quack.lost import BROKE, FENCED, INVALID_ID
from azquack.quack.upstream import Session as NodeSession
from azquack.quack.upstream import exchange as ask

log = logging.getLogger(__name__)

MEMBERS = 64
BYTES = 1 << 20
INSERT_BYTES = 64 << 10
IDLE_SECONDS = 10.0
LINGER_SECONDS = 0.005
# DuckLake's word for a commit that lost to another one, and of which nothing was kept.
CONFLICT = "Transaction conflict"
# The reason of the refusal that carries what the node said of a COMMIT.
COMMIT_FAILED = "commit"


@dataclass(frozen=True, slots=True)
class Insert:
    """A small insert: the `message` for the node; for one in SQL also its text, and the `rows` that it holds."""

    message: bytes
    sql: str = ""
    rows: int = 0


@dataclass(eq=False, slots=True)
class Member:
    """An insert that waits: `turn` gives its answer, or None when it shall run alone; then it is `done`.

    `stopped` once it was cancelled; its `flight` is that of the transaction that it is in.
    """

    insert: Insert
    turn: asyncio.Future[bytes | None]
    done: asyncio.Event = field(default_factory=asyncio.Event)
    stopped: Reason | None = None
    flight: Flight | None = None

    def stop(self, reason: Reason) -> None:
        """Takes it out of its group: the others are tried again without it, unless all are committed already."""
        self.stopped = self.stopped or reason
        if self.flight is not None:
            self.flight.stop(reason)
        else:
            self.leave()

    def leave(self) -> None:
        """It was stopped, and nothing of it was kept."""
        if self.stopped is not None and not self.turn.done():
            self.turn.set_exception(Stopped(self.stopped, NOTHING_KEPT))

    async def over(self) -> None:
        """Returns when it has ended."""
        await self.done.wait()


class Lane:
    """The inserts of one principal at one node, in the order in which they came."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.session: NodeSession | None = None
        self._number = 0
        self._arrived = asyncio.Event()
        self._waiting: deque[Member] = deque()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, member: Member) -> None:
        self._waiting.append(member)
        self._arrived.set()

    async def wait(self, count: int, seconds: float) -> int:
        """Waits up to `seconds` until `count` inserts are here; how many are."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.waiting < count:
                    self._arrived.clear()
                    await self._arrived.wait()
        return self.waiting

    def take(self) -> list[Member]:
        """Those that go next."""
        taken: list[Member] = []
        size = 0
        while self._waiting and len(taken) < MEMBERS and size <= BYTES:
            member = self._waiting.popleft()
            if not member.turn.done():
                taken.append(member)
                size += len(member.insert.message)
        return taken

    async def run(self, sql: str, flight: Flight) -> bytes:
        """Runs the start of a transaction, in a new session where the node has ended the old one."""
        if self.session is not None:
            flight.number = self._number
            try:
                return await self.session.run(sql)
            except StatementError as error:
                if str(error) != INVALID_ID:
                    raise
        self.session = await NodeSession.login(self.node.upstream, self.node.address.token)
        flight.number = self._number = int(await self.session.text(CONNECTION_NUMBER))
        return await self.session.run(sql)

    async def leave(self) -> None:
        """Ends the session, and with it a transaction that is open."""
        session, self.session = self.session, None
        if session is not None:
            with suppress(UpstreamError, StatementError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await session.close()


class Groups:
    """Gathers inserts. `replica` and `limits` as in `Relay`."""

    def __init__(self, replica: Replica, limits: Limits, metrics: Metrics) -> None:
        self._replica = replica
        self._limits = limits
        self._metrics = metrics
        self._lanes: dict[tuple[Node, str], Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def fits(self, session: Session, insert: Insert) -> bool:
        """Whether `insert` of `session` can share a transaction with those of others."""
        return session.plain and len(insert.message) <= INSERT_BYTES

    @asynccontextmanager
    async def turn(self, session: Session, insert: Insert) -> AsyncIterator[bytes | None]:
        """Waits for the turn of an insert: yields its answer, or None when the body shall run it alone.

        Raises `Refusal` when the commit failed, or may have failed.
        """
        member = Member(insert, asyncio.get_running_loop().create_future())
        self._lane(session).add(member)
        session.flights.add(member)
        try:
            answer = await member.turn
            session.flights.discard(member)
            yield answer
        finally:
            session.flights.discard(member)
            member.done.set()

    def _lane(self, session: Session) -> Lane:
        key = (session.node, session.principal.name)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = Lane(session.node)
            task = asyncio.create_task(self._serve(key, lane))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return lane

    async def _serve(self, key: tuple[Node, str], lane: Lane) -> None:
        """Sends what comes into `lane`, until nothing has come for a while."""
        crowd = 0
        try:
            while waiting := await lane.wait(1, IDLE_SECONDS):
                if waiting < crowd:
                    # Those who were just answered may well come again: together they need one commit, else two.
                    await lane.wait(crowd, LINGER_SECONDS)
                members = lane.take()
                await self._send(lane, members)
                crowd = len(members) + lane.waiting
        finally:
            del self._lanes[key]
            await lane.leave()

    async def _send(self, lane: Lane, members: Sequence[Member]) -> None:
        """Sees to it that each of `members` is answered, or has run alone."""
        if len(members) == 1:
            self._metrics.group_sizes.observe(1)
            if not members[0].turn.done():
                members[0].turn.set_result(None)
                await members[0].done.wait()
        elif members and not await self._together(lane, members):
            left = [member for member in members if not member.turn.done()]
            half = len(left) // 2
            await self._send(lane, left[:half])
            await self._send(lane, left[half:])

    async def _together(self, lane: Lane, members: Sequence[Member]) -> bool:
        """Answers `members` with one transaction; False when nothing of it was kept."""
        refusal: Refusal = Refusal("broken", BROKE)
        flight = Flight(self._replica, self._limits, lane.node.name, 0)
        lane.node.running += 1
        for member in members:
            member.flight = flight
        try:
            with flight:
                async with flight.patience:
                    answers = await self._transaction(lane, [member.insert for member in members], flight)
            if answers is None:
                if flight.reason is None or flight.reason.by:
                    return False
                raise Stopped(flight.reason, NOTHING_KEPT)
            if self._replica.may_answer():
                self._metrics.group_sizes.observe(len(members))
                for member, answer in zip(members, answers, strict=True):
                    if not member.turn.done():
                        member.turn.set_result(answer)
            refusal = Refusal("fenced", FENCED)
        except TimeoutError:
            lane.session = None
            refusal = flight.given_up()
        except Refusal as error:
            refusal = error
        except Exception:
            log.exception("a group of inserts failed in the gateway")
            await lane.leave()
        finally:
            lane.node.running -= 1
            await flight.settled()
            for member in members:
                member.flight = None
                member.leave()
        for member in members:
            if not member.turn.done():
                member.turn.set_exception(Refusal(refusal.reason, str(refusal)))
        return True

    async def _transaction(self, lane: Lane, inserts: Sequence[Insert], flight: Flight) -> list[bytes] | None:
        """The answers to `inserts` once they are committed, or None when nothing was kept.

        Raises `Refusal` when the commit failed or may have failed in a way that forbids to try again.
        """
        try:
            answers = await self._inserted(lane, inserts, flight)
        except (StatementError, UpstreamError):
            await lane.leave()
            return None
        assert lane.session is not None
        flight.interruptible = False
        if flight.reason is not None:
            # An interrupt may be on its way, and must not meet the COMMIT.
            await lane.leave()
            return None
        try:
            await lane.session.run("COMMIT")
        except StatementError as error:
            await lane.leave()
            if CONFLICT in str(error):
                return None
            raise Refusal(COMMIT_FAILED, str(error)) from None
        except UpstreamError:
            await lane.leave()
            raise Refusal("broken", BROKE) from None
        return answers

    async def _inserted(self, lane: Lane, inserts: Sequence[Insert], flight: Flight) -> list[bytes]:
        """The answers to `inserts`, which are in an open transaction then."""
        # Those in SQL need one message together; the last one's answer tells how the others' look.
        texts = [insert for insert in inserts if insert.sql]
        last = await lane.run("\n;\n".join(["BEGIN", *(insert.sql for insert in texts)]), flight)
        if texts and wire.count_of(last) != texts[-1].rows:
            raise StatementError("The node counts other rows than the policy did")
        answers = []
        for insert in inserts:
            if insert.sql:
                answers.append(wire.with_count(last, insert.rows))
            else:
                assert lane.session is not None
                header = wire.parse_header(insert.message)
                message = wire.with_connection_id(insert.message, header, lane.session.connection_id)
                answers.append(await ask(lane.node.upstream, message))
        return answers
