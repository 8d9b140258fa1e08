"""What a write aims at, the queries that it holds, and the text of it that is neither."""

from __future__ import annotations

from dataclasses import dataclass, field

from azquack.wall.errors import Unclear
from azquack.wall.lexer import Text
from azquack.wall.reader import Reader, Target

# What a query can begin with.
QUERY_WORDS = frozenset(
    ("select", "from", "values", "with", "table", "pivot", "unpivot", "describe", "show", "summarize")
)
# What can follow the default of a column.
_CONSTRAINTS = frozenset(("not", "null", "unique", "primary", "check", "references", "collate", "generated"))


@dataclass(slots=True)
class Write:
    """A taken-apart statement: `queries` are texts of SELECTs, `bare` the text that none of them covers.

    `defaults` are the expressions in `bare` that columns take when nothing is given.
    """

    targets: list[Target] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    bare: list[str] = field(default_factory=list)
    defaults: list[str] = field(default_factory=list)
    temporary: bool = False
    macro: bool = False

    @property
    def in_session(self) -> bool:
        """Whether it may make or change what only its session sees."""
        return self.temporary or any("temp" in (each.catalog, each.schema) for each in self.targets)

    @property
    def literal_rows(self) -> int:
        """The rows of its one query, where that is VALUES of literals; else 0."""
        return Text(self.queries[0]).literal_rows() if len(self.queries) == 1 and not self.bare else 0


def bare(reader: Reader, write: Write, *ends: str) -> None:
    """What comes up to `ends` holds expressions at most (a default, a type, a key), and no query."""
    first, reader.at = reader.at, reader.find(*ends)
    for place in range(first, reader.at):
        token = reader.tokens[place]
        nested = place and reader.tokens[place - 1].text.startswith("(") and token.name in QUERY_WORDS
        if not token.quoted and (nested or token.name in ("select", "from")):
            raise Unclear(f"the statement cannot be checked: {token.text.upper()} does not belong there")
        if token.name == "default" and not token.quoted:
            write.defaults.append(reader.text.slice(place + 1, _default_end(reader, place + 1)))
    write.bare.append(reader.text.slice(first, reader.at))


def _default_end(reader: Reader, first: int) -> int:
    """Where the default that begins at token `first` ends: at a comma, a parenthesis or a further constraint."""
    depth = 0
    for place in range(first, len(reader.tokens)):
        token = reader.tokens[place]
        if depth == 0 and (token.text in (",", ")") or (place > first and token.name in _CONSTRAINTS)):
            return place
        depth += (token.text == "(") - (token.text == ")")
    return len(reader.tokens)
