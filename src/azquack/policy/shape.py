"""The size and shape of a text, seen before anything that costs more: one pass, linear whatever the text is.

DuckDB's lexer and parser are not linear in everything: comments, operators, types and set operations that pile up
take a time that grows with the square of the pile. So the piles are bounded here, and only then DuckDB sees a text.
The scanner follows the rules of DuckDB's lexer
(https://github.com/duckdb/duckdb/blob/v1.5.5/third_party/libpg_query/scan.l); a test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from azquack.patterns import re
from azquack.policy.errors import Refused

CHARACTERS = 1_000_000
STATEMENTS = 256
DEPTH = 100
SET_OPERATIONS = 256
NAME_CHARACTERS = 1024
# How many may follow each other: `+++…`, `int[][]…`, `/* /* …`.
OPERATORS = 32
BRACKETS = 32
COMMENTS = 32
# A list of literals that takes more characters is left out of what is parsed for its names: it names nothing.
LITERALS = 1024

# DuckDB takes these for blanks before it parses, one for one.
WIDE_SPACES = "\u00a0\u1680\u2000-\u200d\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
_BLANK = rf"[ \t\r\n\f\v{WIDE_SPACES}]"
_START = rf"(?:(?![{WIDE_SPACES}])[A-Za-z_\x80-\U0010ffff])"
_WORD = rf"{_START}(?:(?![{WIDE_SPACES}])[A-Za-z0-9_$\x80-\U0010ffff])*+"
_OPERATOR = r"[~!@#^&|`?+\-*/%<>=]"
_STRING = r"'(?:[^']++|'')*+'"
_LITERAL = rf"(?:{_STRING}|[-+]?\d++(?:\.\d*+)?(?:[eE][-+]?\d++)?|(?i:null|true|false)(?![\w$]))"
_COMMA = rf"{_BLANK}*+,{_BLANK}*+"
_ELEMENT = rf"(?:{_LITERAL}|\({_BLANK}*+{_LITERAL}(?:{_COMMA}{_LITERAL})*+{_BLANK}*+\))"
# An E'…' goes on after a line break, with its escapes.
_GOES_ON = r"'(?:[ \t\f]|--[^\r\n]*+)*+[\r\n](?:[ \t\r\n\f]|--[^\r\n]*+[\r\n])*+'"
_TOKEN = re.compile(
    rf"""
    (?P<literals> (?P<first>{_ELEMENT}) (?:{_COMMA}(?P<last>{_ELEMENT}))++ )
  | (?P<escaped> [eE]'(?:[^'\\]++|''|\\.|{_GOES_ON})*+'? )
  | (?P<word> {_WORD} )
  | (?P<number> [0-9]++(?:\.[0-9]++)?(?:[eE][-+]?[0-9]++)? )
  | (?P<blank> {_BLANK}++ )
  | (?P<line> --[^\r\n]*+ )
  | (?P<comment> /\* )
  | (?P<operator> (?:(?!--|/\*){_OPERATOR})++ )
  | (?P<string> '(?:[^']++|'')*+'? )
  | (?P<name> "(?:[^"]++|"")*+"? )
  | (?P<dollar> \$(?:{_START}(?:(?![{WIDE_SPACES}])[A-Za-z0-9_\x80-\U0010ffff])*+)?\$ )
  | (?P<parameter> \$[0-9A-Za-z_]*+ )
  | (?P<brackets> (?:\[{_BLANK}*+[0-9]*+{_BLANK}*+\])++ )
  | (?P<open> [(\[{{] )
  | (?P<close> [)\]}}] )
  | (?P<end> ; )
  | (?P<other> . )
    """,
    re.DOTALL | re.VERBOSE,
)
_COMMENT_SIGN = re.compile(r"/\*|\*/")
_OPERATORS = re.compile(rf"{_OPERATOR}*+")


# A text of more characters is never checked on an event loop; nor is one that is piled higher than these.
SMALL = 4096
_SMALL_DEPTH, _SMALL_STATEMENTS, _SMALL_SET_OPERATIONS = 32, 8, 16


class Piece(NamedTuple):
    """A part of a text that is no blank and no comment: its `kind` (a group of the scanner), and where it stands."""

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Shape:
    """How a text is piled up; `thin` is the text without its long lists of literals, with blanks in their place.

    Every byte that is left in `thin` stands where it stood.
    """

    characters: int
    depth: int
    statements: int
    set_operations: int
    thin: str

    @property
    def small(self) -> bool:
        """Whether all that is done with it takes some milliseconds at most, as long as an event loop may be held."""
        return (
            self.characters <= SMALL
            and self.depth <= _SMALL_DEPTH
            and self.statements <= _SMALL_STATEMENTS
            and self.set_operations <= _SMALL_SET_OPERATIONS
        )


def checked_size(sql: str, longest: int = CHARACTERS) -> None:
    """Raises `Refused` for a text that is too long to be looked at."""
    if len(sql) > longest:
        raise Refused(f"a statement may have {longest:,} characters at most")


def measured(sql: str) -> Shape:
    """The shape of `sql`. Raises `Refused`, with the bound that it goes beyond."""
    _check_characters(sql)
    depth = deepest = cases = statements = set_operations = 0
    begun = False
    thinned: list[str] = []
    done = 0
    for kind, start, end, match in _scan(sql):
        if kind == "end":
            begun = False
            continue
        statements, begun = statements + (not begun), True
        if kind == "word":
            word = sql[start:end].lower()
            if word == "case":
                cases += 1
                depth += 1
            elif word == "end" and cases:
                cases -= 1
                depth -= 1
            set_operations += word in ("except", "intersect")
        elif kind == "open":
            depth += 1
        elif kind == "close":
            depth = max(depth - 1, 0)
        elif kind == "literals":
            middle = slice(match.end("first"), match.start("last"))
            if middle.stop - middle.start > LITERALS:
                thinned += (sql[done : middle.start], ",".ljust(len(sql[middle].encode())))
                done = middle.stop
        _check_piece(kind, end - start, match)
        deepest = max(deepest, depth)
        if deepest > DEPTH:
            raise Refused(f"a statement may be nested {DEPTH} deep at most")
    if statements > STATEMENTS:
        raise Refused(f"a text may hold {STATEMENTS} statements at most")
    if set_operations > SET_OPERATIONS:
        raise Refused(f"a text may hold {SET_OPERATIONS} EXCEPT and INTERSECT at most")
    thin = "".join((*thinned, sql[done:])) if thinned else sql
    return Shape(len(sql), deepest, statements, set_operations, thin)


def thinned(sql: str) -> str:
    """`sql` without its long lists of literals, as `Shape.thin`. Raises `Refused` as `measured`."""
    return measured(sql).thin if len(sql) > LITERALS else sql


def pieces(sql: str) -> Iterator[Piece]:
    """What `sql` is made of, without blanks and comments. Raises `Refused` where these nest too deeply."""
    return (Piece(kind, start, end) for kind, start, end, _ in _scan(sql))


def _scan(sql: str) -> Iterator[tuple[str, int, int, re.Match[str]]]:
    at, length, spent = 0, len(sql), 0
    while at < length:
        match = _TOKEN.match(sql, at)
        assert match is not None
        assert match.lastgroup is not None
        kind, end = match.lastgroup, match.end()
        if kind == "comment":
            at, more = _comment_end(sql, at, 4 * length + SMALL - spent)
            spent += more
            continue
        if kind == "dollar":
            closing = sql.find(match[0], end)
            end = length if closing < 0 else closing + len(match[0])
        if kind not in ("blank", "line"):
            yield kind, at, end, match
        at = end


def _comment_end(sql: str, start: int, most: int) -> tuple[int, int]:
    """Where the block comment at `start` ends, and what DuckDB's lexer spends on its beginnings.

    At each `/*` that lexer looks at all operator characters that follow. Raises `Refused` beyond `most` of them.
    """
    depth = spent = 0
    for sign in _COMMENT_SIGN.finditer(sql, start):
        if sign[0] == "*/":
            depth -= 1
            if depth == 0:
                return sign.end(), spent
            continue
        depth += 1
        spent += _end(_OPERATORS.match(sql, sign.start())) - sign.start()
        if depth > COMMENTS or spent > most:
            raise Refused("the comments are nested too deeply, or too many stand in a row")
    return len(sql), spent


def _end(match: re.Match[str] | None) -> int:
    assert match is not None
    return match.end()


def _check_characters(sql: str) -> None:
    try:
        sql.encode()
    except UnicodeEncodeError:
        raise Refused("the statement is no valid UTF-8") from None
    if "\0" in sql:
        raise Refused("the statement holds a NUL character")


def _check_piece(kind: str, length: int, match: re.Match[str]) -> None:
    if kind in ("word", "name") and length > NAME_CHARACTERS:
        raise Refused(f"a name may have {NAME_CHARACTERS:,} characters at most")
    if kind == "operator" and length > OPERATORS:
        raise Refused(f"an operator may have {OPERATORS} characters at most: put a blank between signs")
    if kind == "brackets" and match[0].count("[") > BRACKETS:
        raise Refused(f"{BRACKETS} pairs of brackets may follow each other at most")
