"""What the files of a lake are like, wherever DuckDB can read, for a commit that names them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import duckdb

from azquack.errors import StatementError
from azquack.lake import doubles
from azquack.sql import first_line

# By its full name, since a bare one is sought in the lake first.
_LOOK = "SELECT count(*) FROM system.main.glob(?)"


def missing(cursor: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> list[str]:
    """Those of `paths` that are not there. Raises `StatementError` when the storage does not say."""
    local = [each for each in paths if "://" not in each]
    gone = [each for each in local if not Path(each).exists()]
    remote = [each for each in paths if "://" in each]
    if remote and not gone and not _there(cursor, remote):
        gone = [each for each in remote if not _there(cursor, [each])]
    return gone


def largest(cursor: duckdb.DuckDBPyConnection, path: str, columns: Collection[int]) -> float:
    """The largest number in these columns of `path`. Raises `StatementError` when nobody can tell.

    Of an encrypted file nothing is known: 0.
    """
    try:
        return doubles.largest(cursor, path, columns)
    except duckdb.Error as error:
        if "encrypted" in str(error):
            return 0.0
        raise StatementError(
            f"The transaction was not committed: its files cannot be read: {first_line(error)}"
        ) from None


def _there(cursor: duckdb.DuckDBPyConnection, paths: list[str]) -> bool:
    """Whether all of `paths` are there."""
    try:
        rows = cursor.execute(_LOOK, [[_pattern(each) for each in paths]]).fetchall()
    except duckdb.Error as error:
        raise StatementError(
            f"The transaction was not committed: its files cannot be looked for: {first_line(error)}"
        ) from None
    return bool(rows[0][0] >= len(paths))


def _pattern(path: str) -> str:
    """A pattern that `path` alone matches: a plain path DuckDB takes for there, on `az://`, without asking."""
    escaped = "".join(f"[{each}]" if each in "*?[" else each for each in path[:-1])
    return f"{escaped}[{path[-1]}]"
