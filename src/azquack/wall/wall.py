"""The wall: whether a principal may run a statement."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from azquack.principals.principal import EVERY, Grant, Principal, Role, folded
from azquack.wall.errors import Refused, Unclear, Unparsed
from azquack.wall.functions import Functions
from azquack.wall.lexer import Text
from azquack.wall.options import refuse_deadly_option
from azquack.wall.parser import Parsed, Parser
from azquack.wall.pivot import with_values
from azquack.wall.reader import Target
from azquack.wall.rewrite import called, explained, is_harmless_setting, take_apart, used
from azquack.wall.shape import CHARACTERS, checked_size
from azquack.wall.tree import Name, is_constant, uses
from azquack.wall.write import Write

_READS = frozenset({"SELECT", "EXPLAIN", "TRANSACTION", "SET"})
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE_INTO", "CREATE", "ALTER", "DROP"})
_KINDS = {
    Role.READER: _READS,
    Role.WRITER: _READS | _WRITES | {"CALL"},
    Role.ADMIN: _READS | _WRITES | {"CALL"},
}
_SYSTEM_SCHEMAS = frozenset({"information_schema", "pg_catalog"})
_SYSTEM_CATALOGS = frozenset({"system", "temp"})
_OTHER_CATALOGS = frozenset({"memory", "system"})
# DuckLake attaches its metadata under this name; DuckDB's own hidden tables begin with it too.
_HIDDEN = ("__ducklake", "__duckdb")
# What a name cannot hold if it is not to be taken for a file: DuckDB reads FROM 'x.parquet' as one.
_FILE_SIGNS = frozenset("./\\:*?[]{}")
_CACHED_LENGTH = 8_192
_PIVOT = (
    "DuckDB makes several statements of this PIVOT: name its values, as in PIVOT … ON column IN ('a', 'b'), "
    "or let it stand by itself"
)
_COMPUTED = (
    "the default {} is computed, and would keep every client from attaching: use a constant, and give the value "
    "in the INSERT"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`kind` names the statement for the audit log (`SELECT`, `INSERT`, … or `UNKNOWN`).

    `reason` is a sentence for the user when it is not allowed, and empty when it is. `plain` says that it leaves
    nothing in its session: no transaction, setting or temporary table. `rows` is how many literal rows it inserts,
    if it is nothing but one INSERT of these: it then means the same in all sessions that ran plain statements only.
    """

    allowed: bool
    kind: str
    reason: str = ""
    plain: bool = False
    rows: int = 0


@dataclass(frozen=True, slots=True)
class _Rights:
    role: Role
    grants: tuple[Grant, ...] | None
    path: tuple[str, ...]


