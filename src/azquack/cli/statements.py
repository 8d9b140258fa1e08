"""A text of SQL as `azquack sql` sends it: statement by statement, its parameters filled in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import NamedTuple

import duckdb

from azquack.errors import SettingError
from azquack.sql import literal

_OPERATOR = duckdb.token_type.operator
# A token reaches to the next one, over blanks and comments.
_WORD = re.compile(r"\w*")
_NUMBERED = re.compile(r"\$(\d+)")
_NAMES = (duckdb.token_type.identifier, duckdb.token_type.keyword)


class _Token(NamedTuple):
    """One token of DuckDB's lexer; `text` reaches to the next one."""

    kind: object
    text: str


def statements(text: str, parameters: Mapping[str, str]) -> list[str]:
    """The statements of `text`, with each `$name` replaced by the value of `parameters`, as a quoted literal.

    Raises `SettingError` for a parameter without a value, for a value that no parameter needs, and for what is no text.
    """
    try:
        "".join((text, *parameters.values())).encode()
    except UnicodeEncodeError:
        raise SettingError("the SQL, or the value of a parameter, is no valid UTF-8") from None
    made, current, used = [], "", set()
    tokens = list(_tokens(text))
    skip = False
    for token, after in pairwise([*tokens, _Token(None, "")]):
        if skip:
            skip = False
        elif token.kind == _OPERATOR and token.text.startswith(";"):
            made.append(current)
            current = token.text[1:]
        elif name := _parameter(token, after):
            if name not in parameters:
                raise SettingError(f"the parameter ${name} has no value: give --param {name}=VALUE")
            used.add(name)
            skip = token.text == "$"
            whole = token.text + after.text if skip else token.text
            current += literal(parameters[name]) + whole[1 + len(name) :]
        else:
            current += token.text
    if unused := sorted(parameters.keys() - used):
        raise SettingError(f"--param {unused[0]} is given, and the text has no ${unused[0]}")
    return [each.strip() for each in (*made, current) if _says_something(each)]


def _tokens(text: str) -> Iterator[_Token]:
    raw = text.encode()
    found = duckdb.tokenize(text)
    if found and found[0][0]:
        yield _Token(None, raw[: found[0][0]].decode())
    ends = [start for start, _ in found[1:]] + [len(raw)] * bool(found)
    for (start, kind), end in zip(found, ends, strict=True):
        yield _Token(kind, raw[start:end].decode())


def _parameter(token: _Token, after: _Token) -> str:
    """The name of the parameter that begins with `token`; '' where none does. Raises `SettingError` for a `?`."""
    if token.kind != _OPERATOR:
        return ""
    if token.text.startswith("?"):
        raise SettingError("a parameter needs a name here: write $name for ?, and give --param name=VALUE")
    if token.text == "$" and after.kind in _NAMES:
        return _WORD.match(after.text)[0]  # type: ignore[index]
    number = _NUMBERED.match(token.text)
    return number[1] if number else ""


def _says_something(statement: str) -> bool:
    return bool(duckdb.tokenize(statement))
