"""Whether files of a lake are there, wherever DuckDB can read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import duckdb

from azquack.errors import StatementError
from azquack.sql import first_line

# What DuckDB and its extensions say of a file that is not there.
_GONE = ("No files found", "No such file", "404", "NotFound", "Not Found", "does not exist")
# By its full name, since a bare one is sought in the lake first.
_LOOK = "SELECT size FROM system.main.read_blob(?)"


def missing(cursor: duckdb.DuckDBPyConnection, paths: Sequence[str]) -> list[str]:
    """Those of `paths` that are not there. Raises `StatementError` when the storage does not say."""
    local = [each for each in paths if "://" not in each]
    gone = [each for each in local if not Path(each).exists()]
    remote = [each for each in paths if "://" in each]
    if remote and not gone and not _there(cursor, remote):
        gone = [each for each in remote if not _there(cursor, [each])]
    return gone


def _there(cursor: duckdb.DuckDBPyConnection, paths: list[str]) -> bool:
    try:
        cursor.execute(_LOOK, [paths]).fetchall()
    except duckdb.Error as error:
        if any(sign in str(error) for sign in _GONE):
            return False
        raise StatementError(
            f"The transaction was not committed: its files cannot be looked for: {first_line(error)}"
        ) from None
    return True
