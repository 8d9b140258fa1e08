"""What may be named how: the one rule for everything that gets a name, in every statement, session and role."""

from __future__ import annotations

import re
from typing import Literal

from azquack.policy.errors import Refused
from azquack.policy.functions import Functions
from azquack.principals.principal import folded

What = Literal["table", "view", "macro", "schema", "column"]

LONGEST = 128
# Where a name that is no column may stand, these make something else of it: a path, a file, a pattern, a quote.
SIGNS = frozenset("./\\:*?[]{}'\"`;")
# Names of catalogs and schemas of DuckDB's own; `recurring` is what a recursive CTE reads.
_CATALOGS = frozenset({"temp", "system", "memory", "information_schema", "pg_catalog", "recurring"})
_PREFIXES = ("duckdb_", "ducklake_", "pg_", "sqlite_", "pragma_", "__duckdb", "__ducklake")
_MACRO = re.compile(r"[^\W\d]\w*")


def refuse_name(what: What, name: str, lake: str, functions: Functions) -> None:
    """Raises `Refused` with the reason when nothing may be called `name`, which is a `what`, from now on."""
    if not name.strip():
        raise Refused(f"a {what} needs a name that is not empty")
    if len(name) > LONGEST:
        raise Refused(f"the name of a {what} may have {LONGEST} characters at most")
    if not name.isprintable():
        raise Refused(f"the name of a {what} may not hold characters that cannot be seen")
    if what == "column":
        return
    own = folded(name)
    if signs := SIGNS.intersection(name):
        raise Refused(f"the name of a {what} may not hold {min(signs)}: {name}")
    if name != name.strip():
        raise Refused(f"the name of a {what} may not begin or end with a blank")
    if own in _CATALOGS or own == lake or own.startswith(_PREFIXES):
        raise Refused(f"the name {own} is DuckDB's own, or begins like one: choose another for the {what}")
    if own in functions.file_endings and what != "macro":
        raise Refused(f"the name {own} reads like the ending of a file: choose another for the {what}")
    if what == "macro" and own in functions.known:
        raise Refused(f"the name {own} is a function's already: choose another for the macro")
    if what == "macro" and not _MACRO.fullmatch(name):
        raise Refused(f"the name of a macro holds letters, digits and _ only: {name}")


def is_plain(name: str, lake: str, functions: Functions) -> bool:
    """Whether a table or schema could get `name` today; one that exists and could not is for an administrator."""
    try:
        refuse_name("table", name, lake, functions)
    except Refused:
        return False
    return True
