"""DuckDB as a parser: a locked instance of its own that holds no data and runs no user's statement."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import dataclass
from typing import Any

import duckdb

from azquack.sql import literal
from azquack.wall import LONG
from azquack.wall.errors import Unclear

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "64MB",
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
}
# DuckDB takes these for blanks before it parses, one for one.
_WIDE_SPACE = re.compile("[\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff]")
# DuckDB's lexer needs a time that grows with the square of how deep comments nest: minutes for 100 kB.
_DEEPEST_COMMENT = 32
_BLANK = " \t\r\n\f;"


@dataclass(frozen=True, slots=True)
class Parsed:
    """One statement of a text: DuckDB's name of its kind, and its text as DuckDB will run it."""

    kind: str
    sql: str


class _Shared:
    """A connection that one thread uses at a time."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        # The optimizer makes nothing of a constant call but costs ten times the call itself.
        connection.execute("PRAGMA disable_optimizer")
        self._connection = connection
        self._lock = threading.Lock()

    def __enter__(self) -> duckdb.DuckDBPyConnection:
        self._lock.acquire()
        return self._connection

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class Parser:
    """Statements and trees from DuckDB itself. Safe to share between threads."""

    def __init__(self) -> None:
        self._duckdb = duckdb.connect(":memory:", config=_CONFIG)
        # Long texts have a connection of their own, so that short ones need not wait for them.
        self._short, self._long = _Shared(self._duckdb), _Shared(self._duckdb.cursor())
        self._duckdb.execute("SET lock_configuration = true")
        words = self._duckdb.execute(
            "SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'"
        ).fetchall()
        self.reserved = frozenset(str(word) for (word,) in words)

    def close(self) -> None:
        self._duckdb.close()

    def _connection(self, sql: str) -> _Shared:
        return self._long if len(sql) > LONG else self._short

    def statements(self, sql: str) -> list[Parsed]:
        """What `sql` is made of; the parts of a PIVOT without values come with an empty text.

        Raises `Unclear` where DuckDB cannot parse it, with DuckDB's own message, and where it makes other
        statements of the text (a PRAGMA): the texts that it then tells are not always what it runs.
        """
        try:
            sql.encode()
        except UnicodeEncodeError:
            raise Unclear("the statement is no valid UTF-8") from None
        if "\0" in sql:
            raise Unclear("the statement holds a NUL character")
        if _comment_depth(sql) > _DEEPEST_COMMENT:
            raise Unclear("the comments are nested too deeply")
        try:
            with self._connection(sql) as connection:
                found = connection.extract_statements(sql)
        except duckdb.Error as error:
            raise Unclear(str(error)) from None
        parts = [Parsed(statement.type.name, statement.query) for statement in found]
        if all(part.sql for part in parts) and not _covers(sql, parts):
            raise Unclear("the statement cannot be checked: PRAGMAs are not allowed, use SELECT")
        return parts

    def tree(self, sql: str) -> dict[str, Any]:
        """The tree of `sql`, which must be exactly one SELECT (or FROM, VALUES, TABLE, DESCRIBE, SHOW …).

        Source: https://duckdb.org/docs/stable/data/json/sql_to_and_from_json. Raises `Unclear`.
        """
        try:
            with self._connection(sql) as connection:
                # No parameter: for one, DuckDB's Python would import pandas and pyarrow wherever they are.
                row = connection.execute(f"SELECT json_serialize_sql({literal(sql)})").fetchone()
            made: dict[str, Any] = (
                json.loads(row[0]) if row else {"error": True, "error_message": "no answer"}
            )
        except RecursionError:
            raise Unclear("the statement is nested too deeply to be checked") from None
        except duckdb.Error as error:
            raise Unclear(f"the statement is too large to be checked: {error}") from None
        if made["error"]:
            raise Unclear(f"the statement cannot be checked: {made['error_message']}")
        if len(made["statements"]) != 1:
            raise Unclear("the statement cannot be checked: it is not a single query")
        tree: dict[str, Any] = made["statements"][0]["node"]
        return tree


def _covers(sql: str, parts: list[Parsed]) -> bool:
    """Whether `parts`, one after the other, are all of `sql`."""
    rest = _WIDE_SPACE.sub(" ", sql).lstrip(_BLANK)
    for part in parts:
        text = _WIDE_SPACE.sub(" ", part.sql).lstrip(_BLANK)
        if not rest.startswith(text):
            return False
        rest = rest[len(text) :].lstrip(_BLANK)
    # A comment may follow: DuckDB has parsed it too and made no statement of it.
    return not parts or not rest or rest.startswith(("--", "/*"))


def _comment_depth(sql: str) -> int:
    """How deep block comments nest at most; too high where a string holds their signs, never too low."""
    depth = deepest = 0
    for sign in re.finditer(r"/\*|\*/", sql):
        depth = depth + 1 if sign[0] == "/*" else max(depth - 1, 0)
        deepest = max(deepest, depth)
    return deepest
