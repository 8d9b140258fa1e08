"""What the policy says of a text, once the session's node has told where the names stand that it must know."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from azquack.gateway.audit import Summary, summary_of
from azquack.gateway.checks import Checks
from azquack.gateway.node_session import node_refusals
from azquack.gateway.ports import Policy, Principal, Verdict
from azquack.gateway.sessions import Session
from azquack.policy.scope import Asked, Scope, answer, question

# Characters up to which the policy of a catalog reads a text at once.
LONG = 16 << 10

if TYPE_CHECKING:
    from azquack.policy.views import Body, View


class Verdicts:
    """Asks `policy`, where there is one; `checks` reads what takes long in processes beside the gateway."""

    def __init__(self, policy: Policy | None, checks: Checks | None) -> None:
        self._policy = policy
        self._checks = checks

    async def of(self, session: Session, sql: str) -> Verdict | None:
        """Whether `session` may run `sql`; None where everybody may run everything. Raises `Refusal`."""
        if self._policy is None:
            return None
        scope = Scope(untouched=session.untouched)
        asked: frozenset[Asked] = frozenset()
        while True:
            verdict = await self._checked(self._policy, session.principal, sql, scope)
            if verdict.asked <= asked:
                return verdict
            asked |= verdict.asked
            with node_refusals("names"):
                told = await session.asking.text(question(self._policy.lake, asked))
            scope = answer(told, asked)

    async def _checked(self, policy: Policy, principal: Principal, sql: str, scope: Scope) -> Verdict:
        if self._checks is not None:
            return await self._checks.check(principal, sql, scope)
        if len(sql) <= LONG:
            return policy.check(principal, sql, scope)
        return await asyncio.to_thread(policy.check, principal, sql, scope)

    async def view(self, principal: Principal, body: Body) -> View:
        """What the view of `body` says, for a statement of `principal`."""
        assert self._checks is not None, "a gateway that knows the views has a policy"
        return await self._checks.view(principal, *body)

    def of_insert(self, session: Session, schema: str, table: str) -> Verdict | None:
        """Whether `session` may add rows to `schema.table` natively; None where everybody may do everything."""
        if self._policy is None:
            return None
        return self._policy.check_append(session.principal, schema, table)

    async def summary(self, principal: Principal, sql: str) -> Summary:
        """What an audit log says of `sql`."""
        if self._checks is None:
            return await asyncio.to_thread(summary_of, sql)
        return await self._checks.summary(principal, sql)
