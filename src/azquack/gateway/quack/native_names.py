"""Native tables of every schema: `FROM r.demo.events` although Quack 1 drops the schema on the way.

A stock client lists the tables once, at ATTACH, and later sends a scan as `SELECT #1, #2 FROM events`: which
schema was meant is lost. (INSERT, CREATE, DROP and views keep theirs.) The gateway therefore notes on the
session itself, in a variable on the node, what the client was shown, and puts the schema back into the scan.
A name that the client saw, or that now stands, in more than one schema is refused: never the wrong rows.

A scan looks like what a user may type, so it is known by its shape. The shapes are those of the clients in `KNOWN`,
held by a test with each of them. What begins like a scan and goes on otherwise, and all that other clients send, may
hold no bare name that stands in two schemas.

The variable lives with the session, so that every gateway finds it and none keeps state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from azquack.errors import Refusal
from azquack.gateway.node_session import NodeSession, node_refusals
from azquack.gateway.quack.columns import CHANGED, Column, columns_of, selection
from azquack.gateway.quack.shown import ASK_SCHEMAS, ASK_TABLES, EMPTY, LISTING, SCAN_VIEWS, TELL_VIEWS, Shown
from azquack.gateway.sessions import Session
from azquack.gateway.statement import Dialect, Table
from azquack.patterns import re
from azquack.policy.shape import CHARACTERS, NAME_CHARACTERS, thinned
from azquack.sql import identifier, literal

KNOWN = frozenset({"v1.5.3", "v1.5.4", "v1.5.5"})
"""The clients, by the version that they give at login, of which every native statement is known."""
_NAME = r'(?:"(?:[^"]++|"")++"|\w++)'
# A scan that needs no column asks for NULL::BIGINT (1.5.3, 1.5.4) or NULL::BOOLEAN (1.5.5).
_SCAN = re.compile(rf"(SELECT (?:#\d++(?:, #\d++)*+|NULL::[A-Z]++) FROM )({_NAME})")
_LIKE_A_SCAN = re.compile(r"\s*SELECT\s+(?:#\s*\d|NULL\s*::)", re.IGNORECASE)
# Each word that may name a table without its schema; also those in strings, which DuckDB takes for names too.
_WORD = re.compile(r"""(?<!\.)(?:"(?:[^"]++|"")++(?:"|\Z)|'(?:[^']++|'')++(?:'|\Z)|\w++)""")
_CREATE = re.compile(
    rf"CREATE (?:OR REPLACE )?TABLE\s+(IF NOT EXISTS )?(?:({_NAME})\.)?({_NAME})\(.*", re.DOTALL
)


_PLACE = re.compile(r"#(\d+)")


class Ambiguous(Exception):
    """The scan's table stands in more than one schema; the sentence is for the user."""


class Changed(Exception):
    """The table is not any more as the client was shown it; the sentence is for the user."""


class NativeNames(Dialect):
    """The native statements of stock clients of Quack 1."""

    async def translate(self, sql: str, session: Session) -> tuple[str, bool]:
        """What is meant by `sql`, and whether that is a listing of the gateway's own."""
        with refusals():
            return await translate(sql, session.asking, Shown(session.principal))

    async def prepare(self, sql: str, session: Session) -> None:
        """Notes what `sql` makes, and refuses names that stand in two schemas."""
        with refusals():
            await prepare(sql, session.asking, Shown(session.principal), session.ticket.client)

    async def check_insert(self, table: Table, session: Session) -> None:
        """Refuses rows for a table that has other columns than the client was shown."""
        with refusals():
            await check_append(table.schema, table.name, session.asking, Shown(session.principal))


async def translate(sql: str, node: NodeSession, lake: Shown) -> tuple[str, bool]:
    """What the node shall run for `sql`, and whether that is a listing which the gateway itself wrote.

    The policy has not seen `sql` yet, only its shape: no more of it than one name is sent to the node, as a literal
    in a statement of the gateway's own. Raises `Ambiguous`, `Changed`, and what `node` raises.
    """
    if len(sql) > CHARACTERS:
        return sql, False
    bare = sql.strip()
    if bare == ASK_SCHEMAS:
        return lake.schemas(), True
    if bare == ASK_TABLES:
        await node.run(lake.note())
        return lake.tables(), True
    if sql == SCAN_VIEWS:
        return TELL_VIEWS, False
    if (scan := _SCAN.fullmatch(sql)) and len(scan[2]) <= NAME_CHARACTERS:
        return await _qualified(scan, node, lake), False
    return sql, False


async def prepare(sql: str, node: NodeSession, lake: Shown, client: str) -> None:
    """What must be done before `sql` of a `client`, which the policy allows, may run.

    Raises `Ambiguous`, and what `node` raises.
    """
    if _SCAN.fullmatch(sql):
        return
    if client not in KNOWN or _LIKE_A_SCAN.match(sql):
        await _refuse_ambiguous(thinned(sql), node, lake)
    if create := _CREATE.fullmatch(sql):
        await node.run(_note(_plain(create[2] or "main"), _plain(create[3]), sql, kept=bool(create[1])))


