"""PIVOT without values: DuckDB makes two statements of it and gives a tree of neither.

With values it is one SELECT, of which there is a tree. So a value of our own is put behind each column: the
rest of the text, and with it all that the statement reads and calls, stays as it is.
"""

from __future__ import annotations

from itertools import pairwise

from azquack.policy.lexer import Text
from azquack.policy.piece import Part, Piece

# A line break before it: the text there may end with a comment. `Piece` puts one.
_VALUES = " IN ('') "
_ENDS = frozenset({"using", "group", "order", "limit", "offset", "qualify", "union", "except", "intersect"})


def with_values(text: Text) -> Piece:
    """`text` with values for each pivoted column that has none."""
    depth = 0
    places: list[int] = []
    # The depth of each PIVOT whose columns are being read: None before its ON, else whether IN was seen.
    open_: dict[int, bool | None] = {}
    for at, token in enumerate(text.tokens):
        word = None if token.quoted else token.name
        closing = token.name is None and token.text[:1] in ")]}"
        if word in ("pivot", "pivot_wider"):
            open_[depth] = None
        elif open_.get(depth) is None and word == "on" and depth in open_:
            open_[depth] = False
        elif word == "in" and open_.get(depth) is False:
            open_[depth] = True
        elif open_.get(depth) is not None and (closing or word in _ENDS or token.text[:1] in ",;"):
            if not open_[depth]:
                places.append(at)
            if token.text[:1] == ",":
                open_[depth] = False
            else:
                del open_[depth]
        if token.name is None:
            depth += (token.text[:1] in "([{") - closing
    if open_.get(0) is False:
        places.append(len(text.tokens))
    parts: list[Part] = []
    for first, last in pairwise([0, *places]):
        parts += [(first, last), _VALUES]
    return Piece(text, *parts, (places[-1] if places else 0, len(text.tokens)))
