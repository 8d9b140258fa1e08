"""Rows that a client sends for a statement, staged at a node until they are complete: one statement, one commit.

A node of Quack 1 has no `scan_data_from_quack_client`. A stream's rows are therefore added to a temporary table of a
connection to the node, and once the client says that they are complete, the statement reads that table in place of
the function. What was sent for a statement that never came to its end is gone with the table.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from azquack.errors import Refusal
from azquack.patterns import re
from azquack.quack.translation import Result
from azquack.sql import identifier

# A predecessor of a batch that comes so many seconds later is not waited for: the rows then stand in another order.
ORDER_SECONDS = 5.0
BATCHES = 1_000_000
FUNCTION = "scan_data_from_quack_client"
_HEAD = re.compile(
    rf"{FUNCTION}\s*+\(\s*+'((?:[^']|'')++)'\s*+,\s*+(?=NULL\s*+::\s*+STRUCT\s*+\()", re.IGNORECASE
)
# What types are written with: names, numbers, parentheses, and an ENUM's values.
_PIECE = re.compile(r"""[\w\s,.\[\]]++|"(?:[^"]|"")*+"|'(?:[^']|'')*+'|[()]""")
_TAIL = re.compile(
    r"""\s*+(?:,\s*+"?ordered"?\s*+(?::=|=>|=)\s*+"""
    r"""(?:true|false|CAST\s*+\('(?:t|f|true|false)' AS BOOLEAN\))\s*+)?+\)""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Call:
    """The function's call in a statement: the `stream`, its columns as `prototype`, and where in the text it stands."""

    stream: str
    prototype: str
    start: int
    end: int

    def replaced(self, sql: str, table: str) -> str:
        """`sql`, which reads `table` in its place."""
        return f"{sql[: self.start]}temp.main.{table}{sql[self.end :]}"


def call_of(sql: str) -> Call | None:
    """The call of the function in `sql`, None where there is none. Raises `Refusal` for one that cannot be read."""
    if FUNCTION not in sql.lower():
        return None
    at = sql.lower().index(FUNCTION)
    if sql.lower().count(FUNCTION) == 1 and (found := _matched(sql, at)) is not None:
        return found
    raise Refusal(
        "stream", f"A statement reads rows of its client by one call of {FUNCTION}('name', NULL::STRUCT(…))"
    )


def _matched(sql: str, at: int) -> Call | None:
    head = _HEAD.match(sql, at)
    if head is None:
        return None
    end = _closing(sql, sql.index("(", head.end()))
    if end is None or (tail := _TAIL.match(sql, end)) is None:
        return None
    return Call(head[1].replace("''", "'"), sql[head.end() : end], at, tail.end())


def _closing(sql: str, at: int) -> int | None:
    """Behind the parenthesis that closes the one at `at`; None where something else than types stands between."""
    depth = 0
    while piece := _PIECE.match(sql, at):
        at = piece.end()
        depth += (piece[0] == "(") - (piece[0] == ")")
        if depth == 0:
            return at
    return None


def made(table: str, prototype: str) -> str:
    """The statement that makes the staging `table` with the columns of `prototype`."""
    return f"CREATE TEMP TABLE {table} AS SELECT unnest({prototype}) WHERE false"


def made_like(table: str, schema: str, name: str) -> str:
    """The statement that makes the staging `table` with the columns of `schema.name`."""
    target = f"{identifier(schema)}.{identifier(name)}" if schema else identifier(name)
    return f"CREATE TEMP TABLE {table} AS FROM {target} WHERE false"


def fresh_name() -> str:
    """A name for a staging table that nobody else has."""
    return f"azquack_rows_{secrets.token_hex(8)}"


@dataclass(slots=True, eq=False)
class Stream:
    """Rows on their way into the staging `table`, for the statement `sql` with the number `query`.

    `make` is the statement that makes the table. `outcome` is the statement's result once it has run.
    """

    query: int
    sql: str
    table: str
    make: str
    taken: set[int] = field(default_factory=set)
    added: set[int] = field(default_factory=set)
    claimed: int = 0
    total: int | None = None
    outcome: asyncio.Future[Result] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    failure: Refusal | None = None
    ready: bool = False
    seen: float = field(default_factory=time.monotonic)
    _moved: asyncio.Event = field(default_factory=asyncio.Event)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def claim(self) -> int:
        """The index of a batch that comes without one."""
        self.claimed += 1
        return self.claimed

    async def take(self, index: int, add: Callable[[], Awaitable[None]]) -> None:
        """Has batch `index` added by `add`, behind those before it; one that came before is dropped.

        Raises `Refusal`: the stream has then failed.
        """
        self.seen = time.monotonic()
        if self.failure is not None:
            raise self.failure
        if index in self.taken or (self.total is not None and index > self.total):
            return
        if index > BATCHES:
            raise Refusal("stream", f"A stream has at most {BATCHES} batches")
        self.taken.add(index)
        try:
            async with asyncio.timeout(ORDER_SECONDS):
                while index > 1 and index - 1 not in self.added:
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            pass
        async with self._lock:
            if self.failure is not None:
                raise self.failure
            try:
                await add()
            except Refusal as refusal:
                self.fail(refusal)
                raise
        self.added.add(index)
        self._moved.set()

    def complete(self, total: int) -> bool:
        """The client has sent `total` batches; False if that was said before. Raises `Refusal` if one is missing."""
        if self.failure is not None:
            raise self.failure
        if self.total is not None:
            return False
        self.total = total
        if self.added - {0} != set(range(1, total + 1)):
            self.fail(
                Refusal(
                    "stream",
                    f"Of the {total} batches of this insert some are missing, so nothing was inserted",
                )
            )
            assert self.failure is not None
            raise self.failure
        return True

    def fail(self, refusal: Refusal) -> None:
        """Nothing of it is inserted; whoever waits for it is told `refusal`."""
        self.failure = self.failure or refusal
        self._moved.set()
        if not self.outcome.done():
            self.outcome.set_exception(refusal)
            # Nobody may wait for it.
            self.outcome.exception()
