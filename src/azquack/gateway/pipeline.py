"""The life of a statement, the same for every protocol.

A protocol reads a message, makes a `Statement` of it, and hands it to `run` or `insert`, with an `execute` that has it
run and sends its result. Each step is a function here, and `run` and `insert` are their order: a new step is
one more function, and its line there. A step refuses by raising `Refusal`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azquack.errors import ClientGone, Refusal
from azquack.gateway.activity import Activity
from azquack.gateway.alarm import Alarm
from azquack.gateway.audit import Audit, about
from azquack.gateway.group import COMMIT_FAILED
from azquack.gateway.limits import Slots
from azquack.gateway.outcome import Outcome
from azquack.gateway.statement import Statement, what_stays
from azquack.gateway.stops import Stopped
from azquack.gateway.transactions import Transactions
from azquack.gateway.verdicts import Verdicts
from azquack.gateway.writes import Writes

if TYPE_CHECKING:
    from azquack.gateway.views import LakeViews

Execute = Callable[[Statement], Awaitable[Outcome]]
Receive = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Services:
    """What the steps need; what is None is not there, and its step does nothing."""

    slots: Slots
    verdicts: Verdicts
    transactions: Transactions | None = None
    views: LakeViews | None = None
    audit: Audit | None = None
    alarm: Alarm | None = None
    writes: Writes | None = None
    activity: Activity | None = None


async def run(statement: Statement, execute: Execute, services: Services) -> Outcome:
    """From its arrival to its last byte; the outcome. Raises `Refusal`, `ClientGone`."""
    await _answer(statement, services)
    async with _shown(statement), _slot(statement, services), _transaction(statement, services):
        await _translate(statement)
        await _check(statement, services)
        await _summarize(statement, services)
        _rewrite(statement)
        async with _audit(statement, services):
            _permit(statement)
            async with _views(statement, services):
                await _execute(statement, execute)
    return statement.outcome


async def insert(statement: Statement, receive: Receive, execute: Execute, services: Services) -> Outcome:
    """The same for a native insert: its rows, which `receive` reads, are not waited for before they are wanted."""
    await _check_table(statement, services)
    async with _shown(statement), _transaction(statement, services):
        await _compare_table(statement)
        async with _audit(statement, services):
            _permit(statement)
            await receive()
            # A client that sends slowly holds no place that others wait for.
            async with _slot(statement, services):
                await _execute(statement, execute)
    return statement.outcome


async def _execute(statement: Statement, execute: Execute) -> None:
    """At its node. One that is stopped there says what became of it."""
    try:
        statement.outcome = await execute(statement)
    except Stopped as stopped:
        if stopped.told:
            raise
        raise Stopped(stopped.why, what_stays(statement)) from None


async def _answer(statement: Statement, services: Services) -> None:
    """What only the gateway knows is written into it; a cancel must not wait for a place behind what it cancels."""
    if services.activity is not None and (sql := await services.activity.answered(statement)) is not None:
        if services.audit is not None:
            statement.summary = await services.verdicts.summary(statement.session.principal, statement.sql)
        statement.sql = sql


@asynccontextmanager
async def _shown(statement: Statement) -> AsyncIterator[None]:
    """It is what its session does, for whoever asks."""
    session = statement.session
    text = f"INSERT INTO {statement.table}" if statement.table is not None else statement.sql
    session.doing = mine = (text, time.monotonic())
    try:
        yield
    finally:
        if session.doing is mine:
            session.doing = None


@asynccontextmanager
async def _slot(statement: Statement, services: Services) -> AsyncIterator[None]:
    """A place among those that run at once."""
    async with services.slots.hold(statement.session.principal.name):
        yield


@asynccontextmanager
async def _transaction(statement: Statement, services: Services) -> AsyncIterator[None]:
    """Within the transaction of its session."""
    if services.transactions is None:
        yield
        return
    session, client = statement.session, statement.client
    async with services.transactions.step(
        session.transaction, statement.number, statement.sql, session.asking.run, lambda: client.lost
    ) as step:
        statement.sql = step.sql
        yield
        step.outcome = statement.outcome.word


async def _translate(statement: Statement) -> None:
    """Out of the protocol's own form."""
    if statement.dialect is not None:
        statement.sql, statement.own = await statement.dialect.translate(statement.sql, statement.session)


