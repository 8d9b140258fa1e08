"""Names are resolved once: what the policy reads is what DuckDB binds, before and after they are written out.

The oracle is DuckDB itself, with a real lake attached as on a node: the scans of its own plan, told apart by the number
of rows of each table; the names that its binder extracts; and the rows and columns that come out.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from azquack.lake import extensions
from azquack.policy.policy import Policy
from azquack.policy.scope import Asked, Kind, Scope, answer, question
from azquack.policy.verdict import Verdict
from azquack.principals import Grant, Principal, Role

READER = Principal("ann", Role.READER, "f")
WRITER = Principal("bob", Role.WRITER, "f")
ADMIN = Principal("eve", Role.ADMIN, "f")

# Every table has as many rows as nothing else here, by which a plan shows it.
LAKE = {
    "lake.main.t": 11, "lake.main.u": 12, "lake.main.s": 13, "lake.s.t": 14, "lake.s.u": 15, "lake.s.s": 16,
    "lake.t.t": 17, "lake.t.u": 18, "lake.main.here": 19, "lake.s.there": 20,
}  # fmt: skip
OWN = {"temp.main.t": 31, "temp.main.x": 32, "temp.main.here": 33}
VIEWS = {"lake.main.v": "lake.s.t", "lake.s.v": "lake.main.u", "lake.s.w": "lake.t.t"}
MEANT = ("t", "u", "s", "here", "there", "x", "v", "w", "made", "m", "tm")
KINDS: tuple[Kind, ...] = ("table", "function")
SESSIONS = {
    "untouched": (),
    "other schema": ("USE lake.s",),
    "own tables": ("OWN",),
    "both": ("USE lake.s", "OWN"),
}


def filled(name: str, rows: int, temporary: bool = False) -> str:
    kind = "TEMP TABLE" if temporary else "TABLE"
    return (
        f"CREATE {kind} {name} AS SELECT range::INT i, range::INT t, {{'i': range::INT}} s FROM range({rows})"
    )


class Session:
    """A session of a node, and the policy before it."""

    def __init__(self, db: duckdb.DuckDBPyConnection, policy: Policy, kind: str) -> None:
        self.db = db.cursor()
        self.policy = policy
        self.untouched = kind == "untouched"
        self.db.execute("BEGIN")
        for each in SESSIONS[kind]:
            for sql in [filled(*own, temporary=True) for own in OWN.items()] if each == "OWN" else [each]:
                self.db.execute(sql)
        self.db.execute("COMMIT")
        self.db.execute("BEGIN")
        self._scope = self._asked(frozenset((kind, name) for name in MEANT for kind in KINDS))

    def _asked(self, asked: frozenset[Asked]) -> Scope:
        row = self.db.execute(question("lake", asked)).fetchone()
        assert row
        return answer(row[0], asked)

    def check(self, sql: str, principal: Principal = ADMIN, *, ask: bool = True) -> Verdict:
        """What the policy says, as a gateway asks it; without `ask`, from what the session told at its begin."""
        scope, asked = Scope(untouched=self.untouched), frozenset[Asked]()
        if not ask:
            verdict = self.policy.check(principal, sql, scope)
            return self.policy.check(principal, sql, self._scope) if verdict.asked else verdict
        while (verdict := self.policy.check(principal, sql, scope)).asked - asked:
            asked |= verdict.asked
            scope = self._asked(asked)
        return verdict

    def tried(self, sql: str) -> Any:
        """The columns and rows of `sql`, or the class of its error."""
        try:
            made = self.db.execute(sql)
            columns = [each[0] for each in made.description or []]
            return columns, sorted(map(repr, made.fetchall()))
        except duckdb.Error as error:
            self.again()
            return type(error).__name__

    def again(self) -> None:
        """Goes on in a new transaction: what was done is undone."""
        self.db.execute("ROLLBACK")
        self.db.execute("BEGIN")

    def scans(self, sql: str) -> Counter[int] | str:
        """The tables that the plan of `sql` reads, by their numbers of rows; or the class of its error."""
        try:
            plan = self.db.execute(f"EXPLAIN (FORMAT json) {sql}").fetchall()[-1][1]
        except duckdb.Error as error:
            self.again()
            return type(error).__name__
        found: Counter[int] = Counter()
        todo = json.loads(plan)
        while todo:
            node = todo.pop()
            todo += node["children"]
            if node["name"].strip() in ("DUCKLAKE_SCAN", "SEQ_SCAN"):
                found[int(node["extra_info"]["Estimated Cardinality"])] += 1
        return found

    def changes(self, sql: str) -> Any:
        """What `sql` leaves: the rows of every table; undone again."""
        outcome = self.tried(sql)
        own = [] if self.untouched else ["temp.main.t", "temp.main.x", "temp.main.here"]
        counts = [self.tried(f"SELECT count(*), sum(i), sum(s.i) FROM {name}") for name in [*LAKE, *own]]
        here = self.tried(
            "SELECT database_name, schema_name, table_name FROM duckdb_tables() UNION ALL "
            "SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal"
        )
        self.again()
        return outcome, counts, here


@pytest.fixture(scope="module")
def policy() -> Iterator[Policy]:
    made = Policy()
    yield made
    made.close()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB whose first database is the lake, as on a node."""
    with opened(tmp_path_factory.mktemp("node")) as db:
        for schema in ("s", "t"):
            db.execute(f"CREATE SCHEMA lake.{schema}")
        for name, rows in LAKE.items():
            db.execute(filled(name, rows))
        for name, source in VIEWS.items():
            db.execute(f"CREATE VIEW {name} AS FROM {source}")
        db.execute("CREATE MACRO lake.main.m(a) AS a + 1")
        db.execute("CREATE MACRO lake.s.m(a) AS a + 100")
        db.execute("CREATE MACRO lake.main.tm(a) AS TABLE SELECT a AS i, a AS t, {'i': a} AS s")
        # Only the part of the optimizer that tells the number of rows: it shall not take a scan away.
        others = db.execute(
            "SELECT string_agg(name, ',') FROM duckdb_optimizers() WHERE name <> 'join_order'"
        )
        db.execute(f"SET GLOBAL disabled_optimizers = '{others.fetchall()[0][0]}'")
        yield db


