"""Options of DuckLake that may be set: those that neither end the node nor have writes of the whole lake fail."""

from __future__ import annotations

import re

from azquack.policy.errors import Refused
from azquack.policy.lexer import Text

_CALLED = frozenset({"set_option", "ducklake_set_option"})
_STRING = r"'(?:[^']|'')*'"
_CONSTANT = rf"(?:{_STRING}|-?\d+(?:\.\d+)?|true|false|null)(?:\s*::\s*\w+)?"
_OPTION = re.compile(
    rf"\s*call\s+[\w.\"]+\s*\(\s*(?:{_STRING}\s*,\s*(?={_STRING}))?(?P<key>{_STRING})\s*,\s*(?P<value>{_CONSTANT})"
    rf"(?P<scope>(?:\s*,\s*\w+\s*(?:=>|:=)\s*{_CONSTANT})*)\s*\)\s*;?\s*",
    re.IGNORECASE,
)
_INLINING = "data_inlining_row_limit"
_ROW_GROUP_BYTES = "parquet_row_group_size_bytes"
_FILE_SIZE = "target_file_size"


def refuse_harmful_option(text: Text) -> None:
    """Raises `Refused` for a CALL of `set_option` that would end the node, or have writes of the whole lake fail.

    DuckLake 1.5.5 takes every view for a table where it checks `data_inlining_row_limit` for a lake or a schema. It
    takes any size in bytes, and no writer of ours gives up the order of rows, which such a size needs.
    """
    if not any(token.name in _CALLED for token in text.tokens):
        return
    found = _OPTION.fullmatch(text.sql)
    if found is None:
        raise Refused("an option of the lake is set with constants: CALL lake.set_option('name', value)")
    key = found["key"].lower().strip("'")
    zero = re.fullmatch(r"'?0+'?(?:\s*::\s*\w+)?", found["value"]) is not None
    on_table = re.search(r"\btable_name\s*(?:=>|:=)\s*'", found["scope"], re.IGNORECASE) is not None
    if key == _ROW_GROUP_BYTES:
        raise Refused(
            f"{_ROW_GROUP_BYTES} would have writes of the whole lake fail: set parquet_row_group_size"
        )
    if key == _FILE_SIZE and found["value"].strip("' ").startswith("-"):
        raise Refused(
            f"a negative {_FILE_SIZE} would have writes of the whole lake fail: set one like '100MB'"
        )
    if key == _INLINING and not zero and not on_table:
        raise Refused(
            "data_inlining_row_limit for the lake or a schema ends the node once there is a view: set it with "
            "table_name => 'TABLE', or for the whole lake with AZQUACK_INLINING_LIMIT"
        )
