"""Writes: one transaction each, one at a time, and never twice."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from azquack.catalog.link import files, numbers, statements, values
from azquack.catalog.link.catalog import Catalog, Counters, Hold, LostSession, Session
from azquack.catalog.link.turns import Turns
from azquack.config import sizes
from azquack.errors import CatalogAwayError, OutcomeError, StatementError, UpstreamError
from azquack.quack import wire

log = logging.getLogger(__name__)

HEAD_START = 0.2
# Bytes around the text: the header of its message, the marks of this module.
FRAME = 16 << 10


@dataclass(frozen=True, slots=True)
class CommittedFiles:
    """The storage of the lake, as a commit asks it.

    `missing` gives those of the paths that are not there, `largest` the largest number in columns of one.
    """

    data_path: str
    missing: files.Missing
    largest: numbers.Largest


class Commits:
    """Runs DuckLake's batches. `name` says in each snapshot's `commit_extra_info` which node made it.

    With `files` it refuses a commit whose Parquet files are gone, or hold other numbers than were inserted.
    """

    def __init__(
        self, catalog: Catalog, counters: Counters, name: str, files: CommittedFiles | None = None
    ) -> None:
        self._catalog = catalog
        self._counters = counters
        self._name = name
        self._files = files
        self._turns = Turns()
        self._late = Latecomers()
        self._newest = (-1, -1)
        self._withheld: set[int] = set()

    async def commit(self, sql: str, hold: Hold) -> tuple[bytes, str]:
        """Makes a snapshot; the answer, and the text that ran. Returns when it is durable.

        Raises `StatementError` with the catalog's sentence, `CatalogAwayError` when it was not run, and
        `OutcomeError` when neither can be said.
        """
        _refuse_too_long(sql)
        snapshot = statements.snapshot_of(sql)
        if statements.is_mixed(sql):
            raise StatementError(statements.MIXED)
        if statements.is_retyped(sql):
            raise StatementError(statements.RETYPED)
        if self._files is not None:
            named = files.named(sql)
            await self._look_for_files(self._files, named, sql, hold)
            await self._look_into_files(self._files, named, sql, hold)
        async with self._turns.take(len(sql), hold):
            if (self._catalog.generation, snapshot) > self._newest:
                mark = f"{self._name}:{secrets.token_hex(8)}"
                marked = statements.marked(sql, mark)
                text = statements.with_withheld(
                    statements.with_fresh_statistics(marked or sql), self._withheld
                )
                guards = [statements.none_newer(sql), *values.refusals(sql)]
                text = ";\n".join([text.rstrip().rstrip(";"), *guards])
                try:
                    answer = await self._run(statements.atomic(text), sql, mark if marked else None, hold)
                except StatementError as error:
                    if statements.is_duplicate(str(error)):
                        self._turns.reserve(len(sql))
                    raise
                self._newest = (self._catalog.generation, snapshot)
                self._counters.commits += 1
                self._late.go_on()
                return answer, text
            reserved = self._turns.reserve(len(sql))
        self._counters.conflicts += 1
        if not reserved:
            await self._late.turn()
        raise StatementError(statements.duplicate(snapshot))

    async def _look_for_files(
        self, stored: CommittedFiles, named: Sequence[files.Named], sql: str, hold: Hold
    ) -> None:
        if old := files.old(named, time.time()):
            directories = await self._asked(files.question(old), hold)
            await files.refuse_missing(files.paths(old, directories, sql, stored.data_path), stored.missing)

    async def _look_into_files(
        self, stored: CommittedFiles, named: Sequence[files.Named], sql: str, hold: Hold
    ) -> None:
        if not (doubtful := numbers.doubtful(sql, named)):
            return
        huge = numbers.huge(doubtful, await self._asked(numbers.question(doubtful), hold), sql)
        if huge:
            directories = await self._asked(files.question([each.file for each in huge]), hold)
            found = [
                (path, each.columns)
                for each in huge
                for path in files.paths([each.file], directories, sql, stored.data_path)
            ]
            await numbers.refuse_inexact(found, stored.largest)

    async def _asked(self, question: str, hold: Hold) -> str:
        answer, _ = await read(self._catalog, question, hold)
        return wire.parse_text(answer)

    async def write(self, sql: str, hold: Hold) -> bytes:
        """Runs a write that makes no snapshot; as `commit`, but a lost answer is always an `OutcomeError`."""
        _refuse_too_long(sql)
        return await self._run(statements.atomic(sql) if statements.is_batch(sql) else sql, sql, None, hold)

    async def withhold(self, sql: str, hold: Hold) -> bytes:
        """Answers a deletion that DuckLake sends ahead of its commit, and leaves it to the commit."""
        if (table := statements.withheld_table(sql)) is not None:
            self._withheld.add(table)
        answer, _ = await read(self._catalog, statements.counted(sql), hold)
        return answer

    async def _run(self, text: str, sql: str, mark: str | None, hold: Hold) -> bytes:
        while True:
            session = await self._catalog.session(hold)
            try:
                answer = await session.run(text)
            except LostSession:
                self._catalog.lost(session)
                await hold.log_in_again()
            except StatementError as error:
                self._counters.rollbacks += 1
                self._counters.conflicts += statements.is_duplicate(str(error))
                await self._roll_back(session)
                raise
            except UpstreamError as error:
                if not error.sent:
                    self._catalog.release(session)
                    await hold.wait(error)
                elif found := await self._outcome(session, sql, mark, hold):
                    return found
                else:
                    await hold.resend(error)
            else:
                self._catalog.release(session)
                return answer

    async def _roll_back(self, session: Session) -> None:
        """Ends the transaction that a failed batch left open; a failed COMMIT has ended it already."""
        try:
            await session.run("ROLLBACK")
        except StatementError:
            self._catalog.release(session)
        except LostSession:
            self._catalog.lost(session)
        except UpstreamError:
            self._catalog.discard(session)
        else:
            self._catalog.release(session)

    async def _outcome(self, session: Session, sql: str, mark: str | None, hold: Hold) -> bytes | None:
        """What became of a batch whose answer was lost: an answer when it was applied, else None."""
        try:
            await self._fence(session, hold)
            if mark is not None:
                answer, _ = await read(self._catalog, statements.find_mark(sql, mark), hold)
                self._counters.recovered += 1
                return answer if wire.parse_text(answer) == "yes" else None
        except (CatalogAwayError, StatementError) as error:
            log.warning("a commit's outcome cannot be looked up: %s", error)
        self._counters.unknown += 1
        raise OutcomeError(
            "The connection to the catalog was lost during a write, which may have been applied or not: "
            "look at the lake before you repeat it"
        )

    async def _fence(self, session: Session, hold: Hold) -> None:
        """Returns when nothing that was sent on `session` can run any more.

        The server runs the requests of a session one after another, so BEGIN is answered behind a batch that
        still runs, and keeps out one that arrives late; the end of the session then keeps it out for ever.
        """
        steps = [wire.prepare(session.connection_id, "BEGIN"), wire.disconnect(session.connection_id)]
        while steps:
            try:
                await session.send(steps[0])
            except LostSession:
                # The catalog is a new process, or an earlier attempt to end the session got through.
                if len(steps) == 2:
                    self._catalog.lost(session)
                return
            except UpstreamError as error:
                await hold.wait(error)
                continue
            except StatementError:
                # "cannot start a transaction within a transaction": the batch has failed within its own.
                pass
            steps.pop(0)


def _refuse_too_long(sql: str) -> None:
    """Raises `StatementError` for a text that the catalog's gateway would not read."""
    # In UTF-8 a character has up to four bytes: only a text near the limit is worth encoding.
    if len(sql) * 4 > sizes.COMMIT and (size := len(sql.encode()) + FRAME) > sizes.COMMIT:
        raise StatementError(
            f"This change is too large for one commit of the catalog: {sizes.shown(size)}, of which at most "
            f"{sizes.shown(sizes.COMMIT)} fit. Inserts of few rows (AZQUACK_INLINING_LIMIT, 10) stay in the catalog, a "
            "text up to three times over: insert more rows at once, which go to Parquet files, or split the transaction"
        )


class Latecomers:
    """Commits that came too late, told so one after another.

    DuckLake starts a commit over as soon as it learns that another one took its snapshot. If all did so at once,
    all but one would be late again, and each attempt costs as much as a commit.
    """

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def turn(self) -> None:
        """Returns when the one before has made its commit, or had `HEAD_START` seconds for it."""
        if self._timer is None:
            self._start_timer()
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def go_on(self) -> None:
        """The next one may try again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._start_timer()
                return

    def _start_timer(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(HEAD_START, self.go_on)


async def read(catalog: Catalog, sql: str, hold: Hold, query_id: int | None = None) -> tuple[bytes, Session]:
    """The answer to a statement that changes nothing, and who gave it; asked again while `hold` allows."""
    while True:
        session = await catalog.session(hold)
        try:
            answer = await session.run(sql, query_id)
        except LostSession:
            catalog.lost(session)
            await hold.log_in_again()
        except UpstreamError as error:
            if error.sent:
                catalog.discard(session)
            else:
                catalog.release(session)
            await hold.wait(error)
        except StatementError:
            catalog.release(session)
            raise
        else:
            catalog.release(session)
            return answer, session
