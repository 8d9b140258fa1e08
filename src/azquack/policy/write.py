"""What a write aims at, the queries that it holds, and the text of it that is neither."""

from __future__ import annotations

from dataclasses import dataclass, field

from azquack.policy.errors import Refused
from azquack.policy.lexer import Text
from azquack.policy.naming import What
from azquack.policy.piece import Piece
from azquack.policy.reader import Reader, Target

# What a query can begin with.
QUERY_WORDS = frozenset(
    ("select", "from", "values", "with", "table", "pivot", "unpivot", "describe", "show", "summarize")
)
# What can follow the default of a column.
_CONSTRAINTS = frozenset(("not", "null", "unique", "primary", "check", "references", "collate", "generated"))


@dataclass(slots=True)
class Write:
    """A taken-apart statement: `queries` are SELECTs, `bare` the text that none of them covers.

    `defaults` are the expressions in `bare` that columns take when nothing is given, `named` the new names besides
    the targets', `view` the view whose body the query is, and begins at token `body`; of `everywhere` the right must
    reach over its whole schema.
    """

    targets: list[Target] = field(default_factory=list)
    queries: list[Piece] = field(default_factory=list)
    named: list[tuple[What, str]] = field(default_factory=list)
    view: Target | None = None
    body: int = 0
    everywhere: Target | None = None
    drops: bool = False
    bare: list[str] = field(default_factory=list)
    defaults: list[str] = field(default_factory=list)
    temporary: bool = False
    macro: bool = False

    @property
    def in_session(self) -> bool:
        """Whether it may make or change what only its session sees."""
        return self.temporary or any("temp" in each.parts[:-1] for each in self.targets)

    @property
    def literal_rows(self) -> int:
        """The rows of its one query, where that is VALUES of literals; else 0."""
        return Text(self.queries[0].sql).literal_rows() if len(self.queries) == 1 and not self.bare else 0


def bare(reader: Reader, write: Write, *ends: str) -> None:
    """What comes up to `ends` holds expressions at most (a default, a type, a key), and no query."""
    first, reader.at = reader.at, reader.find(*ends)
    place = first
    while place < reader.at:
        token = reader.tokens[place]
        if token.quoted:
            place += 1
        elif token.name == "default" and not _is_dropped(reader, place):
            # It is parsed by itself: whether it is a constant tells all about it.
            end = min(_default_end(reader, place + 1), reader.at)
            write.defaults.append(reader.text.slice(place + 1, end))
            place = max(end, place + 1)
        elif token.name in ("select", "from") or _begins_query(reader, place):
            raise Refused(
                "no query may stand in a definition: use CREATE TABLE … AS, or ALTER and then UPDATE"
            )
        else:
            place += 1
    write.bare.append(reader.text.slice(first, reader.at))


def _is_dropped(reader: Reader, place: int) -> bool:
    """Whether the word DEFAULT at `place` is that of ALTER … DROP DEFAULT, which no expression follows."""
    before = reader.tokens[place - 1]
    return before.name == "drop" and not before.quoted


def _begins_query(reader: Reader, place: int) -> bool:
    """Whether a query stands at `place`, in parentheses; a column may be called `values`."""
    after = reader.tokens[place + 1].text[:1] if place + 1 < len(reader.tokens) else ""
    return (
        reader.tokens[place].name in QUERY_WORDS
        and place > 0
        and reader.tokens[place - 1].text.startswith("(")
        and after not in (",", ")")
    )


def _default_end(reader: Reader, first: int) -> int:
    """Where the default that begins at token `first` ends: at a comma, a parenthesis or a further constraint."""
    depth = 0
    for place in range(first, len(reader.tokens)):
        token = reader.tokens[place]
        sign = token.text[:1] if token.name is None else ""
        if depth == 0 and (sign in (",", ")") or (place > first and token.name in _CONSTRAINTS)):
            return place
        depth += (sign in ("(", "[", "{")) - (sign in (")", "]", "}"))
    return len(reader.tokens)
