"""Options of DuckLake that may be set: those that do not end the node."""

from __future__ import annotations

import re

from azquack.wall.errors import Refused
from azquack.wall.lexer import Text

_CALLED = frozenset({"set_option", "ducklake_set_option"})
_STRING = r"'(?:[^']|'')*'"
_CONSTANT = rf"(?:{_STRING}|-?\d+(?:\.\d+)?|true|false|null)(?:\s*::\s*\w+)?"
_OPTION = re.compile(
    rf"\s*call\s+[\w.\"]+\s*\(\s*(?:{_STRING}\s*,\s*(?={_STRING}))?(?P<key>{_STRING})\s*,\s*(?P<value>{_CONSTANT})"
    rf"(?P<scope>(?:\s*,\s*\w+\s*(?:=>|:=)\s*{_CONSTANT})*)\s*\)\s*;?\s*",
    re.IGNORECASE,
)
_INLINING = "data_inlining_row_limit"


def refuse_deadly_option(text: Text) -> None:
    """Raises `Refused` for a CALL of `set_option` that would end the node once the lake holds a view.

    DuckLake 1.5.5 takes every view for a table where it checks `data_inlining_row_limit` for a lake or a schema.
    """
    if not any(token.name in _CALLED for token in text.tokens):
        return
    found = _OPTION.fullmatch(text.sql)
    if found is None:
        raise Refused("an option of the lake is set with constants: CALL lake.set_option('name', value)")
    zero = re.fullmatch(r"'?0+'?(?:\s*::\s*\w+)?", found["value"]) is not None
    on_table = re.search(r"\btable_name\s*(?:=>|:=)\s*'", found["scope"], re.IGNORECASE) is not None
    if found["key"].lower() == f"'{_INLINING}'" and not zero and not on_table:
        raise Refused(
            "data_inlining_row_limit for the lake or a schema ends the node once there is a view: set it with "
            "table_name => 'TABLE', or for the whole lake with AZQUACK_INLINING_LIMIT"
        )
