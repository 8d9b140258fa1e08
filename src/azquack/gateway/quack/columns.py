"""The columns of a table, as a client was shown them and as they are now.

DuckDB writes a table's definition in one form (`duckdb_tables().sql`, and what a native CREATE TABLE sends):
`CREATE TABLE s.t(a INTEGER DEFAULT(3) NOT NULL, "b c" STRUCT(x INTEGER));`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from azquack.sql import identifier

_PIECE = re.compile(r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[(),]|[^'"(),]+""")
_NAME = re.compile(r'\s*("(?:[^"]|"")+"|\w+)\s+(.+)', re.DOTALL)
_CONSTRAINT = re.compile(
    r"(?:DEFAULT\s*\(|DEFAULT\b|NOT NULL\b|COLLATE\b|COMMENT\b|PRIMARY KEY\b|UNIQUE\b|CHECK\s*\().*",
    re.DOTALL,
)
_TABLE_CONSTRAINT = re.compile(r"\s*(?:PRIMARY KEY|UNIQUE|CHECK|FOREIGN KEY|CONSTRAINT)\b")
CHANGED = (
    "The table {!r} has changed since you attached, and Quack 1 asks by the places of its columns: "
    "CALL quack_clear_cache(), then try again"
)


@dataclass(frozen=True, slots=True)
class Column:
    """`name` as the user gave it, `type` as DuckDB writes it."""

    name: str
    type: str


def columns_of(definition: str) -> list[Column] | None:
    """The columns of a definition; None when it is not of the form that DuckDB writes."""
    start = _opening(definition)
    if start < 0:
        return None
    columns = []
    for part in _parts(definition[start:]):
        if _TABLE_CONSTRAINT.match(part):
            break
        match = _NAME.fullmatch(part)
        if match is None:
            return None
        name = match[1][1:-1].replace('""', '"') if match[1].startswith('"') else match[1]
        columns.append(Column(name, _type(match[2])))
    return columns or None


def _opening(definition: str) -> int:
    """Behind the first parenthesis that is not within a name."""
    at = 0
    for match in _PIECE.finditer(definition):
        if match[0] == "(":
            return match.end()
        at = match.end()
    return -1 if at == len(definition) else at


def _parts(text: str) -> Iterator[str]:
    """What stands between the commas of the list that `text` begins with."""
    depth, part = 0, ""
    for match in _PIECE.finditer(text):
        piece = match[0]
        if depth == 0 and piece in ",)":
            yield part
            part = ""
            if piece == ")":
                return
            continue
        depth += (piece == "(") - (piece == ")")
        part += piece


def _type(rest: str) -> str:
    """The type at the beginning of a column's definition, which its constraints follow."""
    depth, kept = 0, ""
    for match in _PIECE.finditer(rest):
        piece = match[0]
        if depth == 0 and (found := _CONSTRAINT.search(piece)):
            return (kept + piece[: found.start()]).strip()
        depth += (piece == "(") - (piece == ")")
        kept += piece
    return kept.strip()


def selection(places: Sequence[int], shown: Sequence[Column], now: Iterable[Column]) -> str | None:
    """The names of the columns that a client means by `places` (from 1); None where one is not there any more.

    A name that comes back with another type is another column.
    """
    there = {(each.name.lower(), each.type) for each in now}
    names = []
    for place in places:
        if not 0 < place <= len(shown):
            return None
        column = shown[place - 1]
        if (column.name.lower(), column.type) not in there:
            return None
        names.append(identifier(column.name))
    return ", ".join(names)
