"""What the policy says of a statement."""

from __future__ import annotations

from dataclasses import dataclass

from azquack.policy.scope import Asked
from azquack.policy.views import Read


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind` names the statement for the audit log (`SELECT`, `INSERT`, … or `UNKNOWN`).

    `reason` is a sentence for the user when it is not allowed, and empty when it is; `sql` is then what the node
    shall run, with each name in full. `plain` says that it leaves nothing in its session: no transaction, setting or
    temporary table. `rows` is how many literal rows it inserts, if it is nothing but one INSERT of these: it then means
    the same in all sessions that ran plain statements only. `touches` says that bare names may mean something else in
    its session afterwards. With `asked` there is no verdict yet: the session's node must say where these names stand.
    `reads` are the tables and views of the lake that it names to read them: of these, views are held against their
    makers' rights of the moment, which no verdict that is kept can know.
    """

    allowed: bool
    kind: str
    reason: str = ""
    plain: bool = False
    rows: int = 0
    sql: str | None = None
    touches: bool = False
    asked: frozenset[Asked] = frozenset()
    reads: frozenset[Read] = frozenset()


@dataclass(slots=True)
class Effect:
    """What one statement of a text does, and its own text for the node."""

    sql: str
    plain: bool = False
    rows: int = 0
    touches: bool = False
    reads: frozenset[Read] = frozenset()
