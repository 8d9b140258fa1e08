"""The policy alone: what it lets through for whom, and that no disguise gets a refused statement past it."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from azquack.lake import extensions
from azquack.policy.functions import Functions
from azquack.policy.parser import Parser
from azquack.policy.policy import Policy
from azquack.policy.tree import uses
from azquack.principals import Grant, Principal, Role

READER = Principal("ann", Role.READER, "f")
WRITER = Principal("bob", Role.WRITER, "f")
ADMIN = Principal("eve", Role.ADMIN, "f")
GRANTED = Principal(
    "guy",
    Role.WRITER,
    "f",
    (Grant.parse("select on demo.*"), Grant.parse("write on demo.t"), Grant.parse("select on t")),
)

quiet = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

# What the stock client itself sends: recorded from DuckDB 1.5.5 (ATTACH, native scans, native INSERT).
CLIENT = [
    "\nSELECT catalog_name, schema_name\nFROM information_schema.schemata\n"
    "WHERE catalog_name NOT IN ('system', 'temp')\nORDER BY ALL\n\t",
    "\nSELECT schema_name, sql, 'table'\nFROM duckdb_tables()\nUNION ALL\n"
    "SELECT schema_name, view_name, 'view'\nFROM duckdb_views()\n\t",
    "BEGIN TRANSACTION",
    "COMMIT",
    "ROLLBACK",
]
NATIVE_SCANS = ["SELECT #1 FROM t", "SELECT NULL::BOOLEAN FROM t"]
READS = [
    "",
    "select 1; select 2",
    "from t",
    "table t",
    "values (1, 'x.parquet')",
    "select 'getenv(''x'')' -- getenv('x')",
    "with a as (from t) from a",
    "with recursive a as (select 1 i union all select i + 1 from a where i < 5) from a",
    "select a, sum(b) filter (where c) over (partition by d) from t group by all qualify true",
    "select extract(year from d), position('a' in b), trim(both 'x' from b), b ->> '$.x' from t",
    "select [x + 1 for x in l], list_transform(l, lambda x: x || 'b'), {'a': 1}.a, columns('i.*') from t",
    "from range(3), unnest([1, 2])",
    "from t at (version => 3)",
    "from lake.snapshots()",
    "from ducklake_table_changes('lake', 'main', 't', 0, 3)",
    "describe t",
    "summarize t",
    "show tables",
    "show all tables",
    "explain select 1",
    "explain analyze from t",
    "explain (format json) from t",
    "pivot t on a in (1, 2) using sum(b)",
    "pivot t on a, b using sum(c) group by d limit 3;",
    "from (pivot t join u on (t.a = u.a) on year -- c\n using sum(x))",
    "use lake.demo",
    "set timezone = 'Europe/Berlin'",
    "set session TimeZone to 'UTC'",
    "select lake.my_macro(1), * from my_table_macro(2)",
    "from whoami()",
    "from pg_catalog.pg_class",
    "select\u00a01",
]
WRITES = [
    "insert into t values (1)",
    "insert into t (a, b) select 1, 2",
    "insert into t (select 1)",
    "insert into settings (a) values (1)",
    "insert into lake.demo.t by name select 1 a",
    "with x as (select 1) insert into t from x",
    "insert into t default values",
    "insert into t values (1) returning a",
    "update t set a = 1, b = b + 1 where c = 2",
    "update t set a = default",
    "update t set (a, b) = (1, 2)",
    "update t x set a = u.b from u where u.i = x.i",
    "delete from t",
    "delete from t as x using u where x.a = u.a -- done",
    "truncate t",
    "merge into t using (select 1 a) s on t.a = s.a"
    " when matched and s.a > 1 then update set b = case when s.a > 2 then 2 else 3 end"
    " when matched then delete when not matched then insert (a, b) values (s.a, 1)",
    "merge into t using u using (a) when matched then update when not matched by target then insert by name"
    " when not matched by source then do nothing",
    "create table x (a int not null, b varchar default 'x', c timestamp with time zone)",
    "create table x (a int default 1 not null, b int default (-2), c date default date '2020-01-01', d int)",
    "create table x(a int default(null), b boolean default(cast('t' as boolean)), c varchar default 'a,b)')",
    "alter table t alter a set default 'now()'",
    'create table x ("default" int, b double default -1.5e3 check (b > 0))',
    "create or replace table lake.demo.x as from t",
    "create temp table x as from t",
    "create view v (a) as select 1",
    "create macro m(a, b := 3) as a + b",
    "create or replace macro m(a) as table select a",
    "create schema if not exists lake.demo",
    "drop table if exists demo.t cascade",
    "drop macro table m",
    "drop schema demo cascade",
    "alter table t add column c int default 3",
    "alter table t alter a drop default",
    "alter table t alter column a drop default;",
    "alter table t set partitioned by (values, k)",
    "alter table t alter a type bigint using extract(year from a)",
    "create table x as from t with no data",
    "create table x partitioned by (a) as from t",
    "create macro m(a) as a, (a, b) as a + b, () as 0",
    "create macro m(a) as table (select a), (a, b) as table (select a, b)",
    "comment on macro table m is 'x'",
    "insert into t by name (a) select 1 as a",
    "merge into t using u using (a) when not matched then insert default values",
    "create table lake.demo.default (i int)",
    "alter table t rename to u",
    "alter table t set partitioned by (year(d), bucket(8, a))",
    "comment on column demo.t.a is 'x'",
    "call lake.set_commit_message('ann', 'why')",
    "explain insert into t values (1)",
]
MAINTENANCE = [
    "checkpoint",
    "checkpoint lake",
    "call ducklake_expire_snapshots('lake', older_than => now())",
    "from ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "call lake.merge_adjacent_files()",
    "call ducklake_flush_inlined_data('lake')",
    "call ducklake_rewrite_data_files('lake')",
    "call ducklake_set_option('lake', 'target_file_size', '10MB')",
]
NOBODY = [
    "from 'x.parquet'",
    'from "x.csv"',
    "from data.parquet",
    "from 'az://lake/demo/t/x.parquet'",
    "insert into t from 'x.csv'",
    "merge into t using 'x.csv' on true when matched then delete",
    "create view v as from 'x.csv'",
    "describe 'x.csv'",
    "copy t to 'x'",
    "copy t from 'x'",
    "export database 'x'",
    "import database 'x'",
    "attach 'x'",
    "attach 'quack:catalog:9494' as c",
    "detach lake",
    "install x",
    "load x",
    "set threads = 1",
    "set global timezone = 'UTC'",
    "set timezone = 'a' || 'b'",
    "set search_path = 'lake.demo'",
    "set variable x = 1",
    "reset threads",
    "pragma threads = 3",
    "pragma database_size",
    "prepare p as select 1",
    "execute p",
    "deallocate p",
    "create secret (type s3)",
    "drop secret x",
    "create sequence s",
    "create index i on t (a)",
    "create type x as enum ('a')",
    "vacuum",
    "analyze",
    "checkpoint __ducklake_metadata_lake",
    "use __ducklake_metadata_lake",
    "from __ducklake_metadata_lake.ducklake_table",
    'from "__DUCKLAKE_METADATA_lake".main.ducklake_table',
    "update __ducklake_metadata_lake.ducklake_table set table_name = 'x'",
    "show tables from __ducklake_metadata_lake",
    "from __ducklake_metadata_lake.query('select 1')",
    "pivot __ducklake_metadata_lake.ducklake_table on table_name using count(*)",
    "from other.main.t",
    "create table other.main.t (i int)",
    "create table memory.t (i int)",
    "from duckdb_settings()",
    "from pg_settings",
    "from pg_catalog.pg_settings",
    "from duckdb_logs",
    "from histogram('x.csv', a)",
    "create macro sum(a) as a",
    "create temp macro getenv(a) as a",
    "create table x (a int default getenv('x'))",
    "create table x (a timestamp default now())",
    "create table x (a timestamp default(now()) not null, b int)",
    "create table x (a int default 1 + 0)",
    "create table x (a int default +1)",
    "create table x (b int, a timestamp not null default current_timestamp)",
    "create table x (a interval default interval 1 day)",
    "create table x (a int[] default [])",
    "alter table t add column a uuid default uuid()",
    "alter table t alter a set default [1, 2]",
    "alter table t alter a set default {'a': 1}",
    "create table x (a int default 1 is distinct from 2)",
    "create macro m(a) as a, (a, b) as getenv('x')",
    "create macro m(a) as table (select a), (a, b) as table (from 'x.csv')",
    "create table x as from 'x.csv' with no data",
    "create table x partitioned by (getenv('x')) as from t",
    "alter table t alter a type bigint using getenv('x')",
    "insert into t by name (a) select getenv('x') as a",
    "pivot t on a in (select a from t) using sum(b)",
    "create table x as pivot t on a using sum(b)",
    "create table 'x' (i int)",
    "copy from database a to b",
    "alter table t alter column a set default -b",
    "create table x (a time_ns)",
    "create table x (a struct(b time_ns[]))",
    "create table x as select '12:00'::TIME_NS as a",
    "create table x as select cast('12:00' as \"Time_NS\") as a",
    "insert into t select '12:00'::time_ns",
    "alter table t alter a type time_ns",
    "create view v as select '12:00'::time_ns",
    "create table x (a int default (select 1))",
    "alter database lake rename to x",
    "select 1; drop secret x",
    "pivot t on a using sum(b); copy t to 'x'",
    "pivot t on a using sum(getenv(b))",
    "pivot 'x.csv' on a using count(*)",
    "select * from t, lateral (select getenv(t.a))",
    "insert into t values (1) on conflict (a) do update set a = getenv('x')",
    "explain analyze select getenv('x')",
    "select U&'\\0061'",
    "select 1\0; drop table t",
    "select \ud800",
    "selec 1",
]


@pytest.fixture(scope="module")
def policy() -> Iterator[Policy]:
    made = Policy()
    yield made
    made.close()


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    made = Parser()
    yield made
    made.close()


@pytest.mark.parametrize("sql", CLIENT)
def test_what_a_stock_client_sends_at_attach_passes_for_everyone(policy: Policy, sql: str) -> None:
    for principal in (READER, WRITER, ADMIN, GRANTED):
        assert policy.check(principal, sql).reason == ""


@pytest.mark.parametrize("sql", [*READS, *NATIVE_SCANS])
def test_every_role_may_read(policy: Policy, sql: str) -> None:
    for principal in (READER, WRITER, ADMIN):
        assert policy.check(principal, sql).reason == ""


@pytest.mark.parametrize("sql", WRITES)
def test_writers_and_admins_may_write_and_readers_not(policy: Policy, sql: str) -> None:
    assert not policy.check(READER, sql).allowed
    for principal in (WRITER, ADMIN):
        assert policy.check(principal, sql).reason == ""


@pytest.mark.parametrize("sql", MAINTENANCE)
def test_only_admins_may_run_maintenance(policy: Policy, sql: str) -> None:
    assert policy.check(ADMIN, sql).reason == ""
    for principal in (READER, WRITER, GRANTED):
        assert not policy.check(principal, sql).allowed


@pytest.mark.parametrize("sql", NOBODY)
def test_nobody_may(policy: Policy, sql: str) -> None:
    for principal in (READER, WRITER, ADMIN, GRANTED):
        verdict = policy.check(principal, sql)
        assert not verdict.allowed
        assert verdict.reason


@pytest.mark.parametrize(
    "sql",
    [
        "from demo.x",
        "from lake.demo.x",
        "from t",
        "from lake.t",
        "select * from demo.t join demo.u using (a)",
        "with a as (from demo.x) from a",
        "with secret as (from demo.x), b as (from secret) from b",
        "insert into demo.t from demo.x",
        "update lake.demo.t set a = 1 where b in (from demo.u)",
        "delete from demo.t using demo.u where true",
        "create or replace table demo.t as from demo.u",
        "merge into demo.t using demo.u using (a) when matched then delete",
        "pivot demo.x on a using sum(b)",
        "from duckdb_tables()",
        "describe demo.x",
    ],
)
def test_grants_let_through_what_they_name(policy: Policy, sql: str) -> None:
    assert policy.check(GRANTED, sql).reason == ""


@pytest.mark.parametrize(
    "sql",
    [
        "from secret",
        "from main.secret",
        "from lake.secret",
        "from lake.main.secret",
        "from temp.secret",
        "with secret as (select 1) from main.secret",
        'with "\u212a" as (select 1) from k',
        'with "\u00c4" as (select 1) from "\u00e4"',
        "describe secret",
        "summarize secret",
        "pivot secret on a using sum(b)",
        "with secret as (from secret) from secret",
        "with b as (from secret), secret as (select 1) from b",
        "with recursive secret as (from secret union all from secret) from secret",
        "select (select max(a) from secret)",
        "insert into demo.t from secret",
        "insert into demo.x from demo.t",
        "insert into t values (1)",
        "update demo.t set a = (select 1 from secret)",
        "update demo.x set a = 1",
        "delete from only demo.t",
        "delete from demo.t where exists (from secret)",
        "delete from demo.t using secret",
        "merge into demo.t using secret using (a) when matched then delete",
        "merge into demo.t using demo.u using (a) when matched then update set b = (from secret)",
        "merge into demo.x using demo.t using (a) when matched then delete",
        "create table demo.x as select 1",
        "create table demo.t as from secret",
        "create view demo.t as from secret",
        "create temp table t as select 1",
        "create macro demo.t() as 1",
        "create schema demo",
        "drop schema demo",
        "drop table demo.x",
        "alter table demo.t rename to secret",
        "from table_changes('secret', 0, 1)",
        "from lake.table_changes('secret', 0, 1)",
        "from pragma_table_info('secret')",
        "from some_macro()",
        "select some_macro(1)",
        "use demo",
        "explain from secret",
        "explain analyze insert into demo.x from demo.t",
        "truncate demo.x",
        "comment on table demo.x is 'mine'",
    ],
)
def test_grants_keep_everything_else_out_of_reach(policy: Policy, sql: str) -> None:
    assert not policy.check(GRANTED, sql).allowed


def test_an_append_needs_the_right_to_insert(policy: Policy) -> None:
    assert not policy.check_append(READER, "main", "t").allowed
    assert policy.check_append(WRITER, "main", "t").allowed
    assert policy.check_append(GRANTED, "demo", "T").allowed
    assert not policy.check_append(GRANTED, "main", "t").allowed
    assert not policy.check_append(GRANTED, "demo", "x").allowed
    assert not policy.check_append(ADMIN, "main", "__ducklake_metadata_lake").allowed
    assert not policy.check_append(WRITER, "pg_catalog", "pg_class").allowed


def test_the_verdict_names_the_kinds_for_the_audit_log(policy: Policy) -> None:
    assert policy.check(READER, "begin; from t; from u").kind == "TRANSACTION,SELECT"
    assert policy.check(READER, "insert into t values (1)").kind == "INSERT"
    assert policy.check(READER, "selec 1").kind == "UNKNOWN"


def test_a_refusal_says_what_to_do_instead(policy: Policy) -> None:
    assert "reader may not run INSERT" in policy.check(READER, "insert into t values (1)").reason
    assert "it shows settings" in policy.check(READER, "from duckdb_settings()").reason
    assert "No grant to select on main.secret" in policy.check(GRANTED, "from secret").reason


@pytest.mark.parametrize(
    "sql",
    [
        "select " + "(" * 90_000,
        "select " + "(" * 5_000 + "1" + ")" * 5_000,
        "select " + "-".join(["1"] * 900),
        "select * from " + "(select * from " * 300 + "t" + ")" * 300,
        "select " + "[" * 3_000 + "]" * 3_000,
        "select " + "not " * 20_000 + "true",
        "select " + "case when " * 3_000,
        "select /*" + "/*" * 20_000,
        "select " + "1," * 49_000 + "1",
        "select 1" + ";" * 50_000,
    ],
    ids=lambda sql: sql[:20],
)
def test_deep_and_wide_statements_get_a_verdict(policy: Policy, sql: str) -> None:
    verdict = policy.check(READER, sql)
    assert verdict.allowed == (verdict.reason == "")


def test_a_statement_that_is_too_long_is_not_even_parsed(policy: Policy) -> None:
    verdict = policy.check(ADMIN, "select 1 --" + "x" * 1_000_000)
    assert verdict.reason == "A statement may have 1,000,000 characters at most."


def test_every_function_of_the_pinned_duckdb_is_reviewed(tmp_path_factory: pytest.TempPathFactory) -> None:
    home = tmp_path_factory.mktemp("extensions")
    extensions.link_all(home)
    with duckdb.connect(":memory:", config=extensions.config(home)) as node:
        for name in (
            "httpfs",
            "json",
            "icu",
            "parquet",
            "quack",
            "ducklake",
            "azure",
            "aws",
            "postgres_scanner",
            "sqlite_scanner",
        ):
            node.execute(f"LOAD {name}")
        found = node.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE function_type <> 'pragma'"
        ).fetchall()
        views = node.execute("SELECT view_name FROM duckdb_views() WHERE internal").fetchall()
    reviewed = Functions.load()
    assert reviewed.unreviewed(name for (name,) in found) == set()
    assert {name for (name,) in views} - reviewed.views - reviewed.refused_views == set()


def test_no_function_is_both_allowed_and_refused() -> None:
    reviewed = Functions.load()
    allowed = reviewed.scalar | reviewed.table | reviewed.lake | reviewed.call_writer | reviewed.call_admin
    assert allowed & reviewed.reasons.keys() == set()
    assert not (reviewed.call_writer | reviewed.call_admin) & (reviewed.table | reviewed.lake)


def test_a_function_that_nobody_reviewed_is_refused_once_a_node_has_it() -> None:
    for policy, allowed in ((Policy(), True), (Policy(functions=["brand_new"]), False)):
        assert policy.check(ADMIN, "select brand_new(1)").allowed is allowed
        assert policy.check(ADMIN, "from lake.brand_new()").allowed is allowed
        policy.close()


# Every place in a statement where an expression, or a query, can stand.
EXPRESSIONS = [
    "select {}",
    "select a from t where b = {}",
    "select count(*) filter (where {}) over (partition by {} order by {}) from t",
    "select sum(a) over w from t window w as (partition by {} rows between {} preceding and current row)",
    "select string_agg(a, ',' order by {}) from t",
    "select lag(a, {}, {}) over (order by b) from t",
    "select distinct on ({}) a from t",
    "select * exclude (a) replace ({} as b) from t",
    "select columns(lambda x: x = {}) from t",
    "select case when {} then {} else {} end",
    "select [{} for x in [1] if {}]",
    "select list_transform([1], lambda x: {})",
    "select {{'a': {}}}, map {{'a': {}}}, [{}], ({}, 1)",
    "select cast({} as int), try_cast({} as int), {}::int, try({})",
    "select a in ({}, 1), a between {} and {}, a like {} escape {}, {} is null, not {}",
    "select ({}).x, ({})[1], ({})[1:{}], {} collate nocase, {} at time zone {}",
    "select interval ({}) day, extract(year from {}), coalesce({}, 1)",
    "select a from t group by cube ({}), a having {} qualify {}",
    "select a from t order by {} limit {} offset {}",
    "select * from t at (version => {})",
    "select * from t join u on {}",
    "select * from t asof join u on t.a >= {}",
    "select * from range({}), unnest([{}]) as x(y)",
    "select * from my_macro(b := {})",
    "from t pivot (sum({}) for a in (1))",
    "pivot t on {} using sum({})",
    "values ({})",
    "with x as materialized (select {}) from x",
    "with recursive x as (select {} union all select {} from x) from x",
    "select (select {}), exists (select {}), 1 in (select {}), array(select {})",
    "select * from t, lateral (select {})",
    "(select {}) union all by name (select {}) order by {}",
    "describe select {}",
    "explain analyze select {}",
    "select 1; select {}",
]
WRITING_EXPRESSIONS = [
    "insert into t values ({})",
    "insert into t (a) select {}",
    "with x as (select {}) insert into t from x",
    "insert into t values (1) returning {}",
    "update t set a = {}, b = {} from u where {}",
    "update t set (a, b) = ({}, 1)",
    "delete from t where {}",
    "delete from t using (select {}) u where true",
    "merge into t using u on {} when matched and {} then update set a = {}"
    " when not matched then insert (a) values ({})",
    "create table x as select {}",
    "create table x (a int default {})",
    "create view v as select {}",
    "create macro m(a) as {}",
    "create macro m(a, b := {}) as a",
    "create macro m(a) as table select {}",
    "alter table t add column c int default {}",
    "alter table t alter a set default {}",
    "alter table t alter a type int using {}",
]
blank = st.sampled_from(
    ["", " ", "\n", "\t", "\f", " /* ( */", "/*/**/*/", "--(\n", "\u00a0", "\u3000", "\u200b"]
)
refused_name = st.sampled_from(sorted(Functions.load().reasons))


@st.composite
def calls(draw: st.DrawFn) -> str:
    """A call of a function that is refused to everyone, in some disguise."""
    name = "".join(draw(st.sampled_from([c.lower(), c.upper()])) for c in draw(refused_name))
    if draw(st.booleans()):
        name = f'"{name}"'
    prefix = draw(st.sampled_from(["", "main.", "system.main.", '"system" . "main" . ', "lake.main."]))
    arguments = draw(st.sampled_from(["", "'x'", "$$x$$", "E'x'", "a, b", "(select 1)", "x := 1"]))
    return f"{prefix}{name}{draw(blank)}({draw(blank)}{arguments})"


@quiet
@given(call=calls(), template=st.sampled_from([*EXPRESSIONS, *WRITING_EXPRESSIONS]))
def test_no_disguise_gets_a_refused_call_past_the_policy(policy: Policy, call: str, template: str) -> None:
    for principal in (READER, WRITER, ADMIN):
        assert not policy.check(principal, template.format(*[call] * 8)).allowed


@quiet
@given(call=calls(), gap=blank)
def test_no_disguise_gets_a_refused_table_function_past_the_policy(
    policy: Policy, call: str, gap: str
) -> None:
    for template in (
        "from {}",
        "select 1 from t, {}",
        "from (from {}) x",
        "insert into t from {}",
        "call {}",
    ):
        for principal in (READER, WRITER, ADMIN):
            assert not policy.check(principal, template.format(gap + call)).allowed


@pytest.mark.parametrize("template", EXPRESSIONS)
def test_the_tree_alone_shows_a_call_in_every_place(parser: Parser, template: str) -> None:
    for place in range(template.count("{}")):
        words = ["a"] * template.count("{}")
        words[place] = "marker(a)"
        sql = template.format(*words).removeprefix("explain analyze ")
        for parsed in parser.statements(sql):
            # The pivot without values is covered by the statements above.
            tree = parser.tree(parsed.sql or sql.replace(" using", " in (1) using"))
            seen = any(name.table == "marker" for name, _ in uses(tree).functions)
            assert seen or parsed.sql == "select 1"


@quiet
@given(st.text(max_size=80))
@example("'")
@example('"\\')
@example("$a$")
@example("/* /* */")
def test_any_text_gets_a_verdict(policy: Policy, sql: str) -> None:
    verdict = policy.check(GRANTED, sql)
    assert verdict.allowed == (verdict.reason == "")


WORDS = (
    "select from where insert into update set delete create table view macro as with using merge when matched"
    " then and on t demo.t secret ( ) , ; = * 'x.csv' 1 \"q\" values returning only explain analyze pivot in"
    " case end union all recursive getenv query_table read_text"
)
soup = st.lists(st.sampled_from(WORDS.split()), max_size=14).map(" ".join)


@quiet
@given(soup)
def test_any_order_of_words_gets_a_verdict_and_no_refused_name_is_called(policy: Policy, sql: str) -> None:
    verdict = policy.check(WRITER, sql)
    assert verdict.allowed == (verdict.reason == "")
    if verdict.allowed:
        assert not any(f"{name} (" in sql for name in ("getenv", "query_table", "read_text"))


# The Kelvin sign lower-cases to k for Python; for DuckDB the two are different names, as are Ä and ä.
NAMES = st.sampled_from(["open", "secret", "k", "main.open", "main.secret", "OPEN", '"secret"', '"\u00e4"'])
PLAIN = st.sampled_from(["open", "secret", "k", '"\u212a"', '"\u00c4"'])


def queries() -> st.SearchStrategy[str]:
    """Queries whose CTEs carry the names of tables, nested at will; UNION lets each recursion end."""
    leaf = st.one_of(NAMES.map(lambda name: f"select m from {name}"), st.just("select 'CTE' m"))

    def deeper(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        def with_(names: list[str], bodies: list[str], last: str, recursive: bool) -> str:
            parts = ", ".join(f"{name} as ({body})" for name, body in zip(names, bodies, strict=False))
            return f"with {'recursive ' * recursive}{parts} {last}"

        return st.one_of(
            st.builds(
                with_,
                st.lists(PLAIN, min_size=2, max_size=2, unique=True),
                st.lists(inner, min_size=1, max_size=2),
                inner,
                st.booleans(),
            ),
            st.builds(lambda one, two: f"select m from ({one}) union ({two})", inner, inner),
            st.builds(lambda one, name: f"select m from ({one}) x where exists (from {name})", inner, NAMES),
            st.builds(lambda one: f"select (select max(m) from ({one})) m", inner),
        )

    return st.recursive(leaf, deeper, max_leaves=6)


@pytest.fixture(scope="module")
def tables() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as made:
        made.execute("create table open as select 'OPEN' m; create table secret as select 'SECRET' m")
        made.execute("create table k as select 'SECRET' m; create table \"\u00e4\" as select 'SECRET' m")
        yield made


@settings(quiet, max_examples=400)
@given(queries())
def test_whatever_grants_let_through_reads_only_what_was_granted(
    policy: Policy, tables: duckdb.DuckDBPyConnection, sql: str
) -> None:
    principal = Principal("guy", Role.READER, "f", (Grant.parse("select on main.open"),))
    if not policy.check(principal, sql).allowed:
        return
    try:
        rows = tables.execute(sql).fetchall()
    except duckdb.Error:
        return
    assert ("SECRET",) not in rows


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("INSERT INTO t VALUES (1, 'x', -2.5, NULL, true, [1, 2], {'a': 1})", 1),
        ("insert into lake.demo.t (a, b) values (1, (2)), (3, 4) -- (5)", 2),
        ("INSERT INTO t VALUES (DATE '2020-01-01', TIMESTAMPTZ '2020-01-01 00:00+02', INTERVAL '1' DAY)", 0),
        ("INSERT INTO t VALUES (DATE '2020-01-01', '1'::BIGINT)", 1),
        ("INSERT INTO t VALUES (now())", 0),
        ("INSERT INTO t VALUES (uuid())", 0),
        ("INSERT INTO t VALUES (current_user)", 0),
        ("INSERT INTO t VALUES (DEFAULT)", 0),
        ("INSERT INTO t DEFAULT VALUES", 0),
        ("INSERT INTO t VALUES ((SELECT 1))", 0),
        ("INSERT INTO t SELECT 1", 0),
        ("INSERT INTO t VALUES (1) RETURNING i", 0),
        ("WITH x AS (SELECT 1) INSERT INTO t VALUES (1)", 0),
        ("INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)", 0),
        ("EXPLAIN INSERT INTO t VALUES (1)", 0),
        ("VALUES (1)", 0),
        ("UPDATE t SET a = 1", 0),
    ],
)
def test_only_one_insert_of_literals_may_share_a_transaction(policy: Policy, sql: str, rows: int) -> None:
    verdict = policy.check(WRITER, sql)
    assert verdict.allowed, verdict.reason
    assert verdict.rows == rows


@pytest.mark.parametrize(
    ("sql", "plain"),
    [
        *((sql, True) for sql in READS if not sql.startswith(("use", "set"))),
        *((sql, "temp" not in sql) for sql in WRITES if not sql.startswith("call")),
        ("CREATE TABLE temp.x (i INT)", False),
        ("CREATE TABLE temp.main.x (i INT)", False),
        ("CREATE OR REPLACE TEMPORARY VIEW x AS SELECT 1", False),
        ("INSERT INTO temp.x VALUES (1)", False),
        ("BEGIN", False),
        ("COMMIT", False),
        ("USE lake.demo", False),
        ("SET TimeZone = 'UTC'", False),
        ("SELECT 1; BEGIN", False),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE x AS SELECT 1", False),
        ("CALL lake.set_commit_message('me', 'why')", False),
    ],
)
def test_the_verdict_tells_what_leaves_something_in_the_session(
    policy: Policy, sql: str, plain: bool
) -> None:
    verdict = policy.check(WRITER, sql)
    assert verdict.allowed, verdict.reason
    assert verdict.plain == plain
