"""DuckDB as a parser: a locked instance of its own that holds no data and runs no user's statement."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from azquack.patterns import re
from azquack.policy.errors import Refused, Unclear, Unparsed
from azquack.policy.lexer import WIDE_SPACE
from azquack.policy.shape import NAME_CHARACTERS, SMALL, measured, thinned
from azquack.sql import literal

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": "64MB",
    "enable_external_access": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "python_enable_replacements": False,
    # Else trees are made as an old DuckDB would read them, and newer forms have none.
    "storage_compatibility_version": "latest",
}
_BLANKS = re.compile(r"[ \t\r\n\f;]*+")
# DuckDB names the class of an error before its message; its server sends the message alone.
_CLASS = re.compile(r"[A-Z][A-Za-z ]{1,40}: ")
_LAMBDA = re.compile(r"\b(?:lambda|for)\b", re.IGNORECASE)
_ARROW = re.compile(r"\(\(?(\w+(?:, \w+)*)\)? -> ")


@dataclass(frozen=True, slots=True)
class Parsed:
    """One statement of a text: DuckDB's name of its kind, and its text as DuckDB will run it.

    `split` says that it is a PIVOT without values, of which DuckDB makes several statements.
    """

    kind: str
    sql: str
    split: bool = False


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
        return self._long if len(sql) > SMALL else self._short

    def statements(self, sql: str) -> list[Parsed]:
        """What `sql` is made of; the parts of a PIVOT without values come with an empty text.

        Raises `Unparsed` where DuckDB cannot parse it, `Refused` where its shape goes beyond the bounds, and `Unclear`
        where DuckDB makes other statements of the text (a PRAGMA): the texts that it then tells are not always what
        it runs.
        """
        measured(sql)
        try:
            with self._connection(sql) as connection:
                found = connection.extract_statements(sql)
        except duckdb.PermissionException:
            # To parse it, DuckDB would read the files.
            raise Refused("IMPORT DATABASE is not allowed") from None
        except duckdb.Error as error:
            raise Unparsed(_CLASS.sub("", str(error), count=1)) from None
        parts = [Parsed(statement.type.name, statement.query) for statement in found]
        if all(part.sql for part in parts) and not _covers(sql, parts):
            raise Refused("a PRAGMA is not allowed: use SELECT")
        return parts

    def pragma(self, sql: str) -> str:
        """The query that the one PRAGMA `sql` stands for. Raises `Unparsed`; `Refused` where it is none."""
        measured(sql)
        try:
            with self._connection(sql) as connection:
                found = connection.extract_statements(sql)
        except duckdb.Error as error:
            raise Unparsed(_CLASS.sub("", str(error), count=1)) from None
        if len(found) != 1 or found[0].type.name != "SELECT":
            raise Refused("a PRAGMA is not allowed that does more than list something: use SELECT")
        return str(found[0].query)

    def own_views(self) -> dict[tuple[str, str], str]:
        """The queries of DuckDB's own views, by schema and name."""
        with self._short as connection:
            rows = connection.execute(
                "SELECT schema_name, view_name, sql FROM duckdb_views() WHERE internal"
            ).fetchall()
        return {(schema, name): sql.partition(" AS ")[2].rstrip(";") for schema, name, sql in rows}

    def tree(self, sql: str) -> dict[str, Any]:
        """The tree of `sql`, which must be exactly one SELECT (or FROM, VALUES, TABLE, DESCRIBE, SHOW …).

        Long lists of literals are left out of it; locations in it count as in `sql`. Source:
        https://duckdb.org/docs/stable/data/json/sql_to_and_from_json. Raises `Refused`.
        """
        thin = thinned(sql)
        try:
            with self._connection(thin) as connection:
                # No parameter: for one, DuckDB's Python would import pandas and pyarrow wherever they are.
                row = connection.execute(f"SELECT json_serialize_sql({literal(thin)})").fetchone()
            made: dict[str, Any] = (
                json.loads(row[0]) if row else {"error": True, "error_message": "no answer"}
            )
        except RecursionError:
            raise Unclear("the statement is nested too deeply to be checked") from None
        except duckdb.Error:
            raise Unclear(
                "the statement names too much to be checked: split it, or load the values into a table"
            ) from None
        if made["error"]:
            raise Unclear(f"the statement cannot be checked: {made['error_message'].rstrip('.!')}")
        if len(made["statements"]) != 1:
            raise Unclear("the statement cannot be checked: it is not a single query")
        tree: dict[str, Any] = made["statements"][0]["node"]
        return tree

    def column_names(self, expressions: Sequence[str]) -> list[str | None]:
        """What DuckDB calls the columns that `expressions` make, each of which stands as in a SELECT list.

        None where it has a name of its own already, becomes several columns, cannot be read, or is so long that nobody
        calls it by its name. All are asked for at once: a call costs as much as reading many of them.
        """
        names: list[str | None] = [None] * len(expressions)
        asked = [at for at, each in enumerate(expressions) if len(each) <= NAME_CHARACTERS]
        if not asked:
            return names
        rows = ", ".join("(" + literal(f"SELECT\n{expressions[at]}") + ")" for at in asked)
        try:
            with self._connection(rows) as connection:
                found = connection.execute(
                    "SELECT tree, CASE WHEN tree ->> '$.error' = 'false' THEN json_deserialize_sql(tree) END "
                    f"FROM (SELECT json_serialize_sql(text) AS tree FROM (VALUES {rows}) asked(text))"
                ).fetchall()
        except duckdb.Error:
            return names
        for at, (made, written) in zip(asked, found, strict=True):
            names[at] = _column_name(expressions[at], made, written)
        return names


def _column_name(expression: str, made: str, written: str | None) -> str | None:
    try:
        (each,) = json.loads(made)["statements"][0]["node"]["select_list"]
    except (RecursionError, KeyError, ValueError):
        return None
    if written is None or each["alias"] or _is_many(each):
        return None
    if each["class"] == "COLUMN_REF":
        return str(each["column_names"][-1])
    name = written.removeprefix("SELECT ")
    # The tree does not say how a lambda was written, and DuckDB writes what it reads from one in the older way.
    return _ARROW.sub(r"(lambda \1: ", name) if _LAMBDA.search(expression) else name


def _is_many(expression: dict[str, Any]) -> bool:
    """Whether an expression of a SELECT list may become several columns."""
    todo: list[Any] = [expression]
    while todo:
        each = todo.pop()
        if isinstance(each, list):
            todo += each
        elif isinstance(each, dict) and each.get("class") == "STAR":
            return True
        elif isinstance(each, dict) and each.get("class") != "SUBQUERY":
            todo += each.values()
    return False


def _covers(sql: str, parts: list[Parsed]) -> bool:
    """Whether `parts`, one after the other, are all of `sql`."""
    whole = WIDE_SPACE.sub(" ", sql)
    at = _skip_blanks(whole, 0)
    for part in parts:
        text = WIDE_SPACE.sub(" ", part.sql)
        text = text[_skip_blanks(text, 0) :]
        if not whole.startswith(text, at):
            return False
        at = _skip_blanks(whole, at + len(text))
    # A comment may follow: DuckDB has parsed it too and made no statement of it.
    return not parts or at == len(whole) or whole.startswith(("--", "/*"), at)


def _skip_blanks(text: str, at: int) -> int:
    match = _BLANKS.match(text, at)
    return match.end() if match else at
