"""The files that a commit names must be there.

DuckLake writes a transaction's Parquet files as its statements run, and names them in the commit, which may come much
later: meanwhile a maintenance or a person may have deleted them. A file's name holds the time at which this node made
it (UUIDv7), so what is young is not looked for: a commit of one row, or of one quick statement, costs nothing more.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from azquack.catalog.link.quoted import without_names
from azquack.errors import StatementError

# Files that were made so many seconds ago or less are not looked for.
YOUNG = 2.0
_TEXT = r"'((?:[^']|'')*)'"
# Of a data file and of a delete file; of a table; of a schema.
_FILE = re.compile(rf"\((\d+), (\d+), \d+, NULL,\s+(?:NULL|\d+),\s+{_TEXT}, (true|false), 'parquet'")
_TABLE = re.compile(rf"\((\d+), '[^']*', \d+, NULL, (\d+), {_TEXT}, {_TEXT}, (true|false)\)")
_SCHEMA = re.compile(rf"\((\d+), '[^']*', \d+, NULL, {_TEXT}, {_TEXT}, (true|false)\)")
_NEW_TABLES = re.compile(r"ducklake_table VALUES ([^;]*)")
_NEW_SCHEMAS = re.compile(r"ducklake_schema VALUES ([^;]*)")
_UUID = re.compile(r"([0-9a-f]{8})-([0-9a-f]{4})-7[0-9a-f]{3}-")

# Gives those of the paths that are not there; raises `StatementError` when the storage does not say.
Missing = Callable[[Sequence[str]], list[str]]


@dataclass(frozen=True, slots=True)
class Named:
    """A file as a commit names it: `path` belongs to the table `table` where it is `relative`."""

    number: int
    table: int
    path: str
    relative: bool


def named(commit: str) -> list[Named]:
    """The Parquet files in `commit`, DuckLake's batch."""
    if "ducklake_data_file" not in commit and "ducklake_delete_file" not in commit:
        return []
    return [
        Named(int(number), int(table), _plain(path), relative == "true")
        for number, table, path, relative in _FILE.findall(without_names(commit))
    ]


def old(files: Sequence[Named], now: float) -> list[Named]:
    """Those of `files` that are not young at `now`, in seconds since 1970."""
    return [each for each in files if not _young(each.path, now)]


def question(files: Sequence[Named]) -> str:
    """What to ask the catalog for the directories of `files`; its one text is for `paths`."""
    tables = ", ".join(str(each) for each in sorted({each.table for each in files if each.relative}))
    return (
        "SELECT coalesce((SELECT string_agg(DISTINCT format('t {} {} {} {}', table_id, schema_id, path_is_relative, "
        f"path), chr(10)) FROM ducklake_table WHERE table_id IN ({tables or '-1'})), '') || chr(10) || "
        "coalesce((SELECT string_agg(DISTINCT format('s {} {} {}', schema_id, path_is_relative, path), chr(10)) "
        "FROM ducklake_schema), '') AS directories"
    )


def paths(files: Sequence[Named], directories: str, commit: str, data_path: str) -> list[str]:
    """`files` in full; one in a directory that neither the catalog nor `commit` names is left out."""
    tables, schemas = _new(commit)
    for line in directories.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "t":
            number, of, relative, path = rest.split(" ", 3)
            tables[int(number)] = (int(of), relative == "true", path)
        elif kind == "s":
            number, relative, path = rest.split(" ", 2)
            schemas[int(number)] = (relative == "true", path)
    found = []
    for each in files:
        if not each.relative:
            found.append(each.path)
        elif each.table in tables:
            schema, in_schema, path = tables[each.table]
            if not in_schema:
                found.append(path + each.path)
            elif schema in schemas:
                in_data, above = schemas[schema]
                found.append((data_path if in_data else "") + above + path + each.path)
    return found


async def refuse_missing(found: Sequence[str], missing: Missing) -> None:
    """Raises `StatementError` when one of the paths is not there."""
    if gone := await asyncio.to_thread(missing, found):
        more = f", and {len(gone) - 1} more" if len(gone) > 1 else ""
        raise StatementError(
            f"The transaction was not committed: the file {gone[0]} that it wrote is gone{more}. Nothing was "
            "changed: roll back, and run it again"
        )


def _new(commit: str) -> tuple[dict[int, tuple[int, bool, str]], dict[int, tuple[bool, str]]]:
    """The tables and schemas that the commit makes."""
    commit = without_names(commit)
    tables = {
        int(number): (int(schema), relative == "true", _plain(path))
        for rows in _NEW_TABLES.findall(commit)
        for number, schema, _, path, relative in _TABLE.findall(rows)
    }
    schemas = {
        int(number): (relative == "true", _plain(path))
        for rows in _NEW_SCHEMAS.findall(commit)
        for number, _, path, relative in _SCHEMA.findall(rows)
    }
    return tables, schemas


def _young(path: str, now: float) -> bool:
    match = _UUID.search(path.rpartition("/")[2])
    return match is not None and 0 <= now - int(match[1] + match[2], 16) / 1000 <= YOUNG


def _plain(text: str) -> str:
    return text.replace("''", "'")
