"""What azd makes of a `.bicepparam` file: the parameters of a deployment, from its environment.

azd runs `bicep build-params` with its environment's values as variables. Without a compiler the same rules are
applied here to the few shapes that our files have; `test_parameters.py` holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_PARAMETER = re.compile(r"^param (\w+) = (.+(?:\n  .+)*)", re.MULTILINE)
_READ = r"readEnvironmentVariable\('(\w+)'(?:, '([^']*)')?\)"
_PLAIN = re.compile(_READ)
_EMPTY = re.compile(rf"(?:(bool|int)\()?empty\({_READ}\)\s*\? (.+?)\s*: {_READ}\)?")
_BOOLEANS = {"true": True, "false": False}


class ParameterError(Exception):
    """The compiler would stop."""


def evaluate(path: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """The parameters that `path` gives in `environment`. Raises `ParameterError` where the compiler stops."""
    text = path.read_text(encoding="utf-8")
    return {name: _value(name, expression, environment) for name, expression in _PARAMETER.findall(text)}


def variables(path: Path) -> set[str]:
    """The names of all variables that `path` reads."""
    return {name for name, _ in re.findall(_READ, path.read_text(encoding="utf-8"))}


def defaults(path: Path) -> dict[str, str]:
    """variable → what counts when it is not set, for those that have such a value."""
    found = {}
    for _, expression in _PARAMETER.findall(path.read_text(encoding="utf-8")):
        if (match := _EMPTY.fullmatch(expression)) and match[4].startswith("'"):
            found[match[2]] = match[4].strip("'")
    return found


def _value(name: str, expression: str, environment: Mapping[str, str]) -> Any:
    if match := _PLAIN.fullmatch(expression):
        return _read(match[1], match[2], environment)
    match = _EMPTY.fullmatch(expression)
    assert match, f"{name}: this shape is not known here: {expression}"
    kind, tested, otherwise, chosen = match[1], match[2], match[4], match[5]
    value = environment.get(tested) or (
        otherwise.strip("'") if otherwise.startswith("'") else _value(name, otherwise, environment)
    )
    assert chosen == tested or otherwise.startswith("readEnvironmentVariable"), name
    if kind == "bool":
        if value.lower() not in _BOOLEANS:
            raise ParameterError(f"{name}: {value!r} is no boolean")
        return _BOOLEANS[value.lower()]
    if kind == "int":
        if not re.fullmatch(r"\s*[+-]?\d+\s*", value):
            raise ParameterError(f"{name}: {value!r} is no number")
        return int(value)
    return value


def _read(variable: str, default: str | None, environment: Mapping[str, str]) -> str:
    if variable not in environment and default is None:
        raise ParameterError(f"{variable} is not set")
    return environment.get(variable, default or "")