def opened(home: Path) -> duckdb.DuckDBPyConnection:
    extensions.link_all(home / "extensions")
    config: dict[str, Any] = extensions.config(home / "extensions") | {
        "secret_directory": str(home / "secrets")
    }
    with duckdb.connect(":memory:", config=config) as maker:
        maker.execute("LOAD ducklake")
        maker.execute(
            f"CREATE PERSISTENT SECRET lake (TYPE ducklake, METADATA_PATH '{home}/c.duckdb', DATA_PATH '{home}/data/')"
        )
    return duckdb.connect("ducklake:lake", config=config | {"threads": 1})


class Maker:
    """Statements in which the same names stand for tables, views, columns, schemas, CTEs and macros."""

    NAMES = ("t", "u", "s", "here", "there", "x", "v", "w")
    PLACES = (
        "",
        "",
        "",
        "",
        "main.",
        "s.",
        "t.",
        "lake.",
        "lake.main.",
        "lake.s.",
        "lake.t.",
        "temp.",
        "temp.main.",
    )
    OWN = (
        "duckdb_tables",
        "information_schema.schemata",
        "pg_catalog.pg_class",
        "pg_namespace",
        "sqlite_master",
    )

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._number = itertools.count()

    def pick(self, *each: str) -> str:
        return self._random.choice(each)

    def name(self) -> str:
        made = self.pick(*self.NAMES)
        if self._random.random() < 0.1:
            made = self.pick(f'"{made}"', made.upper())
        return self.pick(*self.PLACES) + made

    def alias(self) -> str:
        return f"r{next(self._number)}"

    def statement(self) -> str:
        """A query, mostly; or a write."""
        if self._random.random() < 0.75:
            return self.query(3)
        table, other, query = self.name(), self.name(), self.query(1)
        return self.pick(
            f"INSERT INTO {table} (i) SELECT max(i) FROM {other}",
            f"INSERT INTO {table} BY NAME SELECT m(3) AS i FROM {other} LIMIT 1",
            f"UPDATE {table} SET i = (SELECT max(i) FROM {other}) WHERE i < 3",
            f"UPDATE {table} q SET i = z.i + m(1) FROM {other} z WHERE q.i = z.i AND z.i < 3",
            f"DELETE FROM {table} WHERE i IN (SELECT i FROM {other} WHERE i < 4)",
            f"DELETE FROM {table} AS q USING {other} AS z WHERE q.i = z.i",
            f"WITH {self.pick('t', 'u', 'x')} AS ({query}) INSERT INTO {table} (i) SELECT count(*) FROM {other}",
            f"MERGE INTO {table} AS q USING {other} AS z ON q.i = z.i WHEN MATCHED AND z.i < 3 THEN DELETE",
            f"MERGE INTO {table} q USING (FROM {other}) z ON (q.i = z.i) "
            f"WHEN MATCHED THEN UPDATE SET i = (SELECT max(i) FROM {self.name()})",
            f"TRUNCATE {table}",
            f"CREATE TABLE {self.pick('', 's.', 'lake.', 'lake.t.')}made AS {query}",
            f"CREATE OR REPLACE TEMP TABLE made AS {query}",
            f"CREATE VIEW {self.pick('', 's.', 't.', 'lake.s.')}made AS {query}",
            f"DROP TABLE {table}",
            f"DROP VIEW IF EXISTS {table}",
            f"ALTER TABLE {table} RENAME TO made",
            f"ALTER TABLE {table} RENAME COLUMN t TO z",
            f"COMMENT ON TABLE {table} IS 'x'",
        )

    def query(self, depth: int) -> str:
        if depth and self._random.random() < 0.3:
            names = self._random.sample(("t", "u", "s", "x", "v", "here"), self._random.choice((1, 1, 2)))
            parts = ", ".join(f"{name} AS ({self.query(depth - 1)})" for name in names)
            return f"WITH {self.pick('', '', 'RECURSIVE ')}{parts} {self.select(depth - 1)}"
        if depth and self._random.random() < 0.1:
            return f"({self.select(depth - 1)}) UNION ALL ({self.select(depth - 1)})"
        return self.select(depth)

    def select(self, depth: int) -> str:
        source, column = self.source(depth)
        items = ", ".join(self.item(depth, column) for _ in range(self._random.choice((1, 2))))
        where = self.pick("", "", f" WHERE {column} < 3", f" WHERE {column} IN (SELECT i FROM {self.name()})")
        if self._random.random() < 0.15:
            return f"FROM {source} SELECT {items}{where}"
        return f"SELECT {items} FROM {source}{where}"

    def item(self, depth: int, column: str) -> str:
        return self.pick(
            column, column, f"{column} AS i", f"max({column})", "count(*)", f"m({column})",
            f"{self.pick('s.', 'main.')}m(1)",
            f"m({column}) + 1", f"(SELECT max(i) FROM {self.name()})", f"exists(FROM {self.name()})",
            f"(SELECT m(max(i)) FROM {self.name()}) AS i", "s.i", "t", "1 /* t */ -- u\n",
            f"[m(x) for x in [1, {column}]]", "'t'", f"CASE WHEN {column} IN (SELECT t FROM {self.name()}) THEN 1 END",
            f"(WITH t AS ({self.select(0) if depth else 'SELECT 1 i'}) SELECT count(*) FROM t)",
        )  # fmt: skip

    def source(self, depth: int) -> tuple[str, str]:
        """What stands behind FROM, and a column of it."""
        name, alias = self.name(), self.alias()
        bare = name.rsplit(".", 1)[-1]
        choice = self._random.random()
        if choice < 0.3:
            return name, self.pick("i", f"{bare}.i", f"{name}.i", f"{bare}.s.i")
        if choice < 0.6:
            return f"{name} {self.pick('AS ', '')}{alias}", f"{alias}.i"
        if choice < 0.7 and depth:
            other, column = self.source(depth - 1)
            join = self.pick(",", "CROSS JOIN", "POSITIONAL JOIN")
            return f"{name} {alias} {join} {other}", self.pick(column, f"{alias}.i")
        if choice < 0.75:
            other = self.name()
            join = self.pick("JOIN", "LEFT JOIN", "SEMI JOIN", "ASOF JOIN")
            on = ">=" if join == "ASOF JOIN" else "="
            return f"{name} {alias} {join} {other} z ON {alias}.i {on} z.i", f"{alias}.i"
        if choice < 0.8 and depth:
            return f"({self.query(depth - 1)}) {alias}", "i"
        if choice < 0.84:
            return f"tm({self.pick('1', 'm(2)')}) {alias}", f"{alias}.i"
        if choice < 0.87:
            return f"{name} AT (VERSION => {self.pick('15', '20')})", "i"
        if choice < 0.9:
            return f"(PIVOT {name} ON t IN (1, 2) USING max(i) GROUP BY i)", "i"
        if choice < 0.92:
            return f"(UNPIVOT (SELECT i, t FROM {name}) ON t)", "i"
        if choice < 0.94:
            return f"(DESCRIBE {name})", "1"
        if choice < 0.97:
            return f"{self.pick(*self.OWN)} {alias}", "1"
        return f"{name} {alias}, LATERAL (SELECT {alias}.i AS j FROM {self.name()} LIMIT 1)", f"{alias}.i"


