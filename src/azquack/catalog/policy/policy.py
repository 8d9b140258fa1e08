"""Whether a catalog runs what it was sent.

The rule: a catalog runs what DuckLake itself or AzQuack sends, whole, and nothing else. A text that holds anything
more is refused whole, before any of it has run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from azquack.catalog.check.rules import METADATA
from azquack.catalog.policy.grammar import HEAD, Form, Grammar, Step, head_of
from azquack.patterns import re
from azquack.policy.scope import Asked
from azquack.quack.passing import PASSING

if TYPE_CHECKING:
    from azquack.policy.views import Read, View

SENTENCE = (
    "The catalog refused this: it is no statement that DuckLake 1.5.5 or AzQuack sends. Nothing of it was run, and "
    "it was logged for the operator"
)
_SESSION = re.compile(r"(?:BEGIN(?: TRANSACTION(?: READ ONLY)?)?|COMMIT|ROLLBACK);?\s*")
_BEGIN = re.compile(r"\s*BEGIN;")
_BETWEEN = re.compile(r"[ \t\n]*+(?:;[ \t\n;]*+|\Z)")
_COMMIT = re.compile(r"COMMIT;?\s*\Z")
_GUARDED = "SELECT * EXCLUDE (moved) FROM (FROM ("
_SNAPSHOT = re.compile(r'\s*INSERT INTO "main"\.ducklake_snapshot VALUES')
_CREATE = re.compile(r'\s*CREATE TABLE "main"\.ducklake_metadata\(')


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a statement is allowed, and of which kind it is: READ, WRITE, COMMIT, CREATE, OWN, SESSION or FOREIGN.

    `at` is where a refused text ceases to be known.
    """

    allowed: bool
    kind: str
    reason: str = ""
    plain: bool = False
    rows: int = 0
    at: int = 0
    # It runs as it came, whatever its session did before.
    sql: str | None = None
    touches: bool = False
    asked: frozenset[Asked] = frozenset()
    reads: frozenset[Read] = frozenset()


class CatalogPolicy:
    """Holds texts against the grammar. Stateless but for the grammar; may be asked by several threads at once."""

    lake = ""  # Names in what a catalog runs are its own, and stay as they are.

    def __init__(self) -> None:
        grammar = Grammar.load()
        self._singles = [(kind.upper(), grammar.sections[kind]) for kind in ("read", "own")]
        self._guards = grammar.sections["guard"]
        self._writes = grammar.sections["write"]
        self._commit, self._create = grammar.commit, grammar.create
        self._repairs = frozenset(repair for rule in METADATA for repair in rule.repair)

    def check(self, principal: object, sql: str, scope: object = None) -> Verdict:
        """Whether the catalog runs `sql`, whoever sends it, in whatever `scope`. Takes time by its length."""
        at = len(PASSING) if sql.startswith(PASSING) else 0
        if "\0" in sql:
            return _refused(sql.index("\0"))
        if _SESSION.fullmatch(sql, at):
            return Verdict(True, "SESSION")
        if sql[at:] in self._repairs:
            return Verdict(True, "OWN")
        guarded = sql.startswith(_GUARDED, at)
        at += len(_GUARDED) if guarded else 0
        furthest, head = at, head_of(sql[at : at + HEAD])
        for kind, forms in self._singles:
            for form in forms:
                if head.startswith(form.head) and (end := form.match(sql, at)) >= 0:
                    if kind == "READ" and self._is_guarded(sql, end) if guarded else _ends(sql, end):
                        return Verdict(True, kind)
                    furthest = max(furthest, end)
        return _refused(furthest) if guarded else self._batch(sql, furthest)

    def _is_guarded(self, sql: str, at: int) -> bool:
        """Whether the end of a question at `at` is followed by the condition of the catalog link, and nothing else."""
        return any((end := form.match(sql, at)) >= 0 and _ends(sql, end) for form in self._guards)

    def check_append(self, principal: object, schema: str, table: str) -> Verdict:
        """Nobody appends to a catalog natively."""
        return _refused(0)

    def view(self, sql: str, schema: str) -> View:
        """The views of a lake are read by the gateways of its query replicas: raises `NotImplementedError`."""
        raise NotImplementedError

    def _batch(self, sql: str, furthest: int) -> Verdict:
        begin = _BEGIN.match(sql)
        at = begin.end() if begin else 0
        if _SNAPSHOT.match(sql, at):
            kind, end = "COMMIT", _sequence(self._commit, sql, at)
        elif _CREATE.match(sql, at):
            kind, end = "CREATE", _sequence(self._create, sql, at)
        else:
            kind, end = "WRITE", _sequence([Step(self._writes, often=True, must=True)], sql, at)
        if end < 0:
            return _refused(max(furthest, ~end))
        if begin:
            commit = _COMMIT.match(sql, end)
            if commit is None:
                return _refused(end)
            end = commit.end()
        return Verdict(True, kind) if end == len(sql) else _refused(max(furthest, end))


def _sequence(steps: Iterable[Step], sql: str, at: int) -> int:
    """The place behind the statements of `steps`; when one that must come is missing, the inverted place of that."""
    head = head_of(sql[at : at + HEAD])
    for step in steps:
        found = False
        while (end := _statement(step.forms, head, sql, at)) >= 0:
            found, at = True, end
            head = head_of(sql[at : at + HEAD])
            if not step.often:
                break
        if step.must and not found:
            return ~at
    return at


def _statement(forms: Iterable[Form], head: str, sql: str, at: int) -> int:
    """The place behind a statement of one of `forms` and the semicolons after it, or -1."""
    for form in forms:
        if (
            head.startswith(form.head)
            and (end := form.match(sql, at)) >= 0
            and (between := _BETWEEN.match(sql, end))
        ):
            return between.end()
    return -1


def _ends(sql: str, at: int) -> bool:
    return not sql[at:].strip(" \t\n;") if len(sql) - at < 64 else False


def _refused(at: int) -> Verdict:
    return Verdict(False, "FOREIGN", f"{SENTENCE}.", at=at)
