"""A query that is put together from pieces of a statement, and where each of its bytes stands there."""

from __future__ import annotations

from bisect import bisect_right

from azquack.policy.lexer import Text

# A piece of the statement by its first token and the one behind its last; or words of our own.
Part = tuple[int, int] | str


class Piece:
    """The text of a query, `sql`, made of `parts` of `text`, each on a line of its own."""

    def __init__(self, text: Text, *parts: Part) -> None:
        made: list[bytes] = []
        self._starts: list[int] = []
        self._origins: list[int | None] = []
        at = 0
        for part in parts:
            raw, origin = _bytes(text, part)
            self._starts.append(at)
            self._origins.append(origin)
            # A part may end with a line comment: only a line break ends it.
            made.append(raw + b"\n")
            at += len(raw) + 1
        self.sql = b"".join(made)[:-1].decode()

    def place(self, offset: int) -> int | None:
        """Where in the statement the byte at `offset` stands; None in words of our own."""
        part = bisect_right(self._starts, offset) - 1
        origin = self._origins[part]
        return None if origin is None else origin + offset - self._starts[part]


class Whole(Piece):
    """A statement that is a query as it stands."""

    def __init__(self, text: Text) -> None:
        self.sql = text.sql

    def place(self, offset: int) -> int | None:
        return offset


def _bytes(text: Text, part: Part) -> tuple[bytes, int | None]:
    if isinstance(part, str):
        return part.encode(), None
    start, end = (text.tokens[place].start if place < len(text.tokens) else len(text.raw) for place in part)
    return text.raw[start:end], start