async def _check(statement: Statement, services: Services) -> None:
    """Its names resolved, and held against what its principal may do."""
    if statement.own:
        return
    statement.verdict = await services.verdicts.of(statement.session, statement.sql)
    if statement.refused:
        await _sound(statement, services)
    elif statement.dialect is not None:
        await statement.dialect.prepare(statement.sql, statement.session)


async def _check_table(statement: Statement, services: Services) -> None:
    """The same for rows: may they be added to that table?"""
    assert statement.table is not None
    statement.verdict = services.verdicts.of_insert(
        statement.session, statement.table.schema, statement.table.name
    )
    if statement.refused:
        await _sound(statement, services)


async def _compare_table(statement: Statement) -> None:
    """Whether the table is as the client knows it; one that its own transaction has made is."""
    now = statement.session.transaction.open
    made_here = now is not None and now.number is not None
    if statement.dialect is not None and not made_here and not statement.refused:
        assert statement.table is not None
        await statement.dialect.check_insert(statement.table, statement.session)


async def _sound(statement: Statement, services: Services) -> None:
    if services.alarm is not None:
        await services.alarm.sound(statement)


async def _summarize(statement: Statement, services: Services) -> None:
    """What the audit log says of it, before names are written out in it."""
    if services.audit is not None and statement.summary is None:
        statement.summary = await services.verdicts.summary(statement.session.principal, statement.sql)


def _rewrite(statement: Statement) -> None:
    """Into what the policy has the node run, and what that leaves behind in the session."""
    session, verdict = statement.session, statement.verdict
    statement.written = statement.sql
    if verdict is not None and verdict.allowed:
        statement.sql = statement.sql if verdict.sql is None else verdict.sql
        session.untouched = session.untouched and not verdict.touches
    if not statement.own and (verdict is None or (verdict.allowed and not verdict.plain)):
        session.plain = False


@asynccontextmanager
async def _audit(statement: Statement, services: Services) -> AsyncIterator[None]:
    """Between its lines in the audit log. What was started there is also finished."""
    entry = None
    if services.audit is not None:
        entry = services.audit.start(**about(statement.session), **_facts(statement))
    more: dict[str, Any] = {}
    try:
        yield
    except Refusal as refusal:
        said = str(refusal) if refusal.reason == COMMIT_FAILED else ""
        statement.outcome, more = Outcome("refused", said=said), {"reason": refusal.reason}
        if isinstance(refusal, Stopped) and refusal.why.by:
            more["by"] = refusal.why.by
        refusal.audited = True
        raise
    except ClientGone:
        statement.outcome = Outcome("gone")
        raise
    finally:
        outcome = statement.outcome
        if services.writes is not None and statement.verdict is not None:
            services.writes.ended(statement.verdict.kind, outcome)
        if services.audit is not None and entry is not None:
            if outcome.rows is not None:
                more["rows"] = outcome.rows
            services.audit.finish(entry, outcome.word, **more, bytes=statement.client.sent)


def _facts(statement: Statement) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if statement.summary is not None:
        facts["summary"] = statement.summary
    if statement.table is not None:
        facts |= {"table": str(statement.table), "kind": "append"}
    if statement.verdict is not None:
        facts["kind"] = statement.verdict.kind
    return facts


def _permit(statement: Statement) -> None:
    """What the policy refuses goes no further."""
    if statement.verdict is not None and statement.refused:
        raise Refusal("policy", statement.verdict.reason)


@asynccontextmanager
async def _views(statement: Statement, services: Services) -> AsyncIterator[None]:
    """Through views, it reads what their makers may read now; and it may change views itself."""
    verdict = statement.verdict
    if services.views is None or verdict is None:
        yield
        return
    await services.views.check(statement.session, verdict.reads, services.verdicts.view)
    try:
        yield
    finally:
        services.views.changed(verdict.kind)
