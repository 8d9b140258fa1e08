"""The policy: whether a principal may run a statement, and what a node runs in its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

from azquack.patterns import re
from azquack.policy.commands import called, explained, is_harmless_setting, used
from azquack.policy.errors import Refused, Unclear, Unparsed
from azquack.policy.functions import Functions
from azquack.policy.lexer import Text, plain_blanks
from azquack.policy.listings import Listings
from azquack.policy.options import refuse_harmful_option
from azquack.policy.parser import Parsed, Parser
from azquack.policy.piece import Piece, Whole
from azquack.policy.pivot import with_values
from azquack.policy.reader import Target
from azquack.policy.resolve import Work
from azquack.policy.rewrite import take_apart
from azquack.policy.rights import MAKER, Rights
from azquack.policy.rules import Rules
from azquack.policy.scope import MAIN, Asked, Scope
from azquack.policy.shape import CHARACTERS, checked_size
from azquack.policy.tree import is_constant, uses
from azquack.policy.verdict import Effect, Verdict
from azquack.policy.views import FORGED, View, read, sign
from azquack.policy.write import Write
from azquack.principals.principal import Principal, Role, folded

_READS = frozenset({"SELECT", "EXPLAIN", "TRANSACTION", "SET"})
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE_INTO", "CREATE", "ALTER", "DROP"})
_KINDS = {
    Role.READER: _READS,
    Role.WRITER: _READS | _WRITES | {"CALL"},
    Role.ADMIN: _READS | _WRITES | {"CALL"},
}
_CACHED_LENGTH = 8_192
_PRAGMA = re.compile(r"\s*+PRAGMA\b", re.IGNORECASE)
_UNTOUCHED = Scope()
_TOUCHED = (
    "behind USE, and behind what makes or changes something temporary, names must be given in full: or send what "
    "follows as a query of its own"
)
_PIVOT = (
    "DuckDB makes several statements of this PIVOT: name its values, as in PIVOT … ON column IN ('a', 'b'), "
    "or let it stand by itself"
)
_COMPUTED = (
    "the default {} is computed, and would keep every client from attaching: use a constant, and give the value "
    "in the INSERT"
)


class Policy:
    """Checks statements for the lake `lake`.

    `functions` are the names of all functions of the nodes behind the policy (`duckdb_functions()`): one that
    was not reviewed is refused, while a name that no node knows can only be a macro of the lake, whose body
    was checked when it was made. Texts of more than `longest` characters are refused unparsed.
    """

    def __init__(self, lake: str = "lake", functions: Iterable[str] = (), longest: int = CHARACTERS) -> None:
        self._made_of = (lake, tuple(functions), longest)
        self._lake = folded(lake)
        self._functions = Functions.load(self._made_of[1])
        self._longest = longest
        self._parser = Parser()
        listings = Listings(self._lake, self._functions, self._parser)
        self._rules = Rules(self._lake, self._functions, listings)
        self._remembered = lru_cache(maxsize=1024)(self._judge)

    def __reduce__(self) -> tuple[type[Policy], tuple[str, tuple[str, ...], int]]:
        """The same policy in another process: its parser is made anew there."""
        return type(self), self._made_of

    @property
    def lake(self) -> str:
        """The name of the lake, in lower case."""
        return self._lake

    def close(self) -> None:
        self._remembered.cache_clear()
        self._parser.close()

    def check(self, principal: Principal, sql: str, scope: Scope = _UNTOUCHED) -> Verdict:
        """Whether `principal` may run `sql`, in a session whose names mean what `scope` says.

        Every statement of it must pass. A principal with grants has nothing temporary and uses no other schema, so
        its session is always an untouched one.
        """
        if principal.grants is not None and not (scope.untouched and scope.schema == MAIN):
            scope = replace(scope, schema=MAIN, untouched=True)
        rights = Rights.of(principal)
        try:
            checked_size(sql, self._longest)
        except Refused as error:
            return Verdict(False, "UNKNOWN", _sentence(error))
        return (self._remembered if len(sql) <= _CACHED_LENGTH else self._judge)(rights, sql, scope)

    def view(self, sql: str, schema: str) -> View:
        """The view of the lake's `schema` that a node tells as `sql`."""
        return read(sql, schema, self._lake, self._parser)

    def check_append(self, principal: Principal, schema: str, table: str) -> Verdict:
        """Whether `principal` may append rows to `schema.table`, as a native INSERT does."""
        work = Work(Rights(principal.role, principal.grants), _UNTOUCHED, Text(""))
        try:
            if principal.role is Role.READER:
                raise Refused("a reader may not INSERT")
            target = Target("insert", "", folded(schema), folded(table))
            self._rules.refuse_hidden(target.schema, target.table)
            self._rules.target(work, target)
        except Refused as error:
            return Verdict(False, "INSERT", _sentence(error))
        return Verdict(True, "INSERT", plain=True)

    def _judge(self, rights: Rights, sql: str, scope: Scope) -> Verdict:
        kinds: list[str] = []
        effects: list[Effect] = []
        asked: set[Asked] = set()
        touched = False
        try:
            for parsed in self._statements(sql):
                kinds.append(parsed.kind)
                # What bare names mean behind a statement that changes the session, nobody can be asked yet.
                unknown: set[Asked] = set()
                effect = self._statement(rights, parsed, scope, unknown if touched else asked)
                if unknown:
                    raise Refused(_TOUCHED)
                effects.append(effect)
                if effect.touches:
                    touched, scope = True, Scope(untouched=False)
        except Refused as error:
            return Verdict(False, ",".join(kinds) or "UNKNOWN", _sentence(error), asked=frozenset(asked))
        except (KeyError, TypeError) as error:
            # A tree of another shape than the pinned DuckDB's: what is not understood is refused.
            return Verdict(False, ",".join(kinds), f"The statement cannot be checked ({error!r}).")
        rows = effects[0].rows if len(effects) == 1 else 0
        return Verdict(
            not asked,
            ",".join(dict.fromkeys(kinds)) or "EMPTY",
            plain=all(effect.plain for effect in effects),
            rows=rows,
            sql=";\n".join(effect.sql for effect in effects),
            touches=any(effect.touches for effect in effects),
            asked=frozenset(asked),
            reads=frozenset().union(*(effect.reads for effect in effects)),
        )

    def _statements(self, sql: str) -> list[Parsed]:
        plain = plain_blanks(sql)
        if _PRAGMA.match(plain):
            # DuckDB runs another text in its place, which is then the statement here.
            return [Parsed("SELECT", self._parser.pragma(plain))]
        try:
            found = self._parser.statements(plain)
        except Unparsed:
            # DuckDB shows the line as it came.
            self._parser.statements(sql)
            raise
        if any(parsed.kind == "ALTER" and not parsed.sql for parsed in found):
            # DuckDB makes five statements of ADD COLUMN with a computed default.
            raise Refused(_COMPUTED.format("of ADD COLUMN"))
        if not all(parsed.sql for parsed in found):
            # DuckDB splits a PIVOT without values and loses its text.
            try:
                self._parser.tree(with_values(Text(plain)).sql)
            except Unclear:
                raise Refused(_PIVOT) from None
            return [Parsed("SELECT", plain, split=True)]
        return found

    def _statement(self, rights: Rights, parsed: Parsed, scope: Scope, asked: set[Asked]) -> Effect:
        if parsed.kind not in _KINDS[rights.role]:
            article = "an" if rights.role is Role.ADMIN else "a"
            raise Refused(f"{article} {rights.role} may not run {parsed.kind.replace('_', ' ')}")
        if not parsed.sql.strip():
            raise Refused(_PIVOT)
        text = Text(parsed.sql)
        for token in text.tokens:
            if token.name is not None:
                self._rules.refuse_hidden(token.name)
            if token.name == MAKER:
                raise Refused(FORGED)
        work = Work(rights, scope, text)
        try:
            effect = self._run(work, parsed.kind, with_values(text) if parsed.split else Whole(text))
        finally:
            asked |= work.asked
        self._rules.unqualify(work)
        effect.sql = effect.sql or work.edits.applied(text, self._parser)
        effect.reads |= work.reads
        return effect

    def _run(self, work: Work, kind: str, piece: Piece) -> Effect:
        text = work.text
        if kind == "SELECT":
            if text.tokens and text.tokens[0].name == "copy":
                raise Refused("COPY is not allowed")
            self._query(work, piece, text if isinstance(piece, Whole) else None)
            return Effect("", plain=True)
        if kind == "EXPLAIN":
            return self._explain(work)
        if kind == "SET":
            return Effect("", touches=self._set(work))
        if kind == "CALL":
            self._call(work)
        elif kind in _WRITES:
            if any(token.name == "time_ns" for token in text.tokens):
                raise Refused(
                    "TIME_NS would end the node when it is written to Parquet: use TIME or a number"
                )
            write = take_apart(kind, text, self._parser.reserved)
            if kind == "CREATE":
                write.named += [
                    ("column", token.name) for token in text.tokens if token.quoted and token.name is not None
                ]
            self._write(work, write)
            rows = write.literal_rows if kind == "INSERT" else 0
            return Effect("", plain=not write.in_session, rows=rows, touches=write.in_session)
        return Effect("")

    def _explain(self, work: Work) -> Effect:
        piece = explained(work.text, self._parser.reserved)
        inner = self._parser.statements(piece.sql)
        if len(inner) != 1 or not piece.sql.startswith(inner[0].sql):
            raise Unclear("the statement cannot be checked: EXPLAIN takes one statement")
        asked: set[Asked] = set()
        place = piece.place(0) or 0
        try:
            effect = self._statement(work.rights, inner[0], work.scope, asked)
        finally:
            work.asked |= asked
        head = work.text.raw[:place].decode()
        return replace(effect, sql=head + effect.sql, rows=0)

    def _set(self, work: Work) -> bool:
        """Whether the setting is one that changes what names mean."""
        if is_harmless_setting(work.text, self._parser.reserved):
            return False
        target = used(work.text, self._parser.reserved)
        if target is None or work.rights.grants is not None:
            raise Refused(
                "settings are locked: only SET TimeZone, SET Calendar and, without grants, USE are allowed"
            )
        self._rules.used(work, target)
        return True

    def _call(self, work: Work) -> None:
        query, checkpoint = called(work.text, self._parser.reserved)
        refuse_harmful_option(work.text)
        if query is not None:
            self._query(work, query)
        elif work.rights.role is not Role.ADMIN or any(name != self._lake for name in checkpoint):
            raise Refused(f"only an admin may run CHECKPOINT, and only of {self._lake}")

    def _write(self, work: Work, write: Write) -> None:
        if work.rights.grants is not None and (write.temporary or write.macro):
            raise Refused("with grants there are no temporary tables and no macros")
        for target in write.targets:
            self._rules.target(work, target, temporary=write.temporary, drops=write.drops)
        if write.everywhere:
            self._rules.everywhere(work, write.everywhere)
        for what, name in write.named:
            self._rules.named(what, name)
        if write.view and not write.in_session:
            work.body = self._rules.schema_of(work, write.view)
            if work.rights.maker:
                sign(work.text, write.body, work.rights.maker, work.edits)
        for query in write.queries:
            self._query(work, query)
        for part in write.bare:
            self._rules.functions_called(work.rights, Text(part))
        for default in write.defaults:
            if not is_constant(self._parser.tree(f"SELECT (\n{default}\n)")):
                raise Refused(_COMPUTED.format(default.strip()))

    def _query(self, work: Work, piece: Piece, text: Text | None = None) -> None:
        text = text or Text(piece.sql)
        if text.is_plain_values():
            return
        found = uses(self._parser.tree(piece.sql))
        after_from = self._functions.after_from(work.rights.role, work.rights.grants is not None)
        for name, at in found.table_functions:
            if self._rules.listed(work, piece, name, at, named=at in found.named):
                continue
            self._rules.function(work, piece, name, at, after_from)
        for name, at in found.functions:
            self._rules.function(work, piece, name, at, self._functions.scalar)
        for name, at, past in found.tables:
            self._rules.table(work, piece, name, at, past=past, named=at in found.named)
        if found.shows:
            self._rules.shows(work, piece, found.shows)
        self._rules.functions_called(work.rights, text)


def _sentence(error: Refused) -> str:
    text = str(error)
    if isinstance(error, Unparsed):
        return text
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "\n")) else ".")
