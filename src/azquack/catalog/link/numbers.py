"""Numbers of a commit that its Parquet files do not keep: HUGEINT and UHUGEINT, which are DOUBLE there.

What stays in the catalog shows itself in the statistics of the commit (`link/values.py`). Of a column of these types in
a file they say nothing, so the file is looked into; only where there is such a column does a commit cost more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from azquack.catalog.link import statements
from azquack.catalog.link.files import Named
from azquack.catalog.link.quoted import without_names, without_quoted
from azquack.errors import StatementError
from azquack.lake import doubles

# The largest magnitude in the columns of a file; raises `StatementError` when nobody can tell.
Largest = Callable[[str, Collection[int]], float]
TOO_LARGE = (
    "The transaction was not committed: a HUGEINT is a DOUBLE in Parquet, which keeps whole numbers below "
    "9007199254740992, and a larger one may stop every read of its table: cast it to DECIMAL(38,0) or VARCHAR"
)
_INSERTED = re.compile(r"\binserted_into_table:(\d+)")
# A column of a file of which nothing is known but how many values it has.
_BARE = re.compile(r"\((\d+), (\d+), (\d+), \d+, (?:\d+|NULL), (?:\d+|NULL), NULL, NULL, NULL, NULL\)")
_NEW = re.compile(r"\((\d+), \d+, NULL, (\d+), \d+, '(?:[^']|'')*', 'u?int128'")


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A file that rows were inserted with, and those of its columns that may hold such numbers."""

    file: Named
    columns: frozenset[int]


def doubtful(commit: str, named: Sequence[Named]) -> list[Doubtful]:
    """Those of the files `named` in `commit` of which nothing says how large the numbers in a column are."""
    if not named or not (tables := {int(each) for each in _INSERTED.findall(statements.changes_of(commit))}):
        return []
    columns: dict[int, set[int]] = {}
    for file, table, column in _BARE.findall(without_quoted(commit)):
        if int(table) in tables:
            columns.setdefault(int(file), set()).add(int(column))
    return [Doubtful(each, frozenset(columns[each.number])) for each in named if each.number in columns]


def question(found: Collection[Doubtful]) -> str:
    """What to ask the catalog for the columns of these types; its one text is for `huge`."""
    tables = ", ".join(str(each) for each in sorted({each.file.table for each in found}))
    return (
        "SELECT coalesce(string_agg(format('{} {}', table_id, column_id), chr(10)), '') AS columns "
        "FROM ducklake_column "
        f"WHERE end_snapshot IS NULL AND column_type IN ('int128', 'uint128') AND table_id IN ({tables})"
    )


def huge(found: Collection[Doubtful], old_columns: str, commit: str) -> list[Doubtful]:
    """Those of `found` with such columns, and these: the catalog gave `old_columns`, the commit makes new ones."""
    known = {tuple(map(int, line.split())) for line in old_columns.splitlines()}
    known |= {(int(table), int(column)) for column, table in _NEW.findall(without_names(commit))}
    kept = [
        Doubtful(
            each.file, frozenset(column for column in each.columns if (each.file.table, column) in known)
        )
        for each in found
    ]
    return [each for each in kept if each.columns]


async def refuse_inexact(paths: Collection[tuple[str, Collection[int]]], largest: Largest) -> None:
    """Raises `StatementError` when one of the files has a number in these columns that is not as it was inserted."""
    for path, columns in paths:
        if await asyncio.to_thread(largest, path, columns) >= doubles.INEXACT:
            raise StatementError(TOO_LARGE)
