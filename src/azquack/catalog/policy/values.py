"""The rules of the grammar that nest: values, types, conditions and sort keys.

Each takes a text and a place in it, and gives the place behind what it knows, or -1. None of them recurses, so no
depth can exhaust the stack, and each looks at a character a bounded number of times.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from azquack.patterns import re

Rule = Callable[[str, int], int]

TEXT = r"'[^']*+(?:''[^']*+)*+'"
NUMBER = r"-?\d++(?:\.\d++)?+(?:e[+-]?\d++)?+"
_NAME = r'(?:"[^"]++(?:""[^"]*+)*+"|[A-Za-z_][A-Za-z0-9_]*+)'
# The names of DuckDB's types as `LogicalType::ToString` writes them.
_PLAIN_TYPE = (
    r"(?:BOOLEAN|TINYINT|SMALLINT|INTEGER|BIGINT|HUGEINT|UTINYINT|USMALLINT|UINTEGER|UBIGINT|UHUGEINT|FLOAT|DOUBLE|"
    r"DECIMAL\(\d++, ?\d++\)|TIMESTAMP WITH TIME ZONE|TIME WITH TIME ZONE|TIMESTAMP_NS|TIMESTAMP_MS|TIMESTAMP_S|"
    rf"TIMESTAMP|TIME_NS|TIME|DATE|INTERVAL|VARCHAR|BLOB|UUID|JSON|VARIANT|BIT|BIGNUM|GEOMETRY(?:\({TEXT}\))?+|"
    rf'ENUM\({TEXT}(?:, {TEXT})*+\)|"NULL")'
)
_BRACKETS = r"(?:\[\d*+\])*+"
SCALAR = (
    rf"(?:NULL|true|false|{NUMBER}|{TEXT}(?:::{_PLAIN_TYPE})?+|CAST\({TEXT} AS {_PLAIN_TYPE}\)|"
    rf"CONCAT\((?:{TEXT}|chr\(0\)|, )++\))"
)
ROWS = 64  # so many at once: a match cannot be interrupted, and others wait for it

_SCALAR = re.compile(SCALAR)
_OPEN = re.compile(r"MAP\(|\[|\{|\(")
_CLOSING = {"MAP(": ")", "[": "]", "{": "}", "(": ")"}
_COMMA = re.compile(r",[ \n]*+")
_KEY = re.compile(rf"{TEXT}: ")
_ROW = rf"\(-?\d++, \d++, NULL(?:, {SCALAR})++\)"
_FLAT_ROWS = re.compile(rf"{_ROW}(?:, {_ROW}){{0,{ROWS}}}+")
_ROW_HEAD = re.compile(r"\(-?\d++, \d++, NULL, ")

_TYPE = re.compile(_PLAIN_TYPE)
_TYPE_END = re.compile(_BRACKETS)
_FIELD = re.compile(_NAME + " ")

_STAT = rf"(?:(?:min|max)_value|TRY_CAST\((?:min|max)_value AS {_PLAIN_TYPE}\))"
_CONSTANT = rf"(?:{NUMBER}|{TEXT})"
_ATOM = re.compile(
    rf"(?:null_count > 0|value_count > 0|contains_nan|NOT \({_STAT} = {_CONSTANT} AND {_STAT} = {_CONSTANT}\)|"
    rf"{_CONSTANT} BETWEEN {_STAT} AND {_STAT}|{_STAT} (?:>=|<=|>|<) {_CONSTANT})(?: OR contains_nan)?+"
)
_FLAT_CONDITION = re.compile(rf"\({_ATOM.pattern}\)(?: OR \({_ATOM.pattern}\)){{1,{ROWS}}}+")
_JOIN = re.compile(r" (?:OR|AND) ")

_SORT_END = re.compile(r"row_id ASC NULLS LAST, begin_snapshot ASC NULLS LAST")
_SORT_TOKEN = re.compile(
    rf"(?P<literal>{TEXT}|\d[\w.]*+)|(?P<call>{_NAME}) ?\(|(?P<name>{_NAME})(?!')|"
    r"(?P<open>[(\[{])|(?P<close>[)\]}])|-(?!-)|/(?!\*)|&(?!')|[+*%|<>=!~^@.,:? ]"
)
_NO_EXPRESSION = re.compile(
    r"(?:select|from|with|values|table|union|intersect|except|join|where|insert|update|delete|call|pragma)",
    re.IGNORECASE,
)
_BEFORE_PARENTHESIS = re.compile(
    r"(?:and|or|not|in|is|as|case|when|then|else|between|like|ilike|cast|try_cast|decimal|numeric|struct|map)",
    re.IGNORECASE,
)


def type_(text: str, at: int) -> int:
    """A type, however nested."""
    closers: list[str] = []
    while True:
        if text.startswith("STRUCT(", at):
            closers.append("STRUCT")
            at += 7
            if not text.startswith(")", at):
                if (field := _FIELD.match(text, at)) is None:
                    return -1
                at = field.end()
                continue
        elif text.startswith("MAP(", at):
            closers.append("MAP")
            at += 4
            continue
        elif plain := _TYPE.match(text, at):
            at = _ends_type(text, plain.end())
        else:
            return -1
        while closers and text.startswith(")", at):
            closers.pop()
            at = _ends_type(text, at + 1)
        if not closers:
            return at
        if (comma := _COMMA.match(text, at)) is None:
            return -1
        at = comma.end()
        if closers[-1] == "STRUCT":
            if (field := _FIELD.match(text, at)) is None:
                return -1
            at = field.end()


def _ends_type(text: str, at: int) -> int:
    end = _TYPE_END.match(text, at)
    return end.end() if end else at


def value(text: str, at: int) -> int:
    """A value as DuckLake writes the rows that it keeps in the catalog: no function but MAP, CONCAT and chr(0)."""
    closers: list[str] = []
    while True:
        if scalar := _SCALAR.match(text, at):
            at = scalar.end()
        elif opened := _OPEN.match(text, at):
            closers.append(_CLOSING[opened[0]])
            at = opened.end()
            if not text.startswith(closers[-1], at):
                if closers[-1] == "}" and (at := _after_key(text, at)) < 0:
                    return -1
                continue
        else:
            return -1
        while closers and text.startswith(closers[-1], at):
            closers.pop()
            at += 1
        if not closers:
            return at
        if (comma := _COMMA.match(text, at)) is None:
            return -1
        at = comma.end()
        if closers[-1] == "}" and (at := _after_key(text, at)) < 0:
            return -1


def _after_key(text: str, at: int) -> int:
    key = _KEY.match(text, at)
    return key.end() if key else -1


def inlined_rows(text: str, at: int) -> int:
    """Rows for a table of inlined data: their id, their snapshot, NULL, and the user's values."""
    while True:
        if flat := _FLAT_ROWS.match(text, at):
            at = flat.end()
        elif (at := _nested_row(text, at)) < 0:
            return -1
        if (comma := _COMMA.match(text, at)) is None:
            return at
        at = comma.end()


