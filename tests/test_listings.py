"""What people see of a lake's metadata: each of DuckDB's own listings, for each kind of principal, by both ways."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import duckdb
import pytest

from azquack.policy.functions import Functions
from azquack.policy.visible import FUNCTIONS
from tests.cluster import TempPair, attached, remote
from tests.test_roles import principal

FILL = (
    "CREATE SCHEMA demo",
    "CREATE SCHEMA human_resources",
    "CREATE TABLE events (id INTEGER NOT NULL, what VARCHAR)",
    "CREATE TABLE demo.small AS SELECT 1 AS little",
    'CREATE TABLE demo."Größe" AS SELECT 1 AS "Maß"',
    "CREATE TABLE demo.payroll (salary INTEGER NOT NULL)",
    "CREATE TABLE human_resources.staff AS SELECT 1 AS age",
    "CREATE VIEW demo.rich AS SELECT salary AS paid FROM demo.payroll",
    "COMMENT ON TABLE demo.payroll IS 'hush'",
    "CREATE MACRO twice(x) AS x * 2",
)
GRANTS = {
    "reader": "reader", "writer": "writer",
    "granted-reader": "reader", "granted-writer": "writer",
}  # fmt: skip
REACH = ("select on demo.small", "select on demo.rich")
# What nobody sees: the metadata catalog and where it is. Then what somebody with the grants above does not see.
HIDDEN = ("__ducklake_metadata", "ducklake_data_file", "ducklake_snapshot_changes")
OUT_OF_REACH = ("payroll", "salary", "human_resources", "'age'", "hush", "Größe", "Maß", "events", "twice")
SHOWS = (
    "SHOW TABLES", "SHOW ALL TABLES", "SHOW", "DESCRIBE", "SHOW SCHEMAS", "SHOW DATABASES", "SHOW TABLES FROM demo",
    "SHOW TABLES FROM lake", "SHOW TABLES FROM lake.demo", "SHOW TABLES FROM human_resources",
    "SELECT * FROM (SHOW ALL TABLES) s", "FROM (DESCRIBE demo.small)", "DESCRIBE demo.rich",
    "PRAGMA show_tables", "PRAGMA show_tables_expanded", "PRAGMA show_databases", "PRAGMA database_list",
    "PRAGMA table_info('demo.small')", "PRAGMA version", "PRAGMA platform", "PRAGMA functions", "PRAGMA collations",
    "FROM pragma_table_info('lake.demo.rich')", "DESCRIBE duckdb_tables", "TABLE duckdb_columns",
    "SUMMARIZE FROM information_schema.tables", "SELECT (SELECT list(table_name) FROM duckdb_tables()) AS names",
    "SELECT pg_catalog.pg_class.oid, pg_class.relname FROM pg_catalog.pg_class ORDER BY pg_catalog.pg_class.oid",
    "SELECT tables.* FROM information_schema.tables WHERE tables.table_schema = 'demo'",
    "WITH t AS (FROM duckdb_tables()) SELECT t.table_name FROM t JOIN duckdb_columns() AS c USING (table_oid)",
)  # fmt: skip
Connect = Callable[[str], duckdb.DuckDBPyConnection]


def own_views() -> list[str]:
    """The views of DuckDB's own that the policy allows, in full."""
    allowed = Functions.load().views
    with duckdb.connect() as connection:
        rows = connection.execute(
            "SELECT schema_name, view_name FROM duckdb_views() WHERE internal ORDER BY ALL"
        ).fetchall()
    return [f"{schema}.{view}" for schema, view in rows if view in allowed]