class Wall:
    """Checks statements for the lake `lake`.

    `functions` are the names of all functions of the nodes behind the wall (`duckdb_functions()`): one that
    was not reviewed is refused, while a name that no node knows can only be a macro of the lake, whose body
    was checked when it was made. Texts of more than `longest` characters are refused unparsed.
    """

    def __init__(self, lake: str = "lake", functions: Iterable[str] = (), longest: int = CHARACTERS) -> None:
        self._made_of = (lake, tuple(functions), longest)
        self._lake = folded(lake)
        self._functions = Functions.load(self._made_of[1])
        self._longest = longest
        self._parser = Parser()
        self._remembered = lru_cache(maxsize=1024)(self._judge)

    def __reduce__(self) -> tuple[type[Wall], tuple[str, tuple[str, ...], int]]:
        """The same policy in another process: its parser is made anew there."""
        return type(self), self._made_of

    def close(self) -> None:
        self._remembered.cache_clear()
        self._parser.close()

    def check(self, principal: Principal, sql: str, path: Sequence[str] = ("main",)) -> Verdict:
        """Whether `principal` may run `sql`; every statement of it must pass.

        `path` are the schemas in which the session looks for a bare name. A principal with grants needs its
        right in each of them.
        """
        rights = _Rights(principal.role, principal.grants, tuple(folded(name) for name in path))
        try:
            checked_size(sql, self._longest)
        except Refused as error:
            return Verdict(False, "UNKNOWN", _sentence(error))
        return (self._remembered if len(sql) <= _CACHED_LENGTH else self._judge)(rights, sql)

    def check_append(self, principal: Principal, schema: str, table: str) -> Verdict:
        """Whether `principal` may append rows to `schema.table`, as a native INSERT does."""
        rights = _Rights(principal.role, principal.grants, ())
        try:
            if principal.role is Role.READER:
                raise Refused("a reader may not INSERT")
            target = Target("insert", "", folded(schema), folded(table))
            for name in (target.schema, target.table):
                self._refuse_hidden(name)
            self._target(rights, target)
        except Refused as error:
            return Verdict(False, "INSERT", _sentence(error))
        return Verdict(True, "INSERT", plain=True)

    def _judge(self, rights: _Rights, sql: str) -> Verdict:
        kinds: list[str] = []
        effects: list[Verdict] = []
        try:
            for parsed in self._statements(sql):
                kinds.append(parsed.kind)
                effects.append(self._statement(rights, parsed))
        except Refused as error:
            return Verdict(False, ",".join(kinds) or "UNKNOWN", _sentence(error))
        except (KeyError, TypeError) as error:
            # A tree of another shape than the pinned DuckDB's: what is not understood is refused.
            return Verdict(False, ",".join(kinds), f"The statement cannot be checked ({error!r}).")
        plain = all(effect.plain for effect in effects)
        rows = effects[0].rows if len(effects) == 1 else 0
        return Verdict(True, ",".join(dict.fromkeys(kinds)) or "EMPTY", plain=plain, rows=rows)

    def _statements(self, sql: str) -> list[Parsed]:
        found = self._parser.statements(sql)
        if any(parsed.kind == "ALTER" and not parsed.sql for parsed in found):
            # DuckDB makes five statements of ADD COLUMN with a computed default.
            raise Refused(_COMPUTED.format("of ADD COLUMN"))
        if not all(parsed.sql for parsed in found):
            # DuckDB splits a PIVOT without values and loses its text.
            query = with_values(Text(sql))
            try:
                self._parser.tree(query)
            except Unclear:
                raise Refused(_PIVOT) from None
            return [Parsed("SELECT", query)]
        return found

    def _statement(self, rights: _Rights, parsed: Parsed) -> Verdict:
        kind = parsed.kind
        if kind not in _KINDS[rights.role]:
            article = "an" if rights.role is Role.ADMIN else "a"
            raise Refused(f"{article} {rights.role} may not run {kind.replace('_', ' ')}")
        if not parsed.sql.strip():
            raise Refused(_PIVOT)
        text = Text(parsed.sql)
        for token in text.tokens:
            if token.name is not None:
                self._refuse_hidden(token.name)
        if kind == "SELECT":
            if text.tokens and text.tokens[0].name == "copy":
                raise Refused("COPY is not allowed")
            self._query(rights, text)
            return Verdict(True, kind, plain=True)
        if kind == "EXPLAIN":
            return Verdict(True, kind, plain=self._explain(rights, text).plain)
        if kind == "SET":
            self._set(rights, text)
        elif kind == "CALL":
            self._call(rights, text)
        elif kind in _WRITES:
            if any(token.name == "time_ns" for token in text.tokens):
                raise Refused(
                    "TIME_NS would end the node when it is written to Parquet: use TIME or a number"
                )
            write = take_apart(kind, text, self._parser.reserved)
            self._write(rights, write)
            rows = write.literal_rows if kind == "INSERT" else 0
            return Verdict(True, kind, plain=not write.in_session, rows=rows)
        return Verdict(True, kind)

    def _explain(self, rights: _Rights, text: Text) -> Verdict:
        inner = self._parser.statements(explained(text, self._parser.reserved))
        if len(inner) != 1:
            raise Unclear("the statement cannot be checked: EXPLAIN takes one statement")
        return self._statement(rights, inner[0])

    def _set(self, rights: _Rights, text: Text) -> None:
        if is_harmless_setting(text, self._parser.reserved):
            return
        names = used(text, self._parser.reserved)
        if names is None or rights.grants is not None:
            raise Refused(
                "settings are locked: only SET TimeZone, SET Calendar and, without grants, USE are allowed"
            )
        if len(names) > 1 and names[0] != self._lake:
            raise Refused(f"only the lake can be used: USE {self._lake}.SCHEMA")

    def _call(self, rights: _Rights, text: Text) -> None:
        query, checkpoint = called(text, self._parser.reserved)
        refuse_deadly_option(text)
        if checkpoint is not None:
            if rights.role is not Role.ADMIN or any(name != self._lake for name in checkpoint):
                raise Refused(f"only an admin may run CHECKPOINT, and only of {self._lake}")
        else:
            self._query(rights, Text(query))

    def _write(self, rights: _Rights, write: Write) -> None:
        if rights.grants is not None and (write.temporary or write.macro):
            raise Refused("with grants there are no temporary tables and no macros")
        for target in write.targets:
            self._target(rights, target)
            if write.macro and target.table in self._functions.known:
                raise Refused(f"{target.table} is a function already")
        for query in write.queries:
            self._query(rights, Text(query))
        for part in write.bare:
            self._functions_called(rights, Text(part))
        for default in write.defaults:
            if not is_constant(self._parser.tree(f"SELECT (\n{default}\n)")):
                raise Refused(_COMPUTED.format(default.strip()))

    def _query(self, rights: _Rights, text: Text) -> None:
        if text.is_plain_values():
            return
        found = uses(self._parser.tree(text.sql))
        after_from = self._functions.after_from(rights.role, rights.grants is not None)
        for name in found.table_functions:
            self._function(rights, name, after_from)
        for name in found.functions:
            self._function(rights, name, self._functions.scalar)
        for name in found.tables:
            self._table(rights, name)
        for name in found.shows:
            for part in (name.catalog, name.schema, name.table.strip('"')):
                self._refuse_hidden(part)
        self._functions_called(rights, text)

    def _function(self, rights: _Rights, name: Name, allowed: frozenset[str]) -> None:
        for part in (name.catalog, name.schema, name.table):
            self._refuse_hidden(part)
        if name.table in allowed:
            return
        if name.table in self._functions.known:
            raise Refused(f"the function {name.table} is not allowed: {self._functions.why(name.table)}")
        if rights.grants is not None:
            raise Refused(f"the function {name.table} is not allowed: with grants there are no macros")

    def _functions_called(self, rights: _Rights, text: Text) -> None:
        """The second layer: no refused name in front of a parenthesis, whatever the tree says."""
        allowed = self._functions.after_from(rights.role, rights.grants is not None) | self._functions.scalar
        for name in text.called():
            if name in self._functions.known and name not in allowed:
                raise Refused(f"the function {name} is not allowed: {self._functions.why(name)}")

    def _table(self, rights: _Rights, name: Name) -> None:
        self._refuse_file(name)
        if name.catalog and name.catalog not in (self._lake, *_SYSTEM_CATALOGS):
            raise Refused(f"there is nothing to read in the catalog {name.catalog}")
        if name.schema in _SYSTEM_SCHEMAS:
            if name.table not in self._functions.views:
                raise Refused(f"the view {name.table} is not allowed")
            return
        if self._is_system_view(name):
            if name.table in self._functions.refused_views:
                raise Refused(f"the view {name.table} is not allowed")
            return
        self._granted(rights, "select", name.catalog, name.schema, name.table)

    def _is_system_view(self, name: Name) -> bool:
        """Whether DuckDB could take `name` for a view of its own that needs no schema."""
        return name.schema in ("", "main", *_SYSTEM_CATALOGS) and self._reserved(name.table)

    def _reserved(self, table: str) -> bool:
        known = self._functions.views | self._functions.refused_views
        return table in known and table.startswith(("duckdb_", "pg_", "sqlite_", "pragma_"))

    def _target(self, rights: _Rights, target: Target) -> None:
        self._refuse_file(Name(target.catalog, target.schema, "" if target.table == EVERY else target.table))
        if self._reserved(target.table) or target.schema in _SYSTEM_SCHEMAS:
            raise Refused(f"{target.table} is a name of DuckDB's own")
        catalog = target.catalog or (target.schema if target.schema in _OTHER_CATALOGS else "")
        if catalog not in ("", self._lake, "temp"):
            raise Refused(f"nothing can be written in the catalog {catalog}: use {self._lake}")
        self._granted(rights, target.privilege, target.catalog, target.schema, target.table)

    def _granted(self, rights: _Rights, privilege: str, catalog: str, schema: str, table: str) -> None:
        if rights.grants is None:
            return
        if catalog not in ("", self._lake) or schema in _SYSTEM_CATALOGS:
            raise Refused(f"with grants only {self._lake} is within reach")
        # DuckDB takes `lake.t` for lake.main.t, and a bare name for one on the search path.
        schemas = (
            rights.path if not schema else ("main",) if schema == self._lake and not catalog else (schema,)
        )
        for each in schemas or ("",):
            if not any(grant.covers(privilege, each, table) for grant in rights.grants):
                raise Refused(f"no grant to {privilege} on {each}.{table}")

    def _refuse_hidden(self, name: str) -> None:
        if name.startswith(_HIDDEN):
            raise Refused("the metadata of the lake is out of reach")

    def _refuse_file(self, name: Name) -> None:
        parts = (name.catalog, name.schema, name.table)
        if any(_FILE_SIGNS.intersection(part) for part in parts):
            raise Refused(
                "files cannot be read or written by name, and a name that looks like one is refused"
            )
        if name.schema and name.table in self._functions.file_endings:
            raise Refused(f"{name.schema}.{name.table} reads like the name of a file, so it is refused")


def _sentence(error: Refused) -> str:
    text = str(error)
    if isinstance(error, Unparsed):
        return text
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "\n")) else ".")
