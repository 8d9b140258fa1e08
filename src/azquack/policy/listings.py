"""DuckDB's own listings of a lake, in each of their forms, as queries for the rows that somebody sees of them.

A view of DuckDB's own (`information_schema.tables`, `pg_class`, …) and a SHOW are read by their own definitions, in
which the table functions that they are made of are replaced by what is `visible` of them: so a view says of this what
DuckDB says.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple

from azquack.patterns import re
from azquack.policy.errors import Refused, Unclear
from azquack.policy.functions import Functions
from azquack.policy.lexer import Text, Token
from azquack.policy.parser import Parser
from azquack.policy.piece import Piece
from azquack.policy.reader import Reader
from azquack.policy.resolve import Work
from azquack.policy.rights import Rights
from azquack.policy.shape import CHARACTERS
from azquack.policy.tree import NOWHERE, Name, uses
from azquack.policy.visible import FOLDED, FUNCTIONS, visible
from azquack.sql import identifier, literal

# These are given the name of a table in a string.
DESCRIBED = frozenset({"pragma_table_info", "pragma_show"})
_STRING = re.compile(r"'((?:[^']|'')*+)'\s*+")
_SCHEMAS = (
    "SELECT database_name, schema_name, database_name = current_database() AND schema_name = current_schema() "
    'AS "current" FROM duckdb_schemas() ORDER BY ALL'
)
_FROM = (
    'SELECT "name" FROM (SELECT schema_name, table_name AS "name" FROM duckdb_tables UNION ALL '
    'SELECT schema_name, view_name FROM duckdb_views) WHERE {} ORDER BY "name"'
)
_SHOWS = {"show", "describe", "desc"}
_BEFORE_A_QUERY = {"describe", "desc", "show", "summarize"}


class _Function(NamedTuple):
    """The place of a function in a definition; `alias` is what it is called there, unless it has a name."""

    name: str
    alias: str


# A definition, cut where it calls one of `FUNCTIONS`.
_Template = tuple[str | _Function, ...]


class Listings:
    """DuckDB's own listings of the lake `lake`, as `parser` defines them."""

    def __init__(self, lake: str, functions: Functions, parser: Parser) -> None:
        self._lake = literal(lake)
        self._lake_name = lake
        self._functions = functions
        self._parser = parser
        self._templates: dict[str, _Template] = {}

    def function(self, work: Work, piece: Piece, name: Name, at: int, *, named: bool) -> None:
        """Has a statement read the rows of a function that may be seen; `named` says that it gives them a name."""
        first, last = _tokens(work, piece, name, at)
        tokens = work.text.tokens
        if [each.text for each in tokens[last : last + 2]] != ["(", ")"]:
            raise Unclear(f"the statement cannot be checked: {name.table} takes nothing")
        self._put(
            work, first, tokens[last + 1].start + 1, visible(name.table, work.rights, self._lake), name, named
        )

    def view(self, work: Work, piece: Piece, schema: str, name: Name, at: int, *, named: bool) -> None:
        """The same of the view `name` of DuckDB's own, which stands in its `schema`."""
        template = self._view(schema, name.table)
        first, last = _tokens(work, piece, name, at)
        end = work.text.tokens[last - 1]
        self._put(
            work, first, end.start + len(end.text.encode()), self._written(template, work.rights), name, named
        )
        work.listed_views.add((schema, name.table))

    @staticmethod
    def unqualify(work: Work) -> None:
        """Has a column like `pg_catalog.pg_class.oid` be named by its view alone."""
        tokens = work.text.tokens if work.listed_views else []
        for at, token in enumerate(tokens[:-4]):
            name, dots = tokens[at + 2].name, (tokens[at + 1].text, tokens[at + 3].text)
            if dots == (".", ".") and (token.name, name) in work.listed_views:
                work.edits.replace(token.start, tokens[at + 2].start, "")

    def lists(self, schema: str, name: str) -> bool:
        """Whether the view `name` of DuckDB's own is about what somebody has."""
        return any(isinstance(each, _Function) for each in self._view(schema, name))

    def described(self, work: Work, piece: Piece, name: Name, at: int) -> tuple[int, list[str], int]:
        """The parts of the name that `pragma_table_info('…')` is given, between the bytes where its string stands."""
        _, last = _tokens(work, piece, name, at)
        self._refuse_in_a_view(work, name)
        tokens = work.text.tokens[last : last + 3]
        string = None
        if [each.text for each in tokens] == ["(", "'", ")"]:
            string = _STRING.fullmatch(work.text.raw[tokens[1].start : tokens[2].start].decode())
        if string is None:
            raise Refused(
                f"the function {name.table} takes the name of a table as a constant: {name.table}('schema.table')"
            )
        reader = Reader(Text(string[1].replace("''", "'")), frozenset())
        parts = reader.parts()
        if not reader.done or len(parts) > 3:
            raise Refused(
                f"{string[0]} names no table: put double quotes around a name with other signs than letters"
            )
        return tokens[1].start, parts, tokens[2].start

    def _refuse_in_a_view(self, work: Work, name: Name) -> None:
        if work.body is not None and work.rights.grants is not None:
            raise Refused(
                f"with grants no view can read {name.table}: what it shows would stay as it is today"
            )

    def shows(self, work: Work, piece: Piece, expected: int) -> None:
        """Has each SHOW of the statement that describes nothing, of which there are `expected`, be a query."""
        text = Text(piece.sql)
        found = 0
        for at, token in enumerate(text.tokens):
            before = text.tokens[at - 1].text if at else "("
            if token.quoted or token.name not in _SHOWS or before != "(":
                continue
            end = _close(text.tokens, at)
            query = self._shown(text.tokens[at + 1 : end], work.rights)
            if query is None:
                continue
            found += 1
            start = piece.place(token.start)
            stop = piece.place(text.tokens[end].start) if end < len(text.tokens) else len(work.text.raw)
            if start is None or stop is None:
                break
            self._room(work, query)
            work.edits.replace(start, stop, f"FROM ({query})")
        if found != expected:
            raise Unclear("the statement cannot be checked: it does not say where its SHOW stands")

    def _shown(self, words: list[Token], rights: Rights) -> str | None:
        """The query that SHOW with `words` behind it stands for; None where it describes something."""
        names = [word.name for word in words if word.text != ";"]
        match names:
            case [] | ["all"] | ["all", "tables"]:
                return self._pragma("show_tables_expanded", rights)
            case ["tables"]:
                return self._pragma("show_tables", rights)
            case ["databases"]:
                return self._pragma("show_databases", rights)
            case ["schemas"]:
                return self._query(_SCHEMAS, rights)
            case ["variables"]:
                raise Refused("SHOW VARIABLES is not allowed: the variables of a session are the gateway's")
            case ["tables", "from", str() as schema] if schema == self._lake_name:
                return self._query(_FROM.format("true"), rights)
            case ["tables", "from", str() as schema]:
                return self._query(
                    _FROM.format(f"{FOLDED.format('schema_name')} = {literal(schema)}"), rights
                )
            case ["tables", "from", str() as catalog, None, str() as schema]:
                if catalog != self._lake_name:
                    raise Refused(f"there is nothing to show in the catalog {catalog}")
                return self._query(
                    _FROM.format(f"{FOLDED.format('schema_name')} = {literal(schema)}"), rights
                )
        return None

    def _put(self, work: Work, first: int, end: int, query: str, name: Name, named: bool) -> None:
        self._refuse_in_a_view(work, name)
        self._room(work, query)
        tokens = work.text.tokens
        before = tokens[first - 1] if first else None
        word = None if before is None or before.quoted else before.name
        start = tokens[first].start
        if word in ("table", "call"):
            assert before is not None
            start = before.start
        source = f"({query})" + ("" if named else f" AS {identifier(name.table)}")
        work.edits.replace(
            start, end, f"FROM {source}" if word in ("table", "call", *_BEFORE_A_QUERY) else source
        )

    def _room(self, work: Work, query: str) -> None:
        work.listed += len(query)
        if work.listed > CHARACTERS:
            raise Refused("the statement names DuckDB's own listings too often")

    def _pragma(self, name: str, rights: Rights) -> str:
        return self._query(self._parser.pragma(f"PRAGMA {name}"), rights)

    def _query(self, sql: str, rights: Rights) -> str:
        return self._written(self._template(sql.strip().rstrip(";")), rights)

    def _view(self, schema: str, name: str) -> _Template:
        return self._template(self._definitions.get((schema, name), ""))

    @cached_property
    def _definitions(self) -> dict[tuple[str, str], str]:
        return self._parser.own_views()

    def _written(self, template: _Template, rights: Rights) -> str:
        return "".join(
            each
            if isinstance(each, str)
            else f"({visible(each.name, rights, self._lake)})" + (f" AS {each.alias}" if each.alias else "")
            for each in template
        )

    def _template(self, sql: str) -> _Template:
        if sql not in self._templates:
            self._templates[sql] = tuple(self._cut(sql)) if sql else ()
        return self._templates[sql]

    def _cut(self, sql: str) -> Iterable[str | _Function]:
        """`sql`, a definition of DuckDB's own, cut where it calls a function of ours, also through other views."""
        text = Text(sql)
        found = uses(self._parser.tree(sql))
        places: list[tuple[int, int, _Template]] = []
        index = {token.start: at for at, token in enumerate(text.tokens)}
        for name, at in found.table_functions:
            if name.table in FUNCTIONS:
                last = index[at] + 2 * len(name.parts) - 1
                alias = "" if at in found.named else identifier(name.table)
                places.append((at, text.tokens[last + 1].start + 1, (_Function(name.table, alias),)))
        for name, at, _ in found.tables:
            end = text.tokens[index[at] + 2 * len(name.parts) - 2]
            inner = self._view(name.schema or self._functions.schema_of(name.table), name.table)
            alias = "" if at in found.named else f" AS {identifier(name.table)}"
            places.append((at, end.start + len(end.text.encode()), ("(", *inner, f"){alias}")))
        done = 0
        for start, end_, parts in sorted(places):
            yield text.raw[done:start].decode()
            yield from parts
            done = end_
        yield text.raw[done:].decode()


def _tokens(work: Work, piece: Piece, name: Name, at: int) -> tuple[int, int]:
    """The first token of `name`, which stands at the byte `at` of `piece`, and the one behind its last."""
    parts = name.parts
    place = piece.place(at) if at != NOWHERE else None
    if place is None:
        raise Unclear(f"the statement cannot be checked: it does not say where {name.table} stands")
    first = work.token(place)
    tokens = work.text.tokens[first : first + 2 * len(parts) - 1]
    if [token.name for token in tokens[::2]] != parts or any(each.text != "." for each in tokens[1::2]):
        raise Unclear(f"name {name.table} without single quotes, and before its parentheses")
    return first, first + 2 * len(parts) - 1


def _close(tokens: list[Token], at: int) -> int:
    """The token that closes what token `at` stands in, or the end of all."""
    depth = 0
    for place in range(at, len(tokens)):
        sign = tokens[place].text[:1] if tokens[place].name is None else ""
        depth += (sign == "(") - (sign == ")")
        if depth < 0 or (depth == 0 and sign == ";"):
            return place
    return len(tokens)