async def check_append(schema: str, table: str, node: NodeSession, lake: Shown) -> None:
    """Raises `Changed` when `schema.table` has not the columns that the client was shown."""
    known = [each for each in await _known(table, node, lake) if each.schema.lower() == schema.lower()]
    shown = [each for each in known if each.shown]
    now = [each for each in known if not each.shown]
    # The client's own temporary tables are told as tables of main, and a table that is not there is the node's to name.
    if not shown or not now:
        return
    if any(each.columns is None or each.columns != now[0].columns for each in shown):
        raise Changed(CHANGED.format(table))


@dataclass(frozen=True, slots=True)
class _Known:
    shown: bool
    schema: str
    columns: list[Column] | None


async def _known(table: str, node: NodeSession, lake: Shown) -> list[_Known]:
    """Where `table` stands, and where it stood when it was shown to the client, with its columns."""
    name = literal(table)
    answer = await node.text(
        "SELECT coalesce(string_agg(k || ':' || hex(s) || ':' || c, ','), '') FROM ("
        f"SELECT 'now' k, s, c FROM {lake.columns()} WHERE lower(n) = lower({name}) UNION ALL "
        f"SELECT 'shown', t.s, hex(coalesce(t.q, '')) FROM {LISTING} WHERE lower(t.n) = lower({name}))"
    )
    found = []
    for each in answer.split(",") if answer else []:
        kind, *texts = each.split(":")
        schema, *parts = (bytes.fromhex(text).decode() for text in ".".join(texts).split("."))
        if kind == "shown":
            found.append(_Known(True, schema, columns_of(parts[0])))
        else:
            columns = [Column(*pair) for pair in zip(parts[::2], parts[1::2], strict=True)]
            found.append(_Known(False, schema, columns))
    return found


async def _qualified(scan: re.Match[str], node: NodeSession, lake: Shown) -> str:
    table = _plain(scan[2])
    known = await _known(table, node, lake)
    schemas = sorted({each.schema for each in known})
    if schemas in ([], ["temp"]):
        return scan[0]
    if len(schemas) > 1:
        raise _ambiguous(table, schemas)
    qualified = f"{identifier(schemas[0])}.{identifier(table)}"
    shown = [each for each in known if each.shown]
    now = [each for each in known if not each.shown]
    if not shown:
        # Not one that the client can ask for natively: somebody typed this.
        return f"{scan[1]}{qualified}"
    if not now:
        raise Changed(CHANGED.format(table))
    places = [int(place) for place in _PLACE.findall(scan[1])]
    if not places:
        return f"{scan[1]}{qualified}"
    columns, there = shown[0].columns, now[0].columns
    names = selection(places, columns, there) if columns and there else None
    if names is None or any(each.columns != columns for each in shown):
        raise Changed(CHANGED.format(table))
    # By name, so that a change between this and the scan cannot give another column's values.
    return f"SELECT {names} FROM {qualified}"


async def _refuse_ambiguous(sql: str, node: NodeSession, lake: Shown) -> None:
    """Raises `Ambiguous` when a word of `sql` is the bare name of tables or views in several schemas."""
    words = sorted({_plain(word).lower() for word in _WORD.findall(sql)})
    answer = await node.text(
        "SELECT coalesce(min(hex(n) || ',' || s), '') FROM (SELECT lower(n) n, string_agg(DISTINCT hex(s), ',') s "
        f"FROM (SELECT s, n FROM {lake.columns()} UNION ALL SELECT t.s, t.n FROM {LISTING} "
        f"UNION ALL SELECT s, n FROM {lake.views()}) "
        f"GROUP BY lower(n) HAVING count(DISTINCT s) > 1) WHERE n IN ({', '.join(map(literal, words)) or 'NULL'})"
    )
    if answer:
        table, *schemas = (bytes.fromhex(each).decode() for each in answer.split(","))
        raise _ambiguous(table, schemas)


def _ambiguous(table: str, schemas: Sequence[str]) -> Ambiguous:
    named = f"{identifier(min(schemas))}.{identifier(table)}"
    return Ambiguous(
        f"The name {table!r} stands in the schemas {', '.join(sorted(schemas))}, and Quack 1 does "
        f"not say which one was meant. Name it in a query: FROM r.query('FROM {named}'), "
        "with the name of your ATTACH in place of r"
    )


def _note(schema: str, table: str, definition: str, *, kept: bool) -> str:
    """Notes what a client knows of a table that it makes; beside what it was shown before, if that is `kept`."""
    before = f"coalesce(getvariable('azquack_listing'), {EMPTY})"
    if not kept:
        same = f"lower(x.s) = lower({literal(schema)}) AND lower(x.n) = lower({literal(table)})"
        before = f"list_filter({before}, lambda x: NOT ({same}))"
    row = f"{{'s': {literal(schema)}, 'n': {literal(table)}, 'q': {literal(definition)}}}"
    return f"SET VARIABLE azquack_listing = list_append({before}, {row})"


def _plain(name: str) -> str:
    quote = name[0]
    return name[1:-1].replace(quote * 2, quote) if quote in "\"'" else name


@contextmanager
def refusals() -> Iterator[None]:
    """What goes wrong with a native statement in a client's session, as a `Refusal` for that client."""
    try:
        with node_refusals("natives"):
            yield
    except Ambiguous as error:
        raise Refusal("ambiguous", str(error)) from None
    except Changed as error:
        raise Refusal("changed", str(error)) from None
