"""Views of a lake: who made one, what it reads, and whether its maker may still read that.

DuckLake keeps no owner of a view. So what a node gets for a CREATE VIEW of somebody with grants names its maker, in a
WITH clause that nothing reads: DuckDB keeps it with the view through every parse, rename, copy and backup.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from azquack.policy.errors import Refused
from azquack.policy.lexer import Text
from azquack.policy.parser import Parser
from azquack.policy.reader import Reader
from azquack.policy.rights import MAKER
from azquack.policy.scope import MAIN
from azquack.policy.splice import Edits
from azquack.policy.tree import Name, uses
from azquack.principals.principal import Principal, folded
from azquack.sql import literal

FORGED = (
    f"the name {MAKER} is kept for AzQuack's own note of who made a view: leave that WITH clause out, and the view "
    "gets a new one"
)
# DuckLake keeps a view with this in place of the lake's name, where it finds that.
_CATALOG = "{DUCKLAKE_CATALOG}"


class Read(NamedTuple):
    """A table or view of the lake that is read, folded; `past` where an old version of it is."""

    schema: str
    table: str
    past: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """`makers` are those that its text names: nobody where it was made with all rights, else one.

    `reads` is None where the text cannot be read.
    """

    makers: frozenset[str]
    reads: frozenset[Read] | None


def sign(text: Text, body: int, maker: str, edits: Edits) -> None:
    """Has the view whose body begins at token `body` of `text` name its `maker`."""
    clause = f"{MAKER} AS (SELECT {literal(maker)})"
    tokens = text.tokens
    first = body
    while first < len(tokens) and tokens[first].text == "(":
        first += 1
    # A query has one WITH: into that of the first one goes the clause, and before any other the whole of it.
    if first >= len(tokens) or tokens[first].quoted or tokens[first].name != "with":
        edits.put(tokens[body].start, f"WITH {clause} ")
        return
    first += 1
    if tokens[first].name == "recursive" and not tokens[first].quoted:
        first += 1
    edits.put(tokens[first].start, f"{clause}, ")


def read(sql: str, schema: str, lake: str, parser: Parser) -> View:
    """The view of the lake's `schema` that DuckDB tells as `sql`: a CREATE VIEW, or its body alone. Raises nothing."""
    signed = MAKER in folded(sql)
    try:
        text = Text(sql.replace(_CATALOG, lake))
        reader = Reader(text, parser.reserved)
        first = 0
        if reader.take("create"):
            reader.until("as")
            reader.need("as")
            first = reader.at
        tree = parser.tree(text.slice(first, len(reader.tokens)))
        makers = frozenset(_makers(tree)) if signed else frozenset[str]()
        found = [
            each for name, _, past in uses(tree).tables for each in _places(name, schema, lake, past=past)
        ]
    except (Refused, KeyError, TypeError, ValueError):
        return View(frozenset({""}) if signed else frozenset(), None)
    return View(makers, frozenset(found))


def _places(name: Name, schema: str, lake: str, *, past: bool) -> list[Read]:
    """Where in the lake `name` may stand, as a view of `schema` names it; what is not written out may be in several."""
    if name.catalog:
        return [Read(name.schema, name.table, past)] if name.catalog == lake else []
    schemas = [name.schema or schema]
    if name.schema in ("", lake):
        schemas.append(MAIN)
    return [Read(each, name.table, past) for each in schemas]


def _makers(tree: dict[str, Any]) -> list[str]:
    """The values of all clauses of our name in `tree`; an empty one for a clause that is not as we write it."""
    found: list[str] = []
    todo: list[Any] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            todo += node.values()
            if "key" in node and "value" in node and folded(str(node["key"])) == MAKER:
                found.append(_maker(node["value"]))
    return found


def _maker(clause: Any) -> str:
    try:
        (constant,) = clause["query"]["node"]["select_list"]
        return str(constant["value"]["value"])
    except (KeyError, TypeError, ValueError):
        return ""


class Body(NamedTuple):
    """The text of a view, and the schema in which it stands."""

    sql: str
    schema: str


_NOTHING = View(frozenset(), frozenset())


class Views:
    """The views of a lake at one moment: `now` the texts of those that there are, `past` all that a name ever was.

    `read` has what each text says that was read by now, as a view of its schema.
    """

    def __init__(
        self,
        now: Mapping[tuple[str, str], str],
        past: Mapping[str, Sequence[str]],
        read: Mapping[Body, View],
    ) -> None:
        self._now = now
        self._past = past
        self._read = read

    def unknown(self, reads: Iterable[Read]) -> frozenset[str]:
        """The names that `reads` reach in the past, and of which `past` knows nothing."""
        return frozenset(
            each.table for each in self._reached(reads) if each.past and each.table not in self._past
        )

    def unread(self, reads: Iterable[Read]) -> list[Body]:
        """The texts that `reads` reach, and that were not read; behind them there may be more."""
        return [each for place in self._reached(reads) for each in self._at(place) if each not in self._read]

    def refusal(self, reads: Iterable[Read], people: Callable[[str], Sequence[Principal]]) -> str:
        """Why `reads` may not be read, as a sentence: a view's maker may not read what that reads. Else nothing.

        Raises `KeyError` when a text of theirs is unread.
        """
        for place in self._reached(reads):
            for view in [self._read[each] for each in self._at(place)]:
                for maker in sorted(view.makers):
                    if reason := _refusal(place, view, maker, people(maker)):
                        return reason
        return ""

    def _reached(self, reads: Iterable[Read]) -> list[Read]:
        """The places that `reads` reach, also through views; one may lead back to itself."""
        reached: list[Read] = []
        seen = set(reads)
        todo = sorted(seen)
        while todo:
            place = todo.pop()
            reached.append(place)
            for text in self._at(place):
                further = (self._read.get(text, _NOTHING).reads or frozenset()) - seen
                seen |= further
                todo += sorted(further)
        return reached

    def _at(self, place: Read) -> list[Body]:
        if place.past:
            # The past does not say in which schema a view stood.
            return [Body(sql, place.schema) for sql in self._past.get(place.table, ())]
        sql = self._now.get((place.schema, place.table))
        return [] if sql is None else [Body(sql, place.schema)]


def _refusal(place: Read, view: View, maker: str, people: Sequence[Principal]) -> str:
    name = f"{place.schema}.{place.table}"
    mend = "whoever may read all that it reads can make it anew (CREATE OR REPLACE VIEW), or drop it"
    if view.reads is None or not maker:
        return f"The view {name} cannot be read for what it reaches: {mend}"
    if not people:
        return f"The view {name} was made by {maker}, who is no principal any more: {mend}"
    for each in sorted(view.reads):
        if not all(person.may("select", each.schema, each.table) for person in people):
            return (
                f"The view {name} reads {each.schema}.{each.table}, which its maker {maker} may not select any more: "
                f"grant {maker} that again, or {mend}"
            )
    return ""
