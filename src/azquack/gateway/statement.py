"""A statement on its way through a gateway, whatever protocol it came by."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from azquack.gateway.audit import Summary
from azquack.gateway.outcome import Outcome
from azquack.gateway.ports import Verdict
from azquack.gateway.sessions import Session
from azquack.gateway.stops import NOTHING_KEPT
from azquack.quack.lost import UNCERTAIN


class Client(Protocol):
    """Whoever sent a statement: its `address`, whether it is `lost`, and the bytes `sent` to it so far."""

    @property
    def address(self) -> str: ...
    @property
    def lost(self) -> bool: ...
    @property
    def sent(self) -> int: ...


class Reply(Client, Protocol):
    """A client that a node's answer is written to as it comes. `ClientGone` when it does not read on."""

    loop: asyncio.AbstractEventLoop

    @property
    def answered(self) -> bool:
        """Whether an answer has begun."""

    async def client_gone(self) -> None:
        """Returns when the client leaves."""

    def begin(self, length: int) -> None:
        """An answer of `length` bytes begins."""

    async def chunk(self, data: bytes, *, more: bool) -> None:
        """A piece of it."""

    async def answer(self, body: bytes) -> None:
        """A whole one."""


class Dialect(Protocol):
    """What the clients of a protocol say in a form of their own. Each raises `Refusal`."""

    async def translate(self, sql: str, session: Session) -> tuple[str, bool]:
        """What is meant by `sql`, of which the policy knows nothing yet; whether the gateway itself wrote that."""

    async def prepare(self, sql: str, session: Session) -> None:
        """Does what must be done before `sql`, which the policy allows, may run."""

    async def check_insert(self, table: Table, session: Session) -> None:
        """Refuses rows for a table that is not as the client knows it."""


@dataclass(frozen=True, slots=True)
class Table:
    """What a native insert adds rows to."""

    schema: str
    name: str

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(slots=True)
class Statement:
    """One statement of `session`, and what its way through the pipeline has shown.

    `number` is that of the client's own statement, which may be several here: those with one number are one
    transaction. A native insert has a `table` in place of `sql`. `dialect` is None where nobody speaks one.
    """

    session: Session
    client: Client
    sql: str = ""
    """What the node shall run."""
    number: int | None = None
    table: Table | None = None
    dialect: Dialect | None = None
    written: str = ""
    """What its user has written, where DuckDB's errors show it."""
    own: bool = False
    """Whether the gateway itself wrote it."""
    verdict: Verdict | None = None
    summary: Summary | None = None
    outcome: Outcome = field(default=Outcome("broken"))

    @property
    def refused(self) -> bool:
        """Whether the policy refuses it."""
        return self.verdict is not None and not self.verdict.allowed


_READS = frozenset({"SELECT", "EXPLAIN"})
# A single one of these is one transaction, which DuckDB has rolled back when it says that it was interrupted.
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE_INTO", "CREATE", "ALTER", "DROP"})


def what_stays(statement: Statement) -> str:
    """What is said of a `statement` that was interrupted, behind why it was."""
    if statement.session.transaction.open is not None:
        return ", and its transaction was rolled back: nothing of it was kept"
    if statement.table is not None:
        return ": these rows were not kept, but those that the same INSERT had sent before stay"
    kinds = frozenset(statement.verdict.kind.split(",")) if statement.verdict else frozenset()
    alone = ";" not in statement.sql.rstrip("; \t\r\n")
    if kinds and (kinds <= _READS or (alone and kinds <= _WRITES)):
        return "" if kinds <= _READS else NOTHING_KEPT
    return f"; {UNCERTAIN}: look"