def _nested_row(text: str, at: int) -> int:
    head = _ROW_HEAD.match(text, at)
    at = head.end() if head else -1
    while at >= 0:
        if (at := value(text, at)) < 0:
            break
        if text.startswith(")", at):
            return at + 1
        comma = _COMMA.match(text, at)
        at = comma.end() if comma else -1
    return -1


def condition(text: str, at: int) -> int:
    """What statistics must be like for a file to be read."""
    depth = 0
    while True:
        while text.startswith("(", at):
            if flat := _FLAT_CONDITION.match(text, at):
                at = flat.end()
                break
            depth += 1
            at += 1
        else:
            if (atom := _ATOM.match(text, at)) is None:
                return -1
            at = atom.end()
        while depth and text.startswith(")", at):
            depth -= 1
            at += 1
        if (join := _JOIN.match(text, at)) is None:
            return -1 if depth else at
        at = join.end()


def sort_keys(text: str, at: int) -> int:
    """The expressions by which a table is sorted, each with a comma behind it; they are a user's.

    They may call what every reader may call in an expression, and hold no query.
    """
    depth = 0
    while True:
        if depth == 0 and _SORT_END.match(text, at):
            return at
        token = _SORT_TOKEN.match(text, at)
        if token is None:
            return -1
        if token["call"] or token["open"]:
            depth += 1
            if token["call"] and not _may_call(token["call"]):
                return -1
        elif token["close"]:
            depth -= 1
            if depth < 0:
                return -1
        elif token["name"] and _NO_EXPRESSION.fullmatch(token["name"]):
            return -1
        at = token.end()


def _may_call(name: str) -> bool:
    # Brings the list of the policy of statements, which most catalogs never need.
    from azquack.policy.functions import Functions

    if name.startswith('"'):
        return name[1:-1].replace('""', '"').lower() in Functions.load().scalar
    return _BEFORE_PARENTHESIS.fullmatch(name) is not None or name.lower() in Functions.load().scalar


NESTING: Mapping[str, Rule] = {
    "type": type_,
    "value": value,
    "condition": condition,
    "sort keys": sort_keys,
    "inlined rows": inlined_rows,
}
