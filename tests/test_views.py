"""Views by themselves: who made one is read back from every form of a body, and what it reads is what DuckDB scans."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azquack.gateway.checks import Checks
from azquack.policy.parser import Parser
from azquack.policy.policy import Policy
from azquack.policy.views import Body, Read, View, Views, read
from azquack.principals import Grant, Principal, Role

ROUNDS = int(os.environ.get("AZQUACK_TEST_ROUNDS", "150"))
TABLES = ("main.t", "main.u", "s.t", "s.u")
ANN = Principal("ann.o|x@y", Role.WRITER, "f", (Grant.parse("all on *"),))


class Bodies:
    """Random bodies of views over `TABLES`, all of two columns `a` and `b`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._clauses: list[str] = []

    def body(self, depth: int = 3) -> str:
        forms: list[Callable[[int], str]] = [self._plain, self._values]
        if depth:
            forms += [
                self._with,
                self._union,
                self._parens,
                self._from,
                self._where,
                self._pivot,
                self._lateral,
            ]
        return self._random.choice(forms)(depth - 1)

    def _source(self) -> str:
        return self._random.choice([*TABLES, *self._clauses, "t", "main.u", "lake.s.t"])

    def _plain(self, depth: int) -> str:
        return self._random.choice(["SELECT a, b FROM {}", "FROM {}", "TABLE {}"]).format(self._source())

    def _values(self, depth: int) -> str:
        return "SELECT * FROM (VALUES (1, 2), (3, 4)) v(a, b)"

    def _with(self, depth: int) -> str:
        name = self._random.choice(["x", "t", "u"])
        recursive = self._random.choice(["", "RECURSIVE "])
        inner = self.body(depth)
        kept = list(self._clauses)
        self._clauses.append(name)
        outer = f"SELECT a, b FROM ({self.body(depth)}) z"
        self._clauses = kept
        return f"WITH {recursive}{name} AS ({inner}) {outer}"

    def _union(self, depth: int) -> str:
        verb = self._random.choice(["UNION", "UNION ALL", "EXCEPT", "INTERSECT"])
        return f"({self.body(depth)}) {verb} ({self.body(depth)})"

    def _parens(self, depth: int) -> str:
        return f"({self.body(depth)})" + self._random.choice(["", " LIMIT 3", " ORDER BY 1"])

    def _from(self, depth: int) -> str:
        return f"SELECT y.a, y.b FROM ({self.body(depth)}) y, {self._source()} r LIMIT 5"

    def _where(self, depth: int) -> str:
        return f"SELECT a, b FROM {self._source()} WHERE a IN (SELECT a FROM ({self.body(depth)}) q)"

    def _pivot(self, depth: int) -> str:
        return f'SELECT a, "1" AS b FROM (PIVOT ({self.body(depth)}) ON b IN (1) USING count(*) GROUP BY a)'

    def _lateral(self, depth: int) -> str:
        return f"SELECT l.a, l.b FROM {self._source()} o, LATERAL ({self.body(depth)}) l"


@pytest.fixture(scope="module")
def lake() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("ATTACH ':memory:' AS lake; USE lake; CREATE SCHEMA s")
        for at, each in enumerate(TABLES):
            connection.execute(f"CREATE TABLE {each} AS SELECT range AS a, range + {at} AS b FROM range(3)")
        # A scan that DuckDB knows to be empty or a constant would leave its plan.
        connection.execute(
            "SET disabled_optimizers = 'statistics_propagation,empty_result_pullup,filter_pullup'"
        )
        yield connection


@pytest.fixture(scope="module")
def policy() -> Iterator[Policy]:
    made = Policy()
    yield made
    made.close()


def scanned(lake: duckdb.DuckDBPyConnection, sql: str) -> set[tuple[str, str]]:
    """The tables that DuckDB binds in `sql`, by its own account of a statement before any optimizer."""
    lake.execute("PRAGMA disable_optimizer")
    ((_, plan),) = lake.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()
    lake.execute("PRAGMA enable_optimizer")
    found: set[tuple[str, str]] = set()
    todo: list[Any] = json.loads(plan)
    while todo:
        node = todo.pop()
        todo += node["children"]
        if table := node.get("extra_info", {}).get("Table"):
            found.add(tuple(table.split(".")[-2:]))
    return found


