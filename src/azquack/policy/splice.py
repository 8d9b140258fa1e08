"""Names put into a statement at their place: nothing else of its text changes, and no column's name does."""

from __future__ import annotations

from bisect import bisect_left

from azquack.policy.errors import Unclear
from azquack.policy.lexer import Text
from azquack.policy.parser import Parser
from azquack.sql import identifier

# What ends the list behind SELECT, outside of parentheses.
# fmt: off
_ENDS = frozenset({
    "except", "fetch", "from", "group", "having", "intersect", "limit", "offset", "order", "qualify", "returning",
    "select", "union", "using", "where", "window",
})
# fmt: on


class Edits:
    """What is put in before which byte of a statement."""

    def __init__(self) -> None:
        self._at: dict[int, str] = {}
        # Up to where the text is left out that begins at a place.
        self._until: dict[int, int] = {}

    def put(self, offset: int, words: str) -> None:
        """Puts `words` in before the byte at `offset`. Raises `Unclear` where others are put there."""
        if self._at.setdefault(offset, words) != words:
            raise Unclear("the statement cannot be checked: one name in it means two things")

    def replace(self, start: int, end: int, words: str) -> None:
        """Puts `words` in place of the bytes from `start` up to `end`. Raises `Unclear` as `put`."""
        self.put(start, words)
        if self._until.setdefault(start, end) != end:
            raise Unclear("the statement cannot be checked: one name in it means two things")

    def shifted(self, offset: int, others: Edits) -> None:
        """Takes in the edits of a part of the statement that begins at `offset`."""
        for at, words in others._at.items():
            self.put(at + offset, words)
        self._until |= {at + offset: until + offset for at, until in others._until.items()}

    def applied(self, text: Text, parser: Parser) -> str:
        """The statement with all of them, and with the names that its columns have without them."""
        if not self._at:
            return text.sql
        places = sorted(self._at)
        at = dict(self._at)
        changed: dict[int, str] = {}
        if any(text.raw[place : place + 1] != b"" for place in places):
            for first, last in select_items(text):
                end = text.tokens[last].start if last < len(text.tokens) else len(text.raw)
                found = bisect_left(places, text.tokens[first].start)
                if found < len(places) and places[found] < end:
                    changed[end] = text.slice(first, last)
            names = parser.column_names(list(changed.values()))
            # A comment may stand before: only a line break ends it.
            at |= {
                end: f"\nAS {identifier(name)} "
                for end, name in zip(changed, names, strict=True)
                if name is not None
            }
        made, begin = [], 0
        for place in sorted(at):
            made += [text.raw[begin:place], at[place].encode()]
            begin = self._until.get(place, place)
        return b"".join([*made, text.raw[begin:]]).decode()


def select_items(text: Text) -> list[tuple[int, int]]:
    """Each expression in each SELECT list, by its first token and the one behind its last."""
    items: list[tuple[int, int]] = []
    # Where the item begins that is open at a depth; None between DISTINCT ON and the end of its list.
    open_: dict[int, int | None] = {}
    depth = 0
    words = [None if token.quoted else token.name for token in text.tokens]
    for at, token in enumerate(text.tokens):
        word, sign = words[at], token.text[:1] if token.name is None else ""
        if sign in (")", "]", "}"):
            _close(items, open_, depth, at)
            depth -= 1
            if depth in open_ and open_[depth] is None:
                open_[depth] = at + 1
        elif depth in open_ and sign == ",":
            _close(items, open_, depth, at)
            open_[depth] = at + 1
        elif depth in open_ and word in _ENDS and not (word == "from" and words[at - 1] == "distinct"):
            _close(items, open_, depth, at)
        elif depth in open_ and open_[depth] == at and word in ("all", "distinct"):
            on = word == "distinct" and words[at + 1 : at + 2] == ["on"]
            open_[depth] = None if on else at + 1
        elif sign == ";":
            _close(items, open_, depth, at)
        if word == "select":
            open_[depth] = at + 1
        depth += sign in ("(", "[", "{")
    for at_depth in list(open_):
        _close(items, open_, at_depth, len(text.tokens))
    return items


def _close(items: list[tuple[int, int]], open_: dict[int, int | None], depth: int, at: int) -> None:
    first = open_.pop(depth, None)
    if first is not None and first < at:
        items.append((first, at))
