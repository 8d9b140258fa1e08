"""What each name in a statement may be: the rules by which tables, functions and targets are allowed or refused."""

from __future__ import annotations

from azquack.policy.errors import Refused, Unclear
from azquack.policy.functions import Functions
from azquack.policy.lexer import Text
from azquack.policy.listings import DESCRIBED, Listings
from azquack.policy.naming import What, is_plain, refuse_name
from azquack.policy.piece import Piece
from azquack.policy.reader import Target
from azquack.policy.resolve import SYSTEM_SCHEMAS, Resolver, Work
from azquack.policy.rights import Rights
from azquack.policy.scope import MAIN, SYSTEM, TEMP, Kind
from azquack.policy.tree import Name
from azquack.policy.views import Read
from azquack.policy.visible import FUNCTIONS
from azquack.principals.principal import Role
from azquack.sql import identifier, literal

# Nothing is made in these, and one that names them means DuckDB's own.
_OTHER_CATALOGS = frozenset({"memory", SYSTEM})
# DuckLake attaches its metadata under this name; DuckDB's own hidden tables begin with it too.
_HIDDEN = ("__ducklake", "__duckdb")
# What a name cannot hold if it is not to be taken for a file: DuckDB reads FROM 'x.parquet' as one.
_FILE_SIGNS = frozenset("./\\:*?[]{}")