def differs(session: Session, sql: str, run: bool = True) -> str:
    """What is different between `sql` as a client sends it and what the policy makes of it; nothing if nothing is.

    With `run` both are run too.
    """
    verdict = session.check(sql, ask=run)
    if not verdict.allowed:
        return "" if REFUSED.search(verdict.reason) else f"refused: {verdict.reason}"
    assert verdict.sql is not None
    before, after = session.scans(sql), session.scans(verdict.sql)
    if isinstance(before, str) and isinstance(after, str):
        # Neither runs; with a name in full DuckDB may find another fault first.
        return ""
    if isinstance(before, str) and sql.startswith("CREATE VIEW"):
        # DuckDB binds a view's body by the schema of the view, and finds less there than by names in full.
        return ""
    if isinstance(before, str) or before != after:
        return f"{before} are scanned, and {after} by {verdict.sql!r}"
    try:
        names = session.db.get_table_names(verdict.sql, qualified=True)
    except duckdb.Error:
        # It cannot bind everything that runs, time travel for one.
        session.again()
        names = None
    if names is not None and (short := unlike(names, before, sql, verdict)):
        return short
    if not run:
        return ""
    if verdict.kind == "SELECT":
        one, two = session.tried(sql), session.tried(verdict.sql)
    else:
        one, two = session.changes(sql), session.changes(verdict.sql)
    return "" if one == two else f"{one} becomes {two} by {verdict.sql!r}"


