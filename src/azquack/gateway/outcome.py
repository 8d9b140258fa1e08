"""How a request ended."""

from __future__ import annotations

from typing import NamedTuple


class Outcome(NamedTuple):
    """How a request ended: ok, error, broken, refused or gone.

    `rows` are those that it changed, where that is known; `more` tells whether there is more to fetch; `said` is the
    node's own sentence where it ended with error; `bytes` is the size of the answer.
    """

    word: str
    rows: int | None = None
    more: bool = False
    said: str = ""
    bytes: int = 0
