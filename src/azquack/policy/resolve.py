"""Where each name of a statement leads: resolved as DuckDB would, once, and written out at its place."""

from __future__ import annotations

from dataclasses import dataclass, field

from azquack.policy.errors import Refused, Unclear
from azquack.policy.functions import Functions
from azquack.policy.lexer import Text
from azquack.policy.piece import Piece
from azquack.policy.rights import Rights
from azquack.policy.scope import MAIN, SYSTEM, TEMP, Asked, Kind, Scope
from azquack.policy.splice import Edits
from azquack.policy.tree import NOWHERE
from azquack.policy.views import Read
from azquack.sql import identifier

SYSTEM_SCHEMAS = frozenset({"information_schema", "pg_catalog"})
_BARE = frozenset({MAIN, *SYSTEM_SCHEMAS})


@dataclass(slots=True)
class Work:
    """A statement while it is checked. `body` is the schema of the view whose body is being read.

    `asked` are the names that its node must be asked for before it can be said what they are; `reads` is what it reads
    of the lake, and `listed` the characters of what is put in for DuckDB's own listings, of which
    `listed_views` are views.
    """

    rights: Rights
    scope: Scope
    text: Text
    edits: Edits = field(default_factory=Edits)
    asked: set[Asked] = field(default_factory=set)
    reads: set[Read] = field(default_factory=set)
    body: str | None = None
    listed: int = 0
    listed_views: set[tuple[str | None, str | None]] = field(default_factory=set)
    _index: dict[int, int] = field(default_factory=dict)

    @property
    def path(self) -> tuple[str, ...]:
        """Where DuckDB looks for a bare name: a view's own schema comes first in its body."""
        return self.scope.path if self.body is None else tuple(dict.fromkeys((self.body, *self.scope.path)))

    def schema(self, name: str) -> str:
        """The lake's schema that the session uses; where that is not known, its node is asked along with `name`."""
        if not (self.scope.untouched or self.scope.asked):
            self.asked.add(("table", name))
        return self.scope.schema

    def token(self, offset: int) -> int:
        """The token that begins at `offset`. Raises `Unclear` where none does."""
        if not self._index:
            self._index = {token.start: at for at, token in enumerate(self.text.tokens)}
        if offset not in self._index:
            raise Unclear("the statement cannot be checked: it does not say where one of its names stands")
        return self._index[offset]


class Resolver:
    """Resolves names for the lake `lake`, whose nodes know `functions`."""

    def __init__(self, lake: str, functions: Functions) -> None:
        self._lake = lake
        self._functions = functions

    def place(
        self, work: Work, kind: Kind, parts: list[str], *, past: bool = False, changed: bool = False
    ) -> tuple[str, str]:
        """Catalog and schema of what `parts` name, as DuckDB finds them.

        What is read from the `past` is nothing temporary; what is `changed` is no view of DuckDB's own.
        """
        *before, name = parts
        if len(before) == 2:
            catalog, schema = before
            if catalog not in (self._lake, SYSTEM, TEMP):
                raise Refused(f"there is nothing to read in the catalog {catalog}")
            return catalog, schema
        own = kind == "table" and not changed and self._is_own(name)
        where = before[0] if before else ""
        if where in SYSTEM_SCHEMAS:
            return SYSTEM, where
        if where == SYSTEM or (own and where in ("", MAIN, TEMP)):
            return SYSTEM, self._functions.schema_of(name)
        if where == TEMP:
            return TEMP, MAIN
        if where == self._lake:
            # A schema of that name may have been made before this was refused: the catalog is meant.
            if work.body is None:
                return self._lake, work.schema(name)
            path = tuple(dict.fromkeys((work.body, work.schema(name))))
            return self._looked_up(work, kind, name, path, own=False)
        if where and where != MAIN:
            return self._lake, where
        return self._looked_up(work, kind, name, work.path if not where else (MAIN,), own=not past)

    def _looked_up(
        self, work: Work, kind: Kind, name: str, path: tuple[str, ...], *, own: bool
    ) -> tuple[str, str]:
        """Where in `path` a name stands; `own`: what the session alone has comes first."""
        found = work.scope.place(kind, name, path, self._lake, own=own)
        if found is None:
            work.asked.add((kind, name))
            return self._lake, path[0]
        if found[0] == TEMP and work.body is not None:
            raise Refused(f"a view of the lake cannot read what only this session has: {name}")
        return found

    def made_in(self, work: Work, parts: list[str], temporary: bool) -> tuple[str, str]:
        """Catalog and schema in which something new with these `parts` is made."""
        *before, _ = parts
        if temporary:
            if before not in ([], [MAIN], [TEMP], [TEMP, MAIN]):
                raise Refused("what is temporary can be made in temp only")
            return TEMP, MAIN
        match before:
            case []:
                return self._lake, work.schema(parts[-1])
            case [catalog, schema]:
                return catalog, schema
            case [where] if where == TEMP:
                return TEMP, MAIN
            case [where] if where == self._lake:
                return self._lake, work.schema(parts[-1])
            case [where]:
                return self._lake, where
        raise Unclear("the statement cannot be checked: a name has too many parts")

    def _is_own(self, table: str) -> bool:
        """Whether `table`, with no schema, is a view of DuckDB's own: nothing of the lake stands before it."""
        return table in self._functions.own_views

    def write_out(
        self, work: Work, piece: Piece, parts: list[str], offset: int, catalog: str, schema: str
    ) -> None:
        if len(parts) == 3:
            return
        place = piece.place(offset) if offset != NOWHERE else None
        if place is None:
            raise Unclear(f"the statement cannot be checked: it does not say where {parts[-1]} stands")
        first = work.token(place)
        tokens = work.text.tokens[first : first + 2 * len(parts) - 1]
        # Behind a dot stands the function of `x.f()`, of which x is the first argument.
        chained = first > 0 and work.text.tokens[first - 1].text == "."
        if (
            chained
            or [token.name for token in tokens[::2]] != parts
            or any(each.text != "." for each in tokens[1::2])
        ):
            raise Unclear(
                f"the full name of {parts[-1]} cannot be written where it stands: name it as "
                f"{catalog}.{schema}.{parts[-1]}, without single quotes and before its arguments"
            )
        self.insert(work, first, parts, catalog, schema)

    def insert(self, work: Work, first: int, parts: list[str], catalog: str, schema: str) -> None:
        """Writes out what the name at token `first` leaves out."""
        tokens = work.text.tokens
        if len(parts) == 1:
            work.edits.put(tokens[first].start, f"{catalog}.{_quoted(schema)}.")
        elif len(parts) == 2 and parts[0] == catalog:
            work.edits.put(tokens[first + 2].start, f"{_quoted(schema)}.")
        elif len(parts) == 2:
            work.edits.put(tokens[first].start, f"{catalog}.")


def _quoted(name: str) -> str:
    return name if name in _BARE else identifier(name)
