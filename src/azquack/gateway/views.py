"""The views of the lake as a gateway knows them, and whether what a statement reads may still be read through them.

They are read from a node, in a session of the gateway's own, and are as old as `AGE` at most when they are used; a
statement that may have changed one makes them old at once. A session in a transaction sees the views of its beginning,
so it is asked itself. A view that is younger than that was held against its maker's rights when it was made.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Sequence
from weakref import WeakKeyDictionary

from azquack.errors import Refusal, StatementError, UpstreamError, WireError
from azquack.gateway.ports import Principal, Principals
from azquack.gateway.routing import Node
from azquack.gateway.sessions import Session
from azquack.policy.rights import MAKER
from azquack.policy.views import Body, Read, View, Views
from azquack.principals.principal import folded
from azquack.quack.lost import INVALID_ID
from azquack.sql import literal

AGE = 3.0
"""Seconds after which the views are read anew."""
SAME = "same"
UNKNOWN = "What the views of the lake reach cannot be looked up now ({}): try again in a moment"
# Kinds of statements behind which a view may be another, or reach something else.
_CHANGES = frozenset({"CREATE", "ALTER", "DROP", "TRANSACTION"})

Ask = Callable[[str], Awaitable[str]]
Known = dict[tuple[str, str], str]
ReadBody = Callable[[Principal, Body], Awaitable[View]]
"""Reads a view for a statement of somebody, and holds nobody else up meanwhile."""
# Characters of the texts of which is kept what they say.
_KEPT = 16 << 20


class LakeViews:
    """Reads and keeps the views of `lake`; no node is waited for longer than `seconds`.

    `alone` says that no other gateway serves the same sessions, and begins transactions in them; `over_quack` that the
    catalog is behind a link.
    """

    def __init__(
        self, lake: str, principals: Principals, seconds: float, *, alone: bool, over_quack: bool
    ) -> None:
        self._alone = alone
        self._over_quack = over_quack
        self._lake = lake
        self._principals = principals
        self._seconds = seconds
        self._known: Known = {}
        self._read: dict[Body, View] = {}
        self._kept = 0
        self._mark = ""
        self._read_at = -math.inf
        self._changes = 0
        self._turns: WeakKeyDictionary[Node, asyncio.Lock] = WeakKeyDictionary()

    def changed(self, kind: str) -> None:
        """A statement of this `kind` has run: after some, what is known may be old."""
        if not _CHANGES.isdisjoint(kind.split(",")):
            self._changes += 1
            self._read_at = -math.inf

    async def check(self, session: Session, reads: Collection[Read], read: ReadBody) -> None:
        """Raises `Refusal` when a view among `reads`, or one behind it, reads what its maker may not read any more.

        `reads` are of a statement of `session`. Where nobody has grants, nothing is asked.
        """
        if not reads or not self._principals.restricted():
            return
        try:
            async with asyncio.timeout(self._seconds):
                own = session.transaction.open is not None or not self._alone
                now = await self._seen(session) if own else await self._current(session.node)
                past: dict[str, Sequence[str]] = {}
                if self._kept > _KEPT:
                    self._read.clear()
                    self._kept = 0
                views = Views(now, past, self._read)
                while True:
                    if unread := views.unread(reads):
                        for body in unread:
                            self._read[body] = await read(session.principal, body)
                            self._kept += len(body.sql)
                    elif unknown := views.unknown(reads):
                        async with session.node.own_session() as asking:
                            for name in sorted(unknown):
                                past[name] = await self._past(name, asking.text)
                    else:
                        break
        except (StatementError, UpstreamError, WireError, TimeoutError, ValueError) as error:
            # Whoever has no grants may read by themselves all that a view could show; a session that is no more, the
            # statement itself will meet.
            if session.principal.grants is None or str(error) == INVALID_ID:
                return
            raise Refusal("views", UNKNOWN.format(str(error) or "a node does not answer")) from None
        if reason := views.refusal(reads, self._principals.named):
            raise Refusal("views", f"{reason}.")

    async def _current(self, node: Node) -> Known:
        """The views, which of several statements at once one reads for all that wait at `node`."""
        if self._is_old():
            async with self._turns.setdefault(node, asyncio.Lock()):
                if self._is_old():
                    began, changes = asyncio.get_running_loop().time(), self._changes
                    async with node.own_session() as asking:
                        told = await asking.text(question(self._lake, self._mark))
                    if told != SAME:
                        self._mark, self._known = answer(told)
                    if changes == self._changes:
                        self._read_at = began
        return self._known

    def _is_old(self) -> bool:
        return asyncio.get_running_loop().time() - self._read_at > AGE

    async def _seen(self, session: Session) -> Known:
        """The views as `session` sees them."""
        return answer(await session.asking.text(question(self._lake, "")))[1]

    async def _past(self, name: str, ask: Ask) -> list[str]:
        """The text of each view that was ever called `name`, in any schema; of the snapshots that there are."""
        metadata = f"__ducklake_metadata_{self._lake}"
        views = (
            "SELECT coalesce(string_agg(hex(sql), ','), '') AS views FROM {} "
            f"WHERE lower(view_name) = lower({literal(name)})"
        )
        if self._over_quack:
            # A native scan would send them all over the link.
            asked = literal(views.format("ducklake_view"))
            told = await ask(f"FROM system.main.quack_query_by_name({literal(metadata)}, {asked})")
        else:
            told = await ask(views.format(f"{metadata}.ducklake_view"))
        return [bytes.fromhex(each).decode() for each in told.split(",") if each]


def question(lake: str, known: str) -> str:
    """The statement by which a node tells the views of `lake`: `SAME` where they are what it told as `known`.

    Where none of them names a maker it tells nothing, and the lake pays for no more.
    """
    return (
        "SELECT CASE WHEN NOT coalesce(signed, false) THEN '' WHEN system.main.md5(told) = "
        f"{literal(known)} THEN '{SAME}' ELSE system.main.md5(told) || '|' || told END FROM (SELECT "
        "system.main.string_agg(line, '|' ORDER BY line) told, "
        f"system.main.bool_or(system.main.contains(system.main.lower(sql), '{MAKER}')) signed FROM (SELECT "
        "system.main.concat_ws(',', system.main.hex(schema_name), system.main.hex(view_name), "
        "system.main.hex(sql)) line, sql FROM system.main.duckdb_views() "
        f"WHERE database_name = {literal(lake)} AND NOT internal))"
    )


def answer(told: str) -> tuple[str, Known]:
    """What a node has told: its name for all that, and the text of each view by place. Raises `ValueError`."""
    mark, *lines = told.split("|")
    return mark, {_place(line): bytes.fromhex(line.rpartition(",")[2]).decode() for line in lines}


def _place(line: str) -> tuple[str, str]:
    schema, name, _ = (bytes.fromhex(each) for each in line.split(","))
    return folded(schema.decode()), folded(name.decode())
