"""Transactions of a session: nothing is acknowledged in one that its client does not know of.

A native statement such as CREATE TABLE … AS comes as several messages: BEGIN TRANSACTION, CREATE TABLE, chunks, all
with the number of the client's statement, and a COMMIT without one. Where one of them is lost on its way, the
client takes its statement for failed, and the session stays in the transaction: whatever the client sent next would
be acknowledged in it, seen by that session alone, and gone with it. So a message of another statement, before the
COMMIT, ends such a transaction and is told so.

A transaction that a user began (`r.query('BEGIN')`) holds statements of any number. It ends when one of its messages
breaks off as far as the gateway can see, and when a native statement that needs one of its own is refused in it, since
the client rolls back then. So does every transaction that is open when the gateway was started anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from azquack.errors import ClientGone, Refusal, StatementError, UpstreamError
from azquack.patterns import re
from azquack.quack.lost import ENDED, INVALID_ID

NATIVE_BEGIN = "BEGIN TRANSACTION"
# Its answer looks like that of a ROLLBACK, and it changes nothing.
NOTHING = "BEGIN;ROLLBACK"
# Possessive throughout: nothing that was read is read again, so a text costs what it is long.
_COMMENT = r"--[^\n]*+(?:\n|\Z)|/\*(?>.*?\*/)"
_BLANK = rf"(?>\s|{_COMMENT})*+"
_REST = rf"(?>{_COMMENT}|[^;/-]|/(?!\*)|-(?!-))*+;?+{_BLANK}"
_BEGINS = re.compile(rf"{_BLANK}(?:BEGIN|START)\b{_REST}", re.IGNORECASE | re.DOTALL)
_ENDS = re.compile(rf"{_BLANK}(?:COMMIT|END|ROLLBACK|ABORT)\b{_REST}", re.IGNORECASE | re.DOTALL)
_ROLLS_BACK = re.compile(rf"{_BLANK}(?:ROLLBACK|ABORT)\b{_REST}", re.IGNORECASE | re.DOTALL)
_SPEAKS_OF_ONE = re.compile(r"\b(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT)\b", re.IGNORECASE)
# Refusals in whose case a statement may have run although its client is told otherwise.
_BROKEN = frozenset({"broken", "timeout", "abandoned", "cancelled", "fenced", "slow"})
ROLLED_BACK = (
    "A transaction of this session broke off before its COMMIT, so it was rolled back and nothing of it was kept: "
    "repeat it from its beginning. Several statements become one transaction by FROM r.query('BEGIN') and "
    "FROM r.query('COMMIT'), with the name of your ATTACH in place of r"
)
DISTURBED = (
    "Another statement of this connection is in the middle of its transaction: each thread connects and attaches for "
    "itself"
)


Run = Callable[[str], Awaitable[object]]
ROLLBACK_SECONDS = 5.0
# Characters of a text that may be a BEGIN or its end: those of longer ones are not looked at.
LONGEST = 1000


def ends_one(sql: str) -> bool:
    """Whether `sql` is the end of a transaction and nothing else."""
    return len(sql) <= LONGEST and _ENDS.fullmatch(sql) is not None


def may_begin_one(sql: str) -> bool:
    """Whether a transaction may be open once `sql` has broken off."""
    if len(sql) > LONGEST:
        return False
    return _BEGINS.fullmatch(sql) is not None or (";" in sql and _SPEAKS_OF_ONE.search(sql) is not None)


@dataclass(slots=True, eq=False)
class Open:
    """A transaction; `number` is that of the native statement that opened it, None of a user's own.

    `disturbed` once a native statement that wanted one of its own was refused in it: its client rolls back then.
    """

    number: int | None = None
    running: int = 0
    disturbed: bool = False


@dataclass(slots=True)
class Step:
    """A message on its way to the node: `sql` is what the node shall run; the caller sets the `outcome`."""

    sql: str
    outcome: str = "broken"


class State:
    """The transaction of one session: open, none, or one that was rolled back and whose client is yet to be told.

    `unsure` while this gateway has not seen the session from its login on.
    """

    def __init__(self) -> None:
        self.open: Open | None = None
        self.broken = False
        self.unsure = True
        self._over: int | None = None
        self._unresolved = False

    async def admitted(self, number: int | None, sql: str, run: Run) -> str:
        """What the node shall run for `sql`. Raises `Refusal`."""
        if len(sql) > LONGEST:
            return await self.admitted(number, "", run) or sql
        if self._unresolved:
            await self.end(run)
            if self._unresolved:
                raise Refusal("ended", ENDED)
        if number is not None and number == self._over:
            raise Refusal("transaction", ROLLED_BACK)
        foreign = self.open is not None and self.open.number not in (None, number)
        if self.open is not None and foreign and not (number is None and _ENDS.fullmatch(sql)):
            if self.open.running:
                raise Refusal("transaction", DISTURBED)
            await self.end(run)
        if self.broken:
            self.broken = False
            if _ROLLS_BACK.fullmatch(sql):
                return NOTHING
            if sql != NATIVE_BEGIN or number is None:
                raise Refusal("transaction", ROLLED_BACK)
        return sql

    def done(self, number: int | None, sql: str) -> None:
        """Notes what `sql`, which has run, means for the transaction."""
        if sql == NOTHING or len(sql) > LONGEST:
            return
        if _BEGINS.fullmatch(sql):
            self.open = Open(number if sql == NATIVE_BEGIN else None)
        elif _ENDS.fullmatch(sql):
            # The user has not asked for this one, and believes that the transaction goes on.
            self.broken = self.broken or (number is None and self.open is not None and self.open.disturbed)
            self.open = None
        elif self.open is None and ";" in sql and _SPEAKS_OF_ONE.search(sql):
            # Several statements at once: it may be open now, and whether it is, its end will tell.
            self.open = Open()

    async def end(self, run: Run) -> None:
        """Rolls the transaction back, of which it may be unknown whether it is open."""
        if self.open is not None:
            self._over = self.open.number
        self.open = None
        try:
            async with asyncio.timeout(ROLLBACK_SECONDS):
                await run("ROLLBACK")
        except StatementError as error:
            # "no transaction is active", or a node that does not know the session, which the statement will meet.
            self.broken = "active" not in str(error) and str(error) != INVALID_ID
            self._unresolved = False
        except (UpstreamError, TimeoutError):
            self.broken = self._unresolved = True
        else:
            self.broken, self._unresolved = True, False


class Transactions:
    """Watches the transactions of sessions. `alone`: no other gateway serves them."""

    def __init__(self, *, alone: bool) -> None:
        self._alone = alone

    @asynccontextmanager
    async def step(
        self, state: State, number: int | None, sql: str, run: Run, lost: Callable[[], bool]
    ) -> AsyncIterator[Step]:
        """Around a statement with its client's `number`; `sql` of a native insert is empty, `run` runs on the node.

        `lost` tells whether the client has left.

        Raises `Refusal` when the message belongs to no transaction that its client knows of.
        """
        if state.unsure and self._alone:
            # Opened by a gateway that is no more: whatever that answered last may never have arrived.
            await state.end(run)
        state.unsure = False
        step = Step(await state.admitted(number, sql, run))
        mine = state.open
        if mine is not None:
            mine.running += 1
        broken = False
        try:
            yield step
            broken = step.outcome == "broken" or lost()
        except ClientGone:
            broken = True
            raise
        except Refusal as refusal:
            broken = refusal.reason in _BROKEN
            raise
        finally:
            if mine is not None:
                mine.running -= 1
            if step.outcome == "ok":
                state.done(number, step.sql)
            elif step.outcome == "error" and step.sql == NATIVE_BEGIN and mine is not None:
                mine.disturbed = True
            elif broken and mine is None and may_begin_one(step.sql):
                state.open = Open(number)
            if broken and state.open is not None and mine in (None, state.open):
                await state.end(run)