class Rules:
    """The rules of the lake `lake`, whose nodes know `functions`; `listings` are those of DuckDB's own."""

    def __init__(self, lake: str, functions: Functions, listings: Listings) -> None:
        self._lake = lake
        self._functions = functions
        self._listings = listings
        self._resolver = Resolver(lake, functions)

    def refuse_hidden(self, *names: str) -> None:
        if any(name.startswith(_HIDDEN) for name in names):
            raise Refused("the metadata of the lake is out of reach")

    def table(
        self, work: Work, piece: Piece, name: Name, offset: int, *, past: bool = False, named: bool = False
    ) -> None:
        """A table or view that a query reads; what is temporary has no `past`, and is not looked for there.

        `named` says that the query gives it another name.
        """
        self._refuse_file(name.catalog, name.schema, name.table)
        parts = name.parts
        catalog, schema = self._resolver.place(work, "table", parts, past=past)
        if catalog == SYSTEM:
            if name.table not in self._functions.views:
                raise Refused(f"the view {name.table} is not allowed")
            if self._listings.lists(schema, name.table):
                self._listings.view(work, piece, schema, name, offset, named=named)
                return
        self._resolver.write_out(work, piece, parts, offset, catalog, schema)
        if catalog == SYSTEM:
            return
        if len(parts) == 1 or catalog != TEMP:
            self._refuse_file(catalog, schema, name.table)
        self._granted(work, "select", catalog, schema, name.table)
        if catalog == self._lake:
            work.reads.add(Read(schema, name.table, past))

    def function(self, work: Work, piece: Piece, name: Name, offset: int, allowed: frozenset[str]) -> None:
        """A function that a query calls; `allowed` are those of DuckDB's that may stand there."""
        self.refuse_hidden(name.catalog, name.schema, name.table)
        known = name.table in self._functions.known
        if known and name.table not in allowed:
            raise Refused(f"the function {name.table} is not allowed: {self._functions.why(name.table)}")
        if not known and work.rights.grants is not None:
            raise Refused(f"the function {name.table} is not allowed: with grants there are no macros")
        parts = name.parts
        if known or name.table in allowed:
            if parts[0] == self._lake and len(parts) == 2:
                self._resolver.write_out(work, piece, parts, offset, self._lake, MAIN)
            return
        if name.catalog and name.catalog not in (self._lake, TEMP):
            raise Refused(f"there is nothing to call in the catalog {name.catalog}")
        if (
            len(parts) == 2
            and parts[0] not in (self._lake, TEMP, MAIN, SYSTEM)
            and self._is_chained(work, parts)
        ):
            raise Unclear(
                f"call the macro {parts[-1]} by its full name, as {self._lake}.{MAIN}.{parts[-1]}(…)"
            )
        self._resolver.write_out(work, piece, parts, offset, *self._resolver.place(work, "function", parts))

    def listed(self, work: Work, piece: Piece, name: Name, offset: int, *, named: bool) -> bool:
        """Whether the table function `name` is a listing of DuckDB's own: then its visible rows are read."""
        if name.table in FUNCTIONS:
            self._listings.function(work, piece, name, offset, named=named)
        elif name.table in DESCRIBED:
            first, parts, end = self._listings.described(work, piece, name, offset)
            catalog, schema = self._resolver.place(work, "table", parts)
            if catalog == SYSTEM and parts[-1] not in self._functions.views:
                raise Refused(f"the view {parts[-1]} is not allowed")
            if catalog == self._lake:
                self._refuse_unknown(work, schema, parts[-1])
            full = f"{catalog}.{identifier(schema)}.{identifier(parts[-1])}"
            work.edits.replace(first, end, literal(full))
        else:
            return False
        return True

    def _refuse_unknown(self, work: Work, schema: str, table: str) -> None:
        """Raises `Refused` for what is out of reach of every grant."""
        grants = work.rights.grants
        if grants is not None and not any(
            grant.covers(each, schema, table) for grant in grants for each in grant.privileges
        ):
            raise Refused(f"no grant on {schema}.{table}")

    def unqualify(self, work: Work) -> None:
        """Puts right how columns of DuckDB's own listings are named, once all of these have been seen."""
        self._listings.unqualify(work)

    def shows(self, work: Work, piece: Piece, expected: int) -> None:
        """The SHOWs of a query that list something, of which there are `expected`."""
        self._listings.shows(work, piece, expected)

    def _is_chained(self, work: Work, parts: list[str]) -> bool:
        """Whether `a.f()` is the function f of the column a, and not the macro f of the schema a."""
        schema, name = parts
        if ("function", name) not in work.scope.asked:
            work.asked.add(("function", name))
            return False
        return ("function", self._lake, schema, name) not in work.scope.found

    def functions_called(self, rights: Rights, text: Text) -> None:
        """The second layer: no refused name in front of a parenthesis, whatever the tree says."""
        allowed = self._functions.after_from(rights.role, rights.grants is not None) | self._functions.scalar
        for name in text.called():
            if name in self._functions.known and name not in allowed:
                raise Refused(f"the function {name} is not allowed: {self._functions.why(name)}")

    def target(self, work: Work, target: Target, *, temporary: bool = False, drops: bool = False) -> None:
        """What a statement makes, changes or takes away."""
        parts = target.parts
        if target.what == "schema":
            return self._schema(work, target, parts, drops=drops)
        kind: Kind = "function" if target.what == "macro" else "table"
        own = (
            SYSTEM_SCHEMAS.intersection(parts[:-1])
            if target.makes
            else SYSTEM_SCHEMAS.intersection(parts[:-1][:1])
        )
        if own or (len(parts) == 2 and parts[0] in _OTHER_CATALOGS):
            raise Refused(f"nothing can be written in {'.'.join(parts[:-1])}: use {self._lake}")
        catalog, schema = (
            self._resolver.made_in(work, parts, temporary)
            if target.makes
            else self._resolver.place(work, kind, parts, changed=True)
        )
        if catalog not in (self._lake, TEMP):
            raise Refused(f"nothing can be written in the catalog {catalog}: use {self._lake}")
        if target.makes:
            refuse_name(target.what, target.table, self._lake, self._functions)
        self._refuse_odd(work, target, catalog, schema)
        if target.first >= 0:
            self._resolver.insert(work, target.first, parts, catalog, schema)
        self._granted(work, target.privilege, catalog, schema, target.table)
        return None

    def schema_of(self, work: Work, target: Target) -> str:
        """The schema in which `target`, a view, is made."""
        return self._resolver.made_in(work, target.parts, temporary=False)[1]

    def named(self, what: What, name: str) -> None:
        """What already is gets a new name, or a column its name."""
        refuse_name(what, name, self._lake, self._functions)

    def everywhere(self, work: Work, target: Target) -> None:
        """Somebody needs the right to create all over the schema of `target`."""
        catalog, schema = self._resolver.place(work, "table", target.parts, changed=True)
        self._granted(work, "create", catalog, schema, "*")

    def used(self, work: Work, target: Target) -> None:
        """The schema that USE takes."""
        parts = target.parts
        if len(parts) > 2 or (len(parts) == 2 and parts[0] != self._lake):
            raise Refused(f"only the lake can be used: USE {self._lake}.SCHEMA")
        if any(set('.,"') & set(part) for part in parts):
            raise Refused("a schema of this name cannot be used: name its tables in full")
        if len(parts) == 1 and parts[0] != self._lake:
            work.edits.put(work.text.tokens[target.first].start, f"{self._lake}.")

    def _schema(self, work: Work, target: Target, parts: list[str], *, drops: bool) -> None:
        if len(parts) > 1 and parts[0] != self._lake:
            raise Refused(f"nothing can be written in the catalog {parts[0]}: use {self._lake}")
        if target.makes:
            if target.schema != MAIN:
                refuse_name("schema", target.schema, self._lake, self._functions)
        elif drops and target.schema == MAIN:
            raise Refused(
                f"the schema {MAIN} belongs to every lake and cannot be dropped: drop what it holds"
            )
        elif work.rights.role is not Role.ADMIN and not is_plain(target.schema, self._lake, self._functions):
            raise Refused(
                f"only an admin may change the schema {target.schema}: its name is not allowed any more"
            )
        if len(parts) == 1:
            work.edits.put(work.text.tokens[target.first].start, f"{self._lake}.")
        self._granted(work, target.privilege, self._lake, target.schema, target.table)

    def _refuse_odd(self, work: Work, target: Target, catalog: str, schema: str) -> None:
        """What bears a name that nothing could get today is dropped, renamed and commented on by admins only."""
        if is_plain(target.table, self._lake, self._functions):
            return
        if target.privilege != "create" or target.makes:
            self._refuse_file(catalog, schema, target.table)
            raise Refused(f"the name {target.table} is not allowed any more: an admin can rename it")
        if work.rights.role is not Role.ADMIN or work.rights.grants is not None:
            raise Refused(f"only an admin may change {target.table}: its name is not allowed any more")

    def _granted(self, work: Work, privilege: str, catalog: str, schema: str, table: str) -> None:
        grants = work.rights.grants
        if grants is None:
            return
        if catalog != self._lake:
            raise Refused(f"with grants only {self._lake} is within reach")
        if not any(grant.covers(privilege, schema, table) for grant in grants):
            raise Refused(f"no grant to {privilege} on {schema}.{table}")

    def _refuse_file(self, catalog: str, schema: str, table: str) -> None:
        if any(_FILE_SIGNS.intersection(part) for part in (catalog, schema, table)):
            raise Refused(
                "files cannot be read or written by name, and a name that looks like one is refused"
            )
        if schema and table in self._functions.file_endings:
            raise Refused(f"{schema}.{table} reads like the name of a file, so it is refused")
