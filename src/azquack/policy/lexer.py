"""DuckDB's own lexer, with its gaps checked."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import duckdb

from azquack.patterns import re
from azquack.policy.errors import Unclear
from azquack.policy.shape import WIDE_SPACES, thinned
from azquack.principals.principal import folded

_WORD = re.compile(rb'"(?:[^"]++|"")*+"|[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*')
_LINE_COMMENT = re.compile(rb"--[^\r\n]*")
_SPACE = b" \t\r\n\f\v"
# DuckDB takes these for blanks before it parses.
WIDE_SPACE = re.compile(f"[{WIDE_SPACES}]")
# A wide blank, or what may hold one that is none; DuckDB looks past block comments too.
_QUOTED = re.compile(rf"""'[^']*'?|"[^"]*"?|--[^\r\n]*|({WIDE_SPACE.pattern})""")
_LITERALS = frozenset({"values", "null", "true", "false", "default"})
# A word of these before or behind a string is a literal of that type.
# fmt: off
_TYPES = frozenset({
    "bigint", "blob", "boolean", "date", "double", "float", "integer", "interval", "smallint", "time", "timestamp",
    "timestamptz", "tinyint", "varchar",
})
# fmt: on
_WORD_KINDS = (duckdb.token_type.identifier, duckdb.token_type.keyword)


class Token(NamedTuple):
    """One token: `name` is the folded name of an identifier or keyword, and None of anything else.

    `text` is a word as it stands there, and of anything else the first character.
    """

    start: int
    name: str | None
    quoted: bool
    text: str


class Text:
    """A statement as bytes and tokens. Offsets count bytes, as DuckDB's lexer does.

    Of a long list of literals only the first and the last are tokens; `thinned` tells whether there is one.
    """

    def __init__(self, sql: str) -> None:
        """Raises `Unclear` where the lexer leaves something that is neither token nor blank."""
        thin = thinned(sql)
        self.sql = sql
        self.raw = sql.encode()
        self.thinned = thin is not sql
        found = duckdb.tokenize(thin)
        ends = [start for start, _ in found[1:]] + [len(self.raw)] * bool(found)
        self.tokens = [
            self._word(start, end) if kind in _WORD_KINDS else self._other(start)
            for (start, kind), end in zip(found, ends, strict=True)
        ]
        if not _blank(self.raw, 0, self.tokens[0].start if self.tokens else len(self.raw)):
            raise Unclear("the statement cannot be split into tokens")

    def _word(self, start: int, end: int) -> Token:
        match = _WORD.match(self.raw, start, end)
        if not match:
            # DuckDB marks some operators (`::`, `->`) as keywords or identifiers.
            return self._other(start)
        if match.end() != end and not _blank(self.raw, match.end(), end):
            raise Unclear("the statement cannot be split into tokens")
        text = match[0].decode()
        if text[0] == '"':
            return Token(start, folded(text[1:-1].replace('""', '"')), True, text)
        return Token(start, folded(text), False, text)

    def _other(self, start: int) -> Token:
        return Token(start, None, False, chr(self.raw[start]))

    def slice(self, first: int, last: int) -> str:
        """The text from token `first` up to token `last`; a number past the end is the end."""
        start, end = (
            self.tokens[place].start if place < len(self.tokens) else len(self.raw) for place in (first, last)
        )
        return self.raw[start:end].decode()

    def called(self) -> list[str]:
        """The names that an opening parenthesis follows."""
        return [
            token.name
            for token, after in pairwise(self.tokens)
            if after.text == "(" and token.name is not None and after.name is None
        ]

    def is_plain_values(self) -> bool:
        """Whether this is VALUES with literals only; the usual form of a large statement, and harmless."""
        return self._is_values_of(_LITERALS)

    def literal_rows(self) -> int:
        """How many rows this VALUES holds; 0 unless all are literals, which may bear a type, and few enough."""
        if (
            self.thinned
            or not self._is_values_of(_LITERALS - {"default"} | _TYPES)
            or self.called() != ["values"]
        ):
            return 0
        rows = depth = 0
        for token in self.tokens:
            rows += token.text == "(" and not depth
            depth += (token.text == "(") - (token.text == ")")
        return rows

    def _is_values_of(self, words: frozenset[str]) -> bool:
        names = [token.name for token in self.tokens if token.name is not None]
        return (
            names[:1] == ["values"]
            and not any(token.quoted for token in self.tokens)
            and words.issuperset(names)
        )


def _blank(raw: bytes, at: int, end: int) -> bool:
    """Whether `raw[at:end]` is only white space and comments; block comments nest in DuckDB."""
    depth = 0
    while at < end:
        if raw.startswith(b"/*", at, end):
            depth, at = depth + 1, at + 2
        elif depth:
            if raw.startswith(b"*/", at, end):
                depth, at = depth - 1, at + 2
            else:
                at += 1
        elif match := _LINE_COMMENT.match(raw, at, end):
            at = match.end()
        elif raw[at] in _SPACE:
            at += 1
        else:
            return False
    return depth == 0


def plain_blanks(sql: str) -> str:
    """`sql` with spaces for the wider blanks outside of quotes, as DuckDB reads it; its lexer does not.

    Beside a dollar sign, which may quote too, they stay: a name that cannot be found behind one is refused.
    """
    if "$" in sql or not WIDE_SPACE.search(sql):
        return sql
    return _QUOTED.sub(lambda found: found[0] if found[1] is None else " ", sql)