def unlike(names: set[str], before: Counter[int], sql: str, verdict: Verdict) -> str:
    """What is different between the `names` that the policy wrote out and the scans of DuckDB's plan."""
    counts = LAKE | OWN | {name: LAKE[source] for name, source in VIEWS.items()}
    bare = (re.sub(r"\s+(?:AS|AT)\b.*", "", each).replace('"', "").lower() for each in names)
    mine = [each for each in bare if not each.startswith("system.")]
    if short := [each for each in mine if each.count(".") != 2]:
        return f"{short} are not written out in {verdict.sql!r}"
    seen = {counts.get(each, 0) for each in mine} - {0}
    # A WITH that nobody reads is in no plan, and the target of a write is no scan. A POSITIONAL JOIN has no numbers.
    exact = not re.search("WITH|POSITIONAL|DESCRIBE", sql) and verdict.kind == "SELECT"
    if set(before) - {0} != seen if exact else not set(before) - {0} <= seen and verdict.kind == "SELECT":
        return f"the policy reads {seen}, and DuckDB {before} in {verdict.sql!r}"
    return ""


# What is refused by a rule, though DuckDB would run it.
REFUSED = re.compile(
    r"cannot read what only this session has|nothing can be written in|must be given in full|full name of"
)


def compare(node: duckdb.DuckDBPyConnection, policy: Policy, rounds: int, seed: int) -> None:
    sessions = [Session(node, policy, kind) for kind in SESSIONS]
    maker = Maker(seed)
    for number in range(rounds):
        sql = maker.statement()
        session = sessions[number % len(sessions)]
        difference = differs(session, sql, run=number % 5 == 0)
        assert not difference, f"{list(SESSIONS)[number % len(sessions)]}: {sql!r}: {difference}"
    for session in sessions:
        session.db.close()