def test_every_body_keeps_its_maker_its_rows_and_its_names(
    lake: duckdb.DuckDBPyConnection, policy: Policy
) -> None:
    made = 0
    for seed in range(ROUNDS):
        body = Bodies(seed).body()
        columns = random.Random(seed).choice(["", "(c)", '("as", "WITH")'])
        try:
            lake.execute(f"CREATE OR REPLACE VIEW main.plain{columns} AS {body}")
        except duckdb.Error:
            # It limits or orders twice.
            continue
        made += 1
        verdict = policy.check(ANN, f"CREATE OR REPLACE VIEW main.v{columns} AS {body}")
        assert verdict.allowed, f"seed {seed}: {verdict.reason}\n{body}"
        assert verdict.sql is not None
        lake.execute(verdict.sql)
        assert shown(lake, "v", body) == shown(lake, "plain", body), f"seed {seed}: {body}"
        told = dict(lake.execute("SELECT view_name, sql FROM duckdb_views() WHERE NOT internal").fetchall())
        view = policy.view(told["v"], "main")
        assert view.makers == {ANN.name}, f"seed {seed}: {told['v']}"
        assert view.reads == verdict.reads, f"seed {seed}: {told['v']}"
        other = policy.view(told["plain"], "main")
        assert other.makers == frozenset()
        assert other.reads is not None
        assert {each[:2] for each in view.reads or ()} <= {each[:2] for each in other.reads}
        # Of a clause that nothing reads DuckDB scans nothing.
        assert {each[:2] for each in view.reads or ()} >= scanned(lake, "FROM main.v"), f"seed {seed}: {body}"
    assert made > ROUNDS / 2


def shown(lake: duckdb.DuckDBPyConnection, view: str, body: str) -> tuple[list[Any], list[Any]]:
    """The columns of a view, and its rows where they are always the same."""
    result = lake.execute(f"FROM main.{view}")
    return list(result.description or ()), [] if "LIMIT" in body else sorted(result.fetchall())


