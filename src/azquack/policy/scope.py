"""What the names of a session mean: where DuckDB looks for a bare one, and where it finds it.

A session that is as its login left it finds a bare name in the lake's schema `main`. One that made something temporary
or used another schema may find it elsewhere; then its node is asked, in the session itself: `question`, `answer`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from azquack.principals.principal import folded
from azquack.sql import literal

Kind = Literal["table", "function"]
Asked = tuple[Kind, str]
SYSTEM = "system"
MAIN = "main"
TEMP = "temp"


@dataclass(frozen=True, slots=True)
class Scope:
    """Where the names of a session stand; all of them folded.

    `schema` is the lake's schema in use. `untouched` says that the session found everything as its login left it.
    `asked` are the names that were looked up, `found` the catalog, schema and kind of those that are there.
    """

    schema: str = MAIN
    untouched: bool = True
    asked: frozenset[Asked] = frozenset()
    found: frozenset[tuple[Kind, str, str, str]] = frozenset()

    @property
    def path(self) -> tuple[str, ...]:
        """The schemas of the lake in which DuckDB looks for a bare name."""
        return tuple(dict.fromkeys((self.schema, MAIN)))

    def place(
        self, kind: Kind, name: str, path: tuple[str, ...], lake: str, *, own: bool = True
    ) -> tuple[str, str] | None:
        """Catalog and schema of a bare `name` that is looked for in `path`; None when its node must be asked.

        Without `own` it can be nothing that the session alone has.
        """
        if self.untouched and path == (MAIN,):
            return lake, MAIN
        if (kind, name) not in self.asked:
            return None
        if own and (kind, TEMP, MAIN, name) in self.found:
            return TEMP, MAIN
        return lake, next((each for each in path if (kind, lake, each, name) in self.found), path[0])


def question(lake: str, asked: Iterable[Asked]) -> str:
    """The statement by which a session tells its schema, and where the names in `asked` stand."""
    tables = ", ".join(literal(name) for kind, name in sorted(asked) if kind == "table")
    macros = ", ".join(literal(name) for kind, name in sorted(asked) if kind == "function")
    parts = [
        f"SELECT 'table' k, database_name d, schema_name s, {column} n FROM system.main.duckdb_{what}() "
        f"WHERE system.main.lower({column}) IN ({tables})"
        for what, column in (("tables", "table_name"), ("views", "view_name"))
        if tables
    ]
    if macros:
        parts.append(
            "SELECT DISTINCT 'function' k, database_name d, schema_name s, function_name n "
            "FROM system.main.duckdb_functions() "
            f"WHERE system.main.lower(function_name) IN ({macros})"
        )
    found = " UNION ALL ".join(parts)
    return (
        "SELECT system.main.concat_ws('|', system.main.hex(system.main.current_schema()), (SELECT "
        "system.main.string_agg(k || ',' || system.main.hex(d) || ',' || system.main.hex(s) || ',' || "
        f"system.main.hex(n), '|') FROM ({found}) WHERE d IN ('{TEMP}', {literal(lake)})))"
    )


def answer(text: str, asked: Iterable[Asked]) -> Scope:
    """The scope that a session told with `text` when it was asked for `asked`."""
    schema, *lines = text.split("|")
    found = []
    for line in lines:
        kind, *names = line.split(",")
        catalog, where, name = (folded(bytes.fromhex(each).decode()) for each in names)
        found.append(("function" if kind == "function" else "table", catalog, where, name))
    return Scope(folded(bytes.fromhex(schema).decode()), False, frozenset(asked), frozenset(found))  # type: ignore[arg-type]