def test_what_the_policy_resolves_is_what_duckdb_binds(
    node: duckdb.DuckDBPyConnection, policy: Policy
) -> None:
    compare(node, policy, 120, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_what_the_policy_resolves_is_what_duckdb_binds_in_many_statements(
    node: duckdb.DuckDBPyConnection, policy: Policy
) -> None:
    rounds = int(os.environ.get("AZQUACK_TEST_NAMES_ROUNDS", "100000"))
    compare(node, policy, rounds, seed=int(os.environ.get("AZQUACK_TEST_SEED", "2")))


ODD = [
    "lake", "LAKE", "temp", "system", "memory", "information_schema", "pg_catalog", "recurring", "duckdb_views",
    "duckdb_anything", "pg_class", "pg_mine", "sqlite_master", "pragma_x", "ducklake_table",
    "a.b", "2024.01", "a/b", "*",
    "what?", "a\\b", "a:b", "[a]", "{a}", "it's", 'a"b', "a`b", "a;b", "a\tb", "a\x7fb", "a\u200bb", " ", " a", "a ",
    "x" * 129, "csv", "parquet",
]  # fmt: skip
FINE = ["t2", "Umsatz 2024", "h\u00f6he", "from", "select", "x" * 128, "a-b", "main", "s"]
MADE = [
    "CREATE TABLE {} (i INT)", "CREATE TABLE s.{} AS SELECT 1 i", "CREATE OR REPLACE TABLE lake.main.{} (i INT)",
    "CREATE TEMP TABLE {} (i INT)", "CREATE VIEW {} AS SELECT 1 i", "CREATE TEMP VIEW {} AS SELECT 1 i",
    "ALTER TABLE t RENAME TO {}", "ALTER TABLE lake.s.t RENAME TO {}", "ALTER VIEW v RENAME TO {}",
    "EXPLAIN CREATE TABLE {} (i INT)",
]  # fmt: skip
TOUCHED = [
    "DROP TABLE {}", "DROP VIEW IF EXISTS s.{}", "ALTER TABLE {} RENAME TO good",
    "ALTER TABLE lake.main.{} ADD COLUMN c INT",
    "COMMENT ON TABLE {} IS 'x'",
]  # fmt: skip


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@pytest.mark.parametrize(("principal", "untouched"), [(WRITER, True), (ADMIN, False)])
def test_a_name_is_taken_everywhere_or_nowhere(policy: Policy, principal: Principal, untouched: bool) -> None:
    known = Scope("s", untouched, frozenset((kind, name) for name in MEANT for kind in KINDS))
    for name, taken in [*((name, False) for name in ODD), *((name, True) for name in FINE)]:
        for made in MADE:
            verdict = policy.check(principal, made.format(quoted(name)), known)
            assert verdict.allowed is taken, (made, name, verdict.reason)


def test_schemas_columns_and_macros_follow_the_same_rule(policy: Policy) -> None:
    for name in ODD:
        assert not policy.check(ADMIN, f"CREATE SCHEMA {quoted(name)}").allowed, name
        assert not policy.check(ADMIN, f"CREATE SCHEMA lake.{quoted(name)}").allowed, name
        assert not policy.check(ADMIN, f"CREATE MACRO {quoted(name)}(a) AS a").allowed or name in (
            "csv",
            "parquet",
        ), name
    for name in ("sum", "Count", "list_value", "+", "||", "range"):
        assert not policy.check(ADMIN, f"CREATE MACRO {quoted(name)}(a) AS a").allowed, name
        assert not policy.check(ADMIN, f"CREATE TEMP MACRO {quoted(name)}(a) AS TABLE SELECT a").allowed, name
    for name in ("a\tb", " ", "x" * 129, "a\u200bb"):
        for made in (
            "CREATE TABLE x ({} INT)",
            "CREATE TABLE x AS SELECT 1 AS {}",
            "ALTER TABLE t RENAME COLUMN i TO {}",
            "ALTER TABLE t ADD COLUMN {} INT",
            "CREATE VIEW x ({}) AS SELECT 1",
        ):
            assert not policy.check(ADMIN, made.format(quoted(name))).allowed, (made, name)
            assert policy.check(ADMIN, made.format(quoted("a.b (%)"))).allowed, made


def test_an_admin_can_drop_and_rename_what_bears_a_name_that_nothing_can_get_today(policy: Policy) -> None:
    for name in ODD:
        for sql in TOUCHED:
            verdict = policy.check(ADMIN, sql.format(quoted(name)))
            assert verdict.allowed, (sql, name, verdict.reason)
            assert "lake." in (verdict.sql or "")
            assert not policy.check(WRITER, sql.format(quoted(name))).allowed, (sql, name)
    assert policy.check(ADMIN, "DROP SCHEMA lake CASCADE").sql == "DROP SCHEMA lake.lake CASCADE"
    assert not policy.check(WRITER, "DROP SCHEMA lake CASCADE").allowed


@pytest.mark.parametrize(
    "sql", ["DROP SCHEMA main", "drop schema if exists lake.MAIN cascade", 'DROP SCHEMA "Main"']
)
def test_nobody_drops_the_schema_that_every_lake_has(policy: Policy, sql: str) -> None:
    for principal in (WRITER, ADMIN):
        assert "cannot be dropped" in policy.check(principal, sql).reason


def test_a_view_of_duckdbs_own_is_meant_by_its_name_whatever_the_lake_holds(policy: Policy) -> None:
    assert policy.check(READER, "FROM pg_am").sql == "FROM system.pg_catalog.pg_am"
    for name in ("duckdb_views", "information_schema.tables", "main.duckdb_views"):
        assert "FROM system.main.duckdb_views()" in (policy.check(READER, f"FROM {name}").sql or "")
    granted = Principal("gus", Role.READER, "f", (Grant.parse("select on main.open"),))
    assert policy.check(granted, "FROM duckdb_views").allowed
    assert not policy.check(granted, "FROM lake.main.duckdb_views").allowed


def test_the_body_of_a_view_is_read_where_duckdb_binds_it(policy: Policy) -> None:
    guy = Principal(
        "guy", Role.WRITER, "f", (Grant.parse("all on s.v"), Grant.parse("select on main.secret"))
    )
    sql = "CREATE VIEW s.v AS FROM secret"
    first = policy.check(guy, sql)
    assert first.asked == {("table", "secret")}
    there = Scope(asked=first.asked, found=frozenset({("table", "lake", "s", "secret")}))
    assert "No grant to select on s.secret" in policy.check(guy, sql, there).reason
    not_there = Scope(asked=first.asked, found=frozenset({("table", "lake", "main", "secret")}))
    body = "WITH azquack_maker AS (SELECT 'guy') FROM lake.main.secret"
    assert policy.check(guy, sql, not_there).sql == f"CREATE VIEW lake.s.v AS {body}"


@pytest.mark.parametrize("use", ["main", "s"])
@pytest.mark.parametrize("name", ["x", "lake.x", "main.x", "s.x"])
@pytest.mark.parametrize(
    "there", [each for count in (1, 2, 3) for each in itertools.combinations(("t", "s", "main"), count)]
)
def test_a_name_in_a_view_is_the_one_that_duckdb_binds(
    policy: Policy, there: tuple[str, ...], name: str, use: str
) -> None:
    with duckdb.connect() as db:
        db.execute("ATTACH ':memory:' AS lake; USE lake; CREATE SCHEMA s; CREATE SCHEMA t")
        for schema in there:
            db.execute(f"CREATE TABLE lake.{schema}.x AS SELECT '{schema}' AS n")
        db.execute(f"USE lake.{use}")
        sql, asked = f"CREATE OR REPLACE VIEW t.v AS FROM {name}", frozenset[Asked]()
        scope = Scope(untouched=use == "main")
        while (verdict := policy.check(ADMIN, sql, scope)).asked - asked:
            asked |= verdict.asked
            row = db.execute(question("lake", asked)).fetchone()
            assert row
            scope = answer(row[0], asked)
        assert verdict.sql is not None
        meant = []
        for each in (sql, verdict.sql):
            try:
                db.execute(each)
                meant.append(db.execute("FROM lake.t.v").fetchall())
            except duckdb.CatalogException:
                meant.append([])
        assert meant[0] == meant[1], verdict.sql


def test_what_has_no_names_is_sent_as_it_came(policy: Policy) -> None:
    for sql in ("SELECT 42 -- t", "BEGIN", "VALUES (1)", "SET TimeZone = 'UTC'", "  select\n1 ;"):
        assert (policy.check(READER, sql).sql or "").strip(" ;") == sql.strip(" ;")


def test_wide_blanks_are_blanks(policy: Policy) -> None:
    assert policy.check(READER, "FROM\u3000t, 't\u00a0' u").reason != ""
    assert (
        policy.check(READER, "SELECT\u00a0'a\u00a0b' FROM\u3000t").sql == "SELECT 'a\u00a0b' FROM lake.main.t"
    )
