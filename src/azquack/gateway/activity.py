"""Who is at a gateway and what runs: `azquack.sessions()` and `azquack.cancel('id')`, which it answers itself.

An administrator sees and cancels all, everybody else their own. The id is the one of the audit log; nothing else can be
done with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

from azquack.errors import Refusal
from azquack.gateway.audit import Audit, about, summary_of
from azquack.gateway.cancel import cancel
from azquack.gateway.ports import Progress, Replica
from azquack.gateway.results import Results
from azquack.gateway.seal import label
from azquack.gateway.sessions import Session, Sessions
from azquack.gateway.statement import Statement
from azquack.patterns import re
from azquack.policy.errors import Refused
from azquack.policy.shape import CHARACTERS, SMALL, pieces
from azquack.sql import literal

COLUMNS = "id, principal, role, since, node, client, state, statement, seconds, percent, rows"
# Characters of a statement that are shown, and of all together; of a text that is too long to be looked at for secrets,
# none.
SHOWN = 500
ALL_SHOWN = 250_000
_CANCEL = re.compile(
    r"\s*+CALL\s++azquack\s*+\.\s*+cancel\s*+\(\s*+'([^']*+)'\s*+\)\s*+;?+\s*+", re.IGNORECASE
)
_NAME = ("azquack", ".", "sessions", "(", ")")
_TOO_OFTEN = "azquack.sessions() stands too often in this statement: ask for it once, in a WITH"
_UNKNOWN = "No session of yours has this id: see azquack.sessions()"


class Activity:
    """What `sessions` do, of which `results` are open."""

    def __init__(
        self, sessions: Sessions, replica: Replica, results: Results | None, audit: Audit | None
    ) -> None:
        self._sessions = sessions
        self._replica = replica
        self._results = results
        self._audit = audit

    async def answered(self, statement: Statement) -> str | None:
        """What the node shall run in place of `statement`, where that asks for this; else None. Raises `Refusal`."""
        sql = statement.sql
        if len(sql) > SMALL or "azquack" not in sql.lower():
            return None
        if match := _CANCEL.fullmatch(sql):
            return await self._cancel(statement.session, match[1])
        places = list(_calls(sql))
        if not places:
            return None
        listed = await self._listed(statement.session)
        if len(sql) + len(places) * len(listed) > CHARACTERS:
            raise Refusal("sessions", _TOO_OFTEN)
        for start, end in reversed(places):
            sql = f"{sql[:start]}{listed}{sql[end:]}"
        return sql

    def _visible(self, asking: Session) -> list[Session]:
        everything = asking.principal.role == "admin"
        return [each for each in self._sessions if everything or each.principal.name == asking.principal.name]

    async def _cancel(self, asking: Session, wanted: str) -> str:
        session = next((each for each in self._visible(asking) if label(each.connection_id) == wanted), None)
        if session is None:
            raise Refusal("cancel", _UNKNOWN)
        by = asking.principal.name
        entry = None
        if self._audit is not None:
            target = {"cancelled": wanted, "cancelled_principal": session.principal.name}
            entry = self._audit.start(**about(asking), kind="CANCEL", **target)
        done = await cancel(session, by, self._results, force=asking.principal.role == "admin")
        word = "nothing ran in this session" if not done.found else "cancelled" if done.ended else "stopping"
        if self._audit is not None and entry is not None:
            self._audit.finish(entry, "ok", result=word)
        return f"SELECT {literal(word)} AS result"

    async def _listed(self, asking: Session) -> str:
        seen = self._visible(asking)
        progress: dict[tuple[str, int], Progress] = {}
        for node in {each.node.name for each in seen}:
            numbers = [each.ticket.number for each in seen if each.node.name == node and each.doing]
            told = await self._replica.progress(node, numbers) if numbers else {}
            progress |= {(node, number): how for number, how in told.items()}
        shown = min(SHOWN, ALL_SHOWN // len(seen))
        rows = ", ".join(
            _row(each, progress.get((each.node.name, each.ticket.number)), shown) for each in seen
        )
        return f"(SELECT * FROM (VALUES {rows}) AS t({COLUMNS}))"


def _row(session: Session, progress: Progress | None, shown: int) -> str:
    doing = session.doing
    what = _shown(doing[0], shown) if doing else ""
    texts = (
        label(session.connection_id), session.principal.name, session.principal.role,
        datetime.fromtimestamp(session.ticket.since, UTC).isoformat(timespec="seconds"),
        session.node.name, session.ticket.client, "running" if doing else "idle", what,
    )  # fmt: skip
    seconds = f"{time.monotonic() - doing[1]:.3f}" if doing else "NULL"
    known = f"{progress.percent:.1f}, {progress.rows}" if progress is not None else "NULL, NULL"
    return (
        f"({', '.join(map(literal, texts))}, {seconds}::DOUBLE, {known.replace(', ', '::DOUBLE, ')}::BIGINT)"
    )


def _shown(sql: str, characters: int) -> str:
    return summary_of(sql).text[:characters] if len(sql) <= SMALL else ""


def _calls(sql: str) -> Iterator[tuple[int, int]]:
    """Where `azquack.sessions()` stands in `sql`."""
    try:
        found = list(pieces(sql))
    except Refused:
        return
    words = [sql[each.start : each.end].lower() for each in found]
    for at in range(len(words) - len(_NAME) + 1):
        if tuple(words[at : at + len(_NAME)]) == _NAME and (not at or words[at - 1] != "."):
            yield found[at].start, found[at + len(_NAME) - 1].end