LISTINGS = [
    *(f"FROM {each}()" for each in sorted(FUNCTIONS)),
    *(f"FROM {each}" for each in own_views()),
    *SHOWS,
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    """A pair with something to hide."""
    made = TempPair(tmp_path_factory.mktemp("listings") / "lake", "--backup-every", "0")
    made.start()
    try:
        with attached(made, made.directory / "home") as admin:
            for sql in FILL:
                admin.execute(remote(sql)).fetchall()
        yield made
    finally:
        made.destroy()


@pytest.fixture(scope="module")
def connect(pair: TempPair) -> Iterator[Connect]:
    """`connect(kind)`: a stock DuckDB attached as `r` and as `lake`, with the token of that kind of principal."""
    tokens = {"admin": pair.token}
    for kind, role in GRANTS.items():
        grants = list(REACH) if kind.startswith("granted") else []
        if kind == "granted-writer":
            grants.append("create on demo.seen")
        told = principal(
            pair, "add", kind, "--role", role, *(word for each in grants for word in ("--grant", each))
        )
        tokens[kind] = told.split()[-1]
    with ExitStack() as stack:
        known: dict[str, duckdb.DuckDBPyConnection] = {}

        def made(kind: str) -> duckdb.DuckDBPyConnection:
            if kind not in known:
                home = pair.directory / f"home-{kind}"
                known[kind] = stack.enter_context(attached(pair, home, tokens[kind]))
                known[kind].execute(f"ATTACH '{pair.uri}' AS lake")
            return known[kind]

        yield made


@pytest.mark.parametrize("kind", ["admin", *GRANTS])
def test_a_listing_shows_what_is_within_reach_and_nothing_else(
    connect: Connect, pair: TempPair, kind: str
) -> None:
    person = connect(kind)
    seen = ""
    for sql in LISTINGS:
        text = str(person.execute(remote(sql)).fetchall())
        seen += text
        # `duckdb_functions()` and `pg_proc` have the words of all functions in them.
        forbidden = [*HIDDEN, str(pair.directory)]
        if kind.startswith("granted") and "functions" not in sql and "pg_proc" not in sql:
            forbidden += OUT_OF_REACH
        assert [word for word in forbidden if word in text] == [], sql
    assert all(word in seen for word in ("'small'", "'little'", "'rich'", "'paid'"))
    if not kind.startswith("granted"):
        assert all(word in seen for word in OUT_OF_REACH)


def test_with_grants_one_sees_the_same_rows_as_without_but_fewer(connect: Connect) -> None:
    """The oracle: what an administrator sees of the two tables is what is left."""
    # Their numbers are each node's own.
    same = "* EXCLUDE (database_oid, schema_oid, table_oid)"
    for function, column in [("duckdb_tables", "table_name"), ("duckdb_columns", "table_name")]:
        where = f"schema_name = 'demo' AND {column} IN ('small', 'rich')"
        asked = f"SELECT {same} FROM {function}() WHERE {where} ORDER BY ALL"
        whole = connect("admin").execute(remote(asked)).fetchall()
        assert whole
        assert (
            connect("granted-reader")
            .execute(remote(f"SELECT {same} FROM {function}() ORDER BY ALL"))
            .fetchall()
            == whole
        )


def test_a_grant_on_a_schema_or_on_all_shows_so_much(connect: Connect, pair: TempPair) -> None:
    def tables(name: str, grant: str) -> list[str]:
        token = principal(pair, "add", name, "--role", "writer", "--grant", grant).split()[-1]
        with attached(pair, pair.directory / f"home-{name}", token) as person:
            rows = person.execute(
                remote("SELECT schema_name || '.' || table_name FROM duckdb_tables() ORDER BY 1")
            )
            return [table for (table,) in rows.fetchall()]

    demo = ["demo.Größe", "demo.payroll", "demo.small"]
    assert tables("schema", "insert on DEMO.*") == demo
    assert tables("table", "update on demo.größe") == ["demo.Größe"]
    assert tables("all", "select on *") == [*demo, "human_resources.staff", "main.events"]


@pytest.mark.parametrize(
    "sql",
    [
        "PRAGMA table_info('demo.payroll')", "DESCRIBE demo.payroll", "SUMMARIZE demo.payroll",
        "FROM pragma_table_info('human_resources.staff')", "FROM pragma_show('events')",
        "FROM pragma_table_info('demo.' || 'payroll')", "SELECT pg_get_viewdef(1)", "SELECT pg_get_constraintdef(1)",
        "FROM duckdb_settings()", "FROM duckdb_secrets()", "FROM duckdb_variables()", "SHOW VARIABLES",
        "PRAGMA database_size", "PRAGMA storage_info('demo.payroll')", "PRAGMA memory_limit='1GB'",
        "FROM pragma_table_info('__ducklake_metadata_lake.ducklake_table')", "FROM duckdb_prepared_statements()",
        "SHOW TABLES FROM __ducklake_metadata_lake", "SHOW TABLES FROM __ducklake_metadata_lake.main",
        "SELECT * FROM system.main.duckdb_logs()", "FROM pg_catalog.pg_settings", "PRAGMA version; PRAGMA platform",
    ],
)  # fmt: skip
def test_what_is_out_of_reach_is_refused(connect: Connect, sql: str) -> None:
    with pytest.raises(duckdb.Error):
        pytest.fail(f"got {connect('granted-reader').execute(remote(sql)).fetchall()}")


def test_a_view_over_a_listing_is_not_for_people_with_grants(connect: Connect) -> None:
    for body in (
        "FROM duckdb_tables()",
        "FROM information_schema.columns",
        "FROM pragma_table_info('demo.small')",
    ):
        with pytest.raises(duckdb.Error, match="no view can read"):
            connect("granted-writer").execute(remote(f"CREATE VIEW demo.seen AS {body}")).fetchall()


NATIVE = tomllib.loads((Path(__file__).with_name("introspection.toml")).read_text("utf-8"))


@pytest.mark.parametrize("kind", ["admin", "reader", "granted-reader"])
def test_what_tools_ask_for_in_a_lake_that_they_use_is_answered(connect: Connect, kind: str) -> None:
    person = connect(kind)
    person.execute("USE lake")
    try:
        for tool, statements in NATIVE["native"].items():
            for sql in statements:
                text = str(person.execute(sql).fetchall())
                forbidden = [*HIDDEN, *(OUT_OF_REACH if kind.startswith("granted") else ())]
                if "functions" not in sql:
                    assert [word for word in forbidden if word in text] == [], (tool, sql)
        assert person.execute("SHOW TABLES FROM lake.demo").fetchall() == [
            (name,)
            for name in (
                ["rich", "small"] if kind.startswith("granted") else ["Größe", "payroll", "rich", "small"]
            )
        ]
        tables = "SELECT table_name FROM information_schema.tables WHERE table_catalog = 'lake' ORDER BY 1"
        seen = [name for (name,) in person.execute(tables).fetchall()]
        assert {"small", "rich"} <= set(seen)
        columns = "SELECT column_name FROM information_schema.columns WHERE table_name = 'small'"
        assert ("little",) in person.execute(columns).fetchall()
        assert ("demo",) in person.execute("SELECT schema_name FROM (SHOW SCHEMAS)").fetchall()
    finally:
        person.execute("USE memory")


@pytest.mark.parametrize("kind", ["admin", "reader", "granted-reader"])
def test_what_tools_ask_of_the_node_itself_is_answered(connect: Connect, kind: str) -> None:
    for statements in NATIVE["remote"].values():
        for sql in statements:
            connect(kind).execute(remote(sql)).fetchall()
