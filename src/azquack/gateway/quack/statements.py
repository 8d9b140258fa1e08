"""What runs within a session: PREPARE and APPEND, through the policy to the node, with their lines in the audit log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from azquack.errors import WireError
from azquack.gateway.audit import Audit, about
from azquack.gateway.checks import Checks
from azquack.gateway.limits import Limits, Slots
from azquack.gateway.node_session import node_session
from azquack.gateway.outcome import Outcome
from azquack.gateway.ports import Policy, Verdict
from azquack.gateway.quack import natives
from azquack.gateway.quack.alarm import Alarm
from azquack.gateway.quack.excerpt import Texts
from azquack.gateway.quack.group import COMMIT_FAILED, Groups, Insert
from azquack.gateway.quack.inserts import Inserts
from azquack.gateway.quack.messages import Messages
from azquack.gateway.quack.relay import Relay
from azquack.gateway.quack.results import Results
from azquack.gateway.sessions import NOT_QUACK_1, Session
from azquack.gateway.transactions import Step, Transactions
from azquack.gateway.verdicts import Verdicts
from azquack.gateway.writes import Writes
from azquack.http import Exchange, Gone, Refusal
from azquack.quack import wire

if TYPE_CHECKING:
    from azquack.gateway.views import LakeViews

WHOLE_BYTES = 1 << 20


class Statements:
    """Runs statements; what is None is not there, `native_names` and `alone` as in `Gateway`."""

    def __init__(
        self,
        relay: Relay,
        slots: Slots,
        limits: Limits,
        *,
        policy: Policy | None,
        views: LakeViews | None,
        audit: Audit | None,
        groups: Groups | None,
        results: Results | None,
        messages: Messages | None,
        native_names: bool,
        alone: bool,
        alarm: Alarm | None = None,
        writes: Writes | None = None,
    ) -> None:
        self._relay = relay
        self._slots = slots
        self._limits = limits
        self._policy = policy
        self._views = views
        # The catalog's texts come from our own link, and its policy reads them in linear time: no process is needed.
        self._verdicts = Verdicts(
            policy, Checks(policy, limits.queue_seconds) if policy and not alarm else None
        )
        self._audit = audit
        self._groups = groups
        self._results = results
        self._messages = messages
        self._native_names = native_names
        self._transactions = Transactions(alone=alone)
        self._alarm = alarm
        self._writes = writes
        self._inserts = Inserts(limits.body_bytes)

    async def prepare(self, exchange: Exchange, session: Session, header: wire.Header) -> str:
        """Runs the SQL of a PREPARE; the outcome. Raises `Refusal`, `Gone`."""
        message = await exchange.whole(self._limits.statement_bytes)
        try:
            sql = wire.parse_prepare(message, header)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        async with (
            self._slots.hold(session.principal.name),
            self._step(session, exchange, header, sql) as step,
        ):
            step.outcome = await self._statement(exchange, session, header, step.sql)
            return step.outcome

    async def _statement(self, exchange: Exchange, session: Session, header: wire.Header, sql: str) -> str:
        ours = False
        if self._native_names:
            with natives.refusals():
                sql, ours = await natives.translate(sql, node_session(session))
        verdict = None if ours else await self._verdicts.of(session, sql)
        if self._alarm and verdict and not verdict.allowed:
            await self._alarm.sound(exchange, session, verdict, sql)
        if self._native_names and not ours and (verdict is None or verdict.allowed):
            with natives.refusals():
                await natives.prepare(sql, node_session(session), session.ticket.client)
        told = None if self._audit is None else await self._verdicts.told(session.principal, sql)
        written = sql
        if verdict is not None and verdict.allowed:
            sql = sql if verdict.sql is None else verdict.sql
            session.untouched = session.untouched and not verdict.touches
        if not ours and (verdict is None or (verdict.allowed and not verdict.plain)):
            session.plain = False
        inner = wire.prepare(session.ticket.inner, sql, header.query_id)
        insert = Insert(inner, sql, verdict.rows) if verdict and verdict.rows else None
        return await self._audited(
            exchange,
            session,
            verdict,
            lambda: self._opened(exchange, session, verdict, inner, insert, Texts(written, sql)),
            told=told,
        )

    @asynccontextmanager
    async def _step(
        self, session: Session, exchange: Exchange, header: wire.Header, sql: str
    ) -> AsyncIterator[Step]:
        """Within the transaction of the session, if that is one of a query node."""
        if not self._native_names:
            yield Step(sql)
            return

        run = node_session(session).run
        async with self._transactions.step(session.transaction, exchange, header.query_id, sql, run) as step:
            yield step

    async def fetch(self, exchange: Exchange, session: Session, message: bytes) -> Outcome:
        """Passes a FETCH on. Raises `Refusal`, `Gone`."""
        if self._results is not None:
            self._results.check(session)
        # A FETCH that fails, as one of a result that is not the session's, leaves the open one as it is.
        return await self._counted(session, self._relay.pass_on(exchange, session, message), failed=None)

    def forget(self, session: Session) -> None:
        """The session is over."""
        if self._results is not None:
            self._results.close(session)

    async def _opened(
        self,
        exchange: Exchange,
        session: Session,
        verdict: Verdict | None,
        message: bytes,
        insert: Insert | None,
        texts: Texts,
    ) -> Outcome:
        if self._views is not None and verdict is not None:
            await self._views.check(session, verdict.reads, self._verdicts.view)
        if self._results is not None:
            await self._results.admit(session)
        try:
            return await self._counted(session, self._run(exchange, session, message, insert, texts))
        finally:
            if self._views is not None and verdict is not None:
                self._views.changed(verdict.kind)

    async def _counted(
        self, session: Session, work: Awaitable[Outcome], failed: bool | None = False
    ) -> Outcome:
        """Does `work`, and notes whether it has left a result open; `failed`: the same, where it failed."""
        if self._results is None:
            return await work
        self._results.begin(session)
        # Where the client or the node broke off, what is there of a result stays until it is dropped.
        more: bool | None = True
        try:
            outcome = await self._sized(session, work)
            more = outcome.more if outcome.word == "ok" else failed
            return outcome
        except Refusal:
            more = failed
            raise
        finally:
            self._results.end(session, more=more)

    async def _sized(self, session: Session, work: Awaitable[Outcome]) -> Outcome:
        """Does `work`, for which its node makes a message."""
        if self._messages is None:
            return await work
        async with self._messages.hold(session.node, session.principal.name) as answer:
            outcome = await work
            answer.bytes, answer.more = outcome.bytes, outcome.more
            return outcome

    async def append(self, exchange: Exchange, session: Session, header: wire.Header) -> str:
        """Adds the rows of an APPEND; the outcome. Raises `Refusal`, `Gone`."""
        prefix = await exchange.prefix()
        try:
            target = wire.parse_append_target(prefix, header)
        except WireError:
            raise Refusal("unreadable", NOT_QUACK_1) from None
        verdict = None
        if self._policy:
            verdict = self._policy.check_append(session.principal, target.schema, target.table)
            if self._alarm and not verdict.allowed:
                await self._alarm.sound(exchange, session, verdict)

        async def work() -> Outcome:
            message = await exchange.whole(self._limits.body_bytes)
            body = await self._inserts.clean(message, header, session.ticket.inner)
            insert = Insert(body) if verdict and len(body) <= WHOLE_BYTES else None
            async with self._slots.hold(session.principal.name):
                outcome = await self._run(exchange, session, body, insert)
            return Outcome(outcome.word, target.rows if outcome.word == "ok" else None)

        table = f"{target.schema}.{target.table}"
        async with self._step(session, exchange, header, "") as step:
            made_here = session.transaction.open is not None and session.transaction.open.number is not None
            if self._native_names and not made_here and (verdict is None or verdict.allowed):
                with natives.refusals():
                    await natives.check_append(target.schema, target.table, node_session(session))
            step.outcome = await self._audited(exchange, session, verdict, work, table=table, kind="append")
            return step.outcome

    async def _run(
        self,
        exchange: Exchange,
        session: Session,
        body: bytes,
        insert: Insert | None,
        texts: Texts | None = None,
    ) -> Outcome:
        if self._groups is None or insert is None or not self._groups.fits(session, insert):
            return await self._relay.pass_on(exchange, session, body, texts)
        async with self._groups.turn(session, insert) as answer:
            if answer is None:
                return await self._relay.pass_on(exchange, session, body, texts)
            await exchange.answer(answer)
            return Outcome("ok", wire.count_of(answer))

    async def _audited(
        self,
        exchange: Exchange,
        session: Session,
        verdict: Verdict | None,
        work: Callable[[], Awaitable[Outcome]],
        **facts: Any,
    ) -> str:
        """Does the `work` that the `verdict` allows; its outcome. What was started in the log is also finished."""
        entry = None
        if self._audit is not None:
            if verdict is not None:
                facts["kind"] = verdict.kind
            entry = self._audit.start(**about(session), **facts)
        outcome = Outcome("broken")
        more: dict[str, Any] = {}
        try:
            if verdict is not None and not verdict.allowed:
                raise Refusal("policy", verdict.reason)
            outcome = await work()
        except Refusal as refusal:
            said = str(refusal) if refusal.reason == COMMIT_FAILED else ""
            outcome, more = Outcome("refused", said=said), {"reason": refusal.reason}
            refusal.audited = True
            raise
        except Gone:
            outcome = Outcome("gone")
            raise
        finally:
            if self._writes is not None and verdict is not None:
                self._writes.ended(verdict.kind, outcome)
            if self._audit is not None and entry is not None:
                if outcome.rows is not None:
                    more["rows"] = outcome.rows
                self._audit.finish(entry, outcome.word, **more, bytes=exchange.sent)
        return outcome.word