@given(text=st.text(max_size=60), signed=st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_text_of_a_view_raises(text: str, signed: bool) -> None:
    view = read(
        f"CREATE VIEW v AS WITH azquack_maker AS ({text}) {text}" if signed else text, "s", "lake", PARSER
    )
    assert view.reads is not None or view.makers in (frozenset(), frozenset({""}))
    if signed and view.reads is None:
        assert view.makers, "what bears a note and cannot be read must not pass for a view without one"


PARSER = Parser()


class Lake:
    """`Views` that read a text when it is needed."""

    def __init__(self, now: dict[tuple[str, str], str], past: dict[str, list[str]]) -> None:
        self._read: dict[Body, View] = {}
        self._views = Views(now, past, self._read)

    def unknown(self, reads: list[Read]) -> frozenset[str]:
        self._all(reads)
        return self._views.unknown(reads)

    def refusal(self, reads: list[Read], people: Callable[[str], list[Principal]]) -> str:
        self._all(reads)
        return self._views.refusal(reads, people)

    def _all(self, reads: list[Read]) -> None:
        while unread := self._views.unread(reads):
            self._read |= {each: read(*each, "lake", PARSER) for each in unread}


def views(definitions: dict[str, tuple[str, str]], past: dict[str, list[str]] | None = None) -> Lake:
    """A lake with these views of the schema `s`: by name, its maker (nobody if empty) and its body."""
    return Lake({("s", name): signed(*view) for name, view in definitions.items()}, past or {})


def signed(maker: str, body: str) -> str:
    return f"CREATE VIEW v AS WITH azquack_maker AS (SELECT '{maker}') {body}" if maker else body


def people(**grants: str) -> Callable[[str], list[Principal]]:
    def named(name: str) -> list[Principal]:
        if name not in grants:
            return []
        return [Principal(name, Role.WRITER, "f", tuple(map(Grant.parse, grants[name].split(";"))))]

    return named


def test_each_view_on_the_way_is_held_against_its_own_maker() -> None:
    lake = views(
        {
            "a": ("ann", "FROM lake.s.t"),
            "b": ("bob", "FROM lake.s.a"),
            "c": ("", "FROM lake.s.b"),
            "d": ("", "FROM t"),
        }
    )
    start = [Read("s", "c")]
    assert lake.refusal(start, people(ann="select on s.t", bob="select on s.a")) == ""
    assert "s.a reads s.t" in lake.refusal(start, people(ann="select on s.b", bob="select on s.a"))
    assert "s.b reads s.a" in lake.refusal(start, people(ann="select on s.t", bob="select on s.t"))
    assert "bob, who is no principal" in lake.refusal(start, people(ann="select on s.t"))
    assert lake.refusal([Read("s", "d"), Read("s", "t"), Read("x", "y")], people()) == ""


def test_views_that_lead_back_to_themselves_end() -> None:
    lake = views({"a": ("ann", "FROM lake.s.b"), "b": ("ann", "FROM lake.s.a, lake.s.b")})
    assert lake.refusal([Read("s", "a")], people(ann="select on s.*")) == ""
    assert "s.b" in lake.refusal([Read("s", "a")], people(ann="select on s.a"))


def test_one_name_of_several_books_has_the_rights_that_all_of_them_give() -> None:
    lake = views({"a": ("ann", "FROM lake.s.t")})
    wide, narrow = people(ann="select on *")("ann"), people(ann="select on s.a")("ann")
    assert lake.refusal([Read("s", "a")], lambda _: wide) == ""
    assert "s.t" in lake.refusal([Read("s", "a")], lambda _: wide + narrow)


def test_the_past_is_asked_for_and_then_held() -> None:
    lake = views({"a": ("ann", "FROM lake.s.gone AT (VERSION => 3)")})
    assert lake.unknown([Read("s", "a")]) == {"gone"}
    assert lake.unknown([Read("s", "a"), Read("s", "a", past=True)]) == {"gone", "a"}
    past = {"gone": [signed("bob", "FROM {DUCKLAKE_CATALOG}.s.secret"), "SELECT 1"]}
    known = views({"a": ("ann", "FROM lake.s.gone AT (VERSION => 3)")}, past)
    assert known.unknown([Read("s", "a")]) == frozenset()
    assert known.refusal([Read("s", "a")], people(ann="select on s.*", bob="select on s.secret")) == ""
    assert "s.secret" in known.refusal([Read("s", "a")], people(ann="select on s.*", bob="select on s.a"))


def test_a_note_that_cannot_be_read_is_refused() -> None:
    for body in ("garbage (", "WITH azquack_maker AS (SELECT 1 + 1, 2) FROM lake.s.t"):
        lake = Lake({("s", "a"): f"CREATE VIEW a AS /* azquack_maker */ {body}"}, {})
        assert "cannot be read" in lake.refusal([Read("s", "a")], people(ann="all on *"))


def test_two_with_the_same_grants_do_not_sign_for_each_other(policy: Policy) -> None:
    bob = Principal("bob", Role.WRITER, "f", ANN.grants)
    texts = [policy.check(each, "CREATE VIEW v AS FROM t").sql for each in (ANN, bob, ANN)]
    makers = [policy.view(text or "", "main").makers for text in texts]
    assert makers == [{ANN.name}, {"bob"}, {ANN.name}]
    admin = Principal("eve", Role.ADMIN, "f")
    assert policy.view(policy.check(admin, "CREATE VIEW v AS FROM t").sql or "", "main") == View(
        frozenset(), frozenset({Read("main", "t")})
    )


def test_a_large_view_is_read_in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway that read it itself would serve nobody meanwhile."""
    keys = ", ".join(map(str, range(20_000)))
    large, policy, started = f"CREATE VIEW v AS SELECT a FROM lake.s.t WHERE a IN ({keys})", Policy(), []
    start = asyncio.create_subprocess_exec

    async def noted(*arguments: Any, **settings: Any) -> Any:
        started.append(await start(*arguments, **settings))
        return started[-1]

    async def elsewhere() -> View:
        checks = Checks(policy, seconds=60)
        try:
            return await checks.view(ANN, large, "main")
        finally:
            checks.close()
            for each in started:
                await each.wait()

    monkeypatch.setattr(asyncio, "create_subprocess_exec", noted)
    known = policy.view(large, "main")
    assert asyncio.run(elsewhere()) == known == View(frozenset(), frozenset({Read("s", "t")}))
    assert len(started) == 1
