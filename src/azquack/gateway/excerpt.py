"""The excerpt of a statement below DuckDB's error, in the user's own words.

A node runs a statement with names written out in full, and DuckDB shows what it ran. Names were only
put in, so what the user wrote is left when what was put in is taken out.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from dataclasses import dataclass

# DuckDB shows about 120 columns of a line. The text of an error may be a user's own: no more than this is looked at.
_SHOWN = 1_000
_EXCERPT = re.compile(
    rf"\nLINE (?P<line>\d{{1,6}}): (?P<text>[^\n]{{0,{_SHOWN}}})\n(?P<blank> {{0,{_SHOWN}}})\^\s{{0,9}}\Z"
)
_DOTS = "..."
# As wide as DuckDB shows a line; longer statements than this are not gone through for an error.
_WIDE = 120
_LONGEST = 100_000


@dataclass(frozen=True, slots=True)
class Texts:
    """A statement as its user has `written` it, and as it was `sent`: the same, with more between."""

    written: str
    sent: str

    def own(self, error: str) -> str:
        """`error` with its excerpt of what was written; as it is where the place is not certain."""
        match = _EXCERPT.search(error, max(0, len(error) - 3 * _SHOWN))
        if match is None or self.written == self.sent or len(self.sent) > _LONGEST:
            return error
        label = f"LINE {match['line']}: "
        place = self._place(int(match["line"]), match["text"], len(match["blank"]) - len(label))
        return error if place is None else error[: match.start()] + self._excerpt(place)

    def _place(self, line: int, shown: str, at: int) -> int | None:
        """Where in what was written the place lies that the excerpt shows in what was sent."""
        lines = self.sent.split("\n")
        if line > len(lines):
            return None
        begins = shown.startswith(_DOTS) and not lines[line - 1].startswith(_DOTS)
        core = shown[len(_DOTS) * begins :]
        core = core if core in lines[line - 1] else core.removesuffix(_DOTS)
        found = lines[line - 1].find(core)
        if found < 0 or lines[line - 1].find(core, found + 1) >= 0:
            return None
        reached = _reached(core, at - len(_DOTS) * begins)
        sent = sum(len(each) + 1 for each in lines[: line - 1]) + found + reached
        # The characters of what was written stand in what was sent in the same order.
        place = 0
        for letter in self.sent[: max(sent, 0)]:
            place += place < len(self.written) and letter == self.written[place]
        return place

    def _excerpt(self, place: int) -> str:
        before = self.written[:place]
        line = self.written.split("\n")[before.count("\n")]
        at = place - (before.rfind("\n") + 1)
        begin = max(0, min(at - _WIDE // 2, len(line) - _WIDE)) if len(line) > _WIDE else 0
        shown = line[begin : begin + _WIDE]
        dots = _DOTS if begin else ""
        label = f"LINE {before.count(chr(10)) + 1}: {dots}"
        tail = _DOTS if begin + _WIDE < len(line) else ""
        return f"\n{label}{shown}{tail}\n{' ' * (len(label) + _width(line[begin:at]))}^"


def _width(text: str) -> int:
    """The columns that DuckDB counts for `text`: none for a control character, a tab among them."""
    return sum(map(_columns, text))


def _columns(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Cc"):
        return 0
    return 1 + (unicodedata.east_asian_width(letter) in "WF")


def _reached(text: str, columns: int) -> int:
    """How many characters of `text` stand before the column."""
    widths = itertools.accumulate(map(_columns, text), initial=0)
    return next((at for at, width in enumerate(widths) if width >= columns), len(text))
