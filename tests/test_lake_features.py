"""What a user of DuckLake would try through the public gateway: by `r.query`, and natively as `r.t`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from azquack.lake import extensions
from tests.cluster import Pair, attached, remote
from tests.gateway.parts import NodeProcess, client

Rows = list[tuple[Any, ...]]
# DuckLake keeps an insert of up to this many rows in the catalog.
INLINED = 10

TYPES = {
    "BOOLEAN": "[true, false]",
    "TINYINT": "['-128'::TINYINT, 127::TINYINT]",
    "SMALLINT": "['-32768'::SMALLINT, 32767::SMALLINT]",
    "INTEGER": "['-2147483648'::INTEGER, 2147483647::INTEGER]",
    "BIGINT": "['-9223372036854775808'::BIGINT, 9223372036854775807]",
    "HUGEINT": "['-9007199254740991'::HUGEINT, 9007199254740991::HUGEINT]",
    "UTINYINT": "[0::UTINYINT, 255::UTINYINT]",
    "USMALLINT": "[0::USMALLINT, 65535::USMALLINT]",
    "UINTEGER": "[0::UINTEGER, 4294967295::UINTEGER]",
    "UBIGINT": "[0::UBIGINT, 18446744073709551615::UBIGINT]",
    "UHUGEINT": "[0::UHUGEINT, 9007199254740991::UHUGEINT]",
    "DECIMAL(4,1)": "['-999.9'::DECIMAL(4,1), 999.9::DECIMAL(4,1)]",
    "DECIMAL(9,3)": "['-999999.999'::DECIMAL(9,3), 0.001::DECIMAL(9,3)]",
    "DECIMAL(18,6)": "['-999999999999.999999'::DECIMAL(18,6), 0.000001::DECIMAL(18,6)]",
    "DECIMAL(38,10)": "['-9999999999999999999999999999.9999999999'::DECIMAL(38,10), 0::DECIMAL(38,10)]",
    "FLOAT": "[1.5::FLOAT, 'inf'::FLOAT, '-inf'::FLOAT, 'nan'::FLOAT, 3.4028235e38::FLOAT]",
    "DOUBLE": "[0.1::DOUBLE, 'inf'::DOUBLE, '-inf'::DOUBLE, 'nan'::DOUBLE, 1.7976931348623157e308, 5e-324]",
    "VARCHAR": "['', '🦆 quack', 'it''s', 'a' || chr(0) || 'b', repeat('é', 5000), chr(10)]",
    "BLOB": r"['\x00\xFF'::BLOB, ''::BLOB]",
    "DATE": "['2026-02-28'::DATE, '5877642-06-25 (BC)'::DATE, '5881580-07-10'::DATE, 'infinity'::DATE]",
    "TIME": "['00:00:00'::TIME, '23:59:59.999999'::TIME, '24:00:00'::TIME]",
    "TIME WITH TIME ZONE": "['12:00:00+00'::TIMETZ, '00:00:00.000001+00'::TIMETZ]",
    "TIMESTAMP": "['2026-01-01 12:00:00.123456'::TIMESTAMP, '290309-12-22 (BC) 00:00:00'::TIMESTAMP, "
    "'294247-01-10 04:00:54.775806'::TIMESTAMP, 'infinity'::TIMESTAMP, '-infinity'::TIMESTAMP]",
    "TIMESTAMP_S": "['1969-12-31 23:59:59'::TIMESTAMP_S, '2026-01-01 12:00:00'::TIMESTAMP_S]",
    "TIMESTAMP_MS": "['1969-12-31 23:59:59.999'::TIMESTAMP_MS, '2026-01-01 12:00:00.123'::TIMESTAMP_MS]",
    "TIMESTAMP_NS": "['1969-12-31 23:59:59.999999999'::TIMESTAMP_NS, '2026-01-01'::TIMESTAMP_NS]",
    "TIMESTAMP WITH TIME ZONE": "['2026-01-01 12:00:00+05:30'::TIMESTAMPTZ, 'infinity'::TIMESTAMPTZ]",
    "UUID": "['7cd60b33-f13f-4f03-b438-0d81486bff20'::UUID, '00000000-0000-0000-0000-000000000000'::UUID]",
    "JSON": """['{"a": [1, null, "🦆"]}'::JSON, 'null'::JSON]""",
    "INTEGER[]": "[[1, NULL, 3], []::INTEGER[]]",
    "STRUCT(a INTEGER, b VARCHAR)": "[{'a': 1, 'b': NULL}, {'a': NULL, 'b': '🦆'}]",
    "MAP(VARCHAR, INTEGER)": "[MAP {'a': 1, 'b': NULL}, MAP {}::MAP(VARCHAR, INTEGER)]",
    "STRUCT(a MAP(VARCHAR, STRUCT(x INTEGER, y DATE[])[]), b INTEGER[][])": "[{'a': MAP {'k': "
    "[{'x': 1, 'y': ['2026-01-01'::DATE, NULL]}]}, 'b': [[1], [], [2, NULL]]}, NULL]",
}

UNSUPPORTED_TYPES = {
    "BIT": "'0101'::BIT",
    "ENUM": "'a'::ENUM('a', 'b')",
    "BIGNUM": "1::BIGNUM",
    "UNION": "union_value(n := 1)",
    "ARRAY": "[1, 2, 3]::INTEGER[3]",
}

# (the statement, part of DuckLake's refusal). Each stands in docs/known-limits.md with what to do instead.
REFUSED = {
    "primary key": ("CREATE TABLE refused (i INT PRIMARY KEY)", "PRIMARY KEY/UNIQUE constraints are not"),
    "unique": ("CREATE TABLE refused (i INT UNIQUE)", "PRIMARY KEY/UNIQUE constraints are not"),
    "check": ("CREATE TABLE refused (i INT CHECK (i > 0))", "CHECK constraints are not supported"),
    "foreign key": ("CREATE TABLE refused (i INT REFERENCES people(id))", "Failed to create foreign key"),
    "generated column": (
        "CREATE TABLE refused (i INT, g INT AS (i + 1))",
        "does not support generated columns",
    ),
    "collation": ("CREATE TABLE refused (s VARCHAR COLLATE NOCASE)", "Collations are not supported"),
    "sequence": ("CREATE SEQUENCE numbers", "CREATE SEQUENCE is not allowed"),
    "index": ("CREATE INDEX by_id ON people (id)", "CREATE INDEX is not allowed"),
    "type": ("CREATE TYPE mood AS ENUM ('good', 'bad')", "CREATE TYPE is not allowed"),
    "comment on a schema": ("COMMENT ON SCHEMA main IS 'x'", "comments to schemas is not implemented"),
    "on conflict": (
        "INSERT INTO people VALUES (1, 'x') ON CONFLICT (id) DO NOTHING",
        "ON CONFLICT is not allowed",
    ),
    "insert returning": (
        "INSERT INTO people VALUES (3, 'x') RETURNING id",
        "RETURNING clause not yet supported",
    ),
    "update returning": ("UPDATE people SET id = 3 RETURNING id", "RETURNING clause not yet supported"),
    "delete returning": ("DELETE FROM people RETURNING id", "RETURNING clause not yet supported"),
    "merge returning": (
        "MERGE INTO people USING (SELECT 9 AS id) s USING (id) WHEN MATCHED THEN DELETE RETURNING id",
        "RETURNING is not implemented for DuckLake",
    ),
    "add or replace": (
        "INSERT OR REPLACE INTO people VALUES (1, 'x')",
        "no UNIQUE/PRIMARY KEY constraints that refer to this table",
    ),
    "merge with two changes": (
        "MERGE INTO people USING (SELECT 1 AS id) s USING (id) "
        "WHEN MATCHED AND name = 'ann' THEN DELETE WHEN MATCHED THEN UPDATE SET name = 'x'",
        "only supports a single UPDATE/DELETE action",
    ),
    "narrower type": ("ALTER TABLE people ALTER id TYPE SMALLINT", "only widening type promotions"),
    "number to text": ("ALTER TABLE people ALTER id TYPE VARCHAR", "only widening type promotions"),
    "new column with computed default": (
        "ALTER TABLE people ADD COLUMN since TIMESTAMP DEFAULT now()",
        "is computed, and would keep every client from attaching",
    ),
    "move to another schema": ("ALTER TABLE people SET SCHEMA other", "T_AlterObjectSchemaStmt"),
    "dropped schema in use": ("DROP SCHEMA other", "there are entries that depend on it"),
    "struct without fields": ("ALTER TABLE nested DROP COLUMN s.deep.leaf", "Failed to commit"),
}

# (the statement, part of the client's refusal): what only r.query can do.
REFUSED_NATIVELY = {
    "update": ("UPDATE r.people SET id = 3", "Can only update base table"),
    "delete": ("DELETE FROM r.people", "Can only delete from base table"),
    "truncate": ("TRUNCATE r.people", "Can only delete from base table"),
    "merge": (
        "MERGE INTO r.people USING (SELECT 1 AS id) s USING (id) WHEN MATCHED THEN DELETE",
        "Can only merge into base tables",
    ),
    "insert returning": ("INSERT INTO r.people VALUES (3, 'x') RETURNING id", "RETURNING not yet supported"),
    "alter": ("ALTER TABLE r.people ADD COLUMN z INT", "Alter not implemented yet"),
    "comment": ("COMMENT ON TABLE r.people IS 'x'", "Alter not implemented yet"),
    "create schema": ("CREATE SCHEMA r.fresh", "Nothing can be written in the catalog r"),
    "create macro": ("CREATE MACRO r.twice(x) AS 2 * x", "CreateFunction not implemented yet"),
    "view of a table": ("CREATE VIEW r.mirror AS FROM r.people", "does not exist"),
    "time travel": ("FROM r.people AT (VERSION => 1)", "Catalog type does not support time travel"),
    "join": ("FROM r.people JOIN r.people AS other USING (id)", "Multiple streaming scans"),
    "copy of a table": ("CREATE TABLE r.twin AS FROM r.people", "Multiple streaming scans"),
    "macro": ("SELECT r.half(4)", "half does not exist"),
}


@pytest.fixture(scope="module")
def lake(pair: Pair, home: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A client of a lake that holds a few tables; what else a test needs it makes under names of its own."""
    with attached(pair, home) as connection:
        for each in (
            "CREATE TABLE people (id INT, name VARCHAR)",
            "INSERT INTO people VALUES (1, 'ann'), (2, 'bob')",
            "CREATE TABLE nested (s STRUCT(a INT, deep STRUCT(leaf INT)))",
            "CREATE SCHEMA other",
            "CREATE TABLE other.things AS SELECT 42 AS thing",
            "CREATE MACRO half(x) AS x / 2",
        ):
            connection.execute(remote(each))
        connection.execute("CALL quack_clear_cache()")
        yield connection


def ask(connection: duckdb.DuckDBPyConnection, *statements: str) -> Rows:
    """The rows of the last of the statements, each run on the node."""
    rows: Rows = []
    for each in statements:
        rows = connection.execute(remote(each)).fetchall()
    return rows


@pytest.fixture(scope="module")
def typed(lake: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """The client, with tables that hold every type: kept in the catalog, in Parquet, and written natively."""
    columns = ", ".join(f'{values} || [NULL] AS "{name}"' for name, values in TYPES.items())
    unnested = ", ".join(f'unnest("{name}") AS "{name}"' for name in TYPES)
    rows = f"SELECT {unnested} FROM (SELECT {columns})"
    lake.execute(f"CREATE TABLE memory.expected AS {rows}")
    lake.execute(remote(f"CREATE TABLE types_inlined AS {rows}"))
    lake.execute(remote(f"CREATE TABLE types_parquet AS SELECT t.* FROM ({rows}) t, range({2 * INLINED})"))
    lake.execute("CREATE TABLE r.types_native AS FROM memory.expected")
    lake.execute("CALL quack_clear_cache()")
    return lake


@pytest.mark.parametrize("table", ["types_inlined", "types_parquet", "types_native"])
@pytest.mark.parametrize("name", TYPES)
def test_a_type_round_trips(name: str, table: str, typed: duckdb.DuckDBPyConnection) -> None:
    pushed = remote(f'SELECT DISTINCT "{name}" AS v FROM {table}')
    native = f'SELECT DISTINCT "{name}" AS v FROM r.{table}'
    for got in (pushed, native):
        assert typed.execute(f"SELECT typeof(v) FROM ({got}) LIMIT 1").fetchall() == [(name,)]
        typed.execute(f"CREATE OR REPLACE TABLE memory.got AS {got}")
        want = f'SELECT DISTINCT "{name}" AS v FROM memory.expected'
        for one, other in ((want, "FROM memory.got"), ("FROM memory.got", want)):
            # As text too: -0.0 equals 0.0, and a moment equals itself in another zone.
            assert (
                typed.execute(
                    f"SELECT v, v::VARCHAR FROM ({one}) EXCEPT SELECT v, v::VARCHAR FROM ({other})"
                ).fetchall()
                == []
            )


def test_the_tables_of_types_lie_where_the_test_means(typed: duckdb.DuckDBPyConnection) -> None:
    files = ask(
        typed,
        "SELECT table_name, file_count > 0 FROM ducklake_table_info('lake') "
        "WHERE table_name IN ('types_inlined', 'types_parquet') ORDER BY ALL",
    )
    assert files == [("types_inlined", False), ("types_parquet", True)]


def test_variants_round_trip_in_the_catalog_and_in_parquet(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE TABLE variants AS SELECT 1::VARIANT AS v UNION ALL SELECT {'a': [1, 2]}::VARIANT")
    before = ask(lake, "SELECT v::VARCHAR FROM variants ORDER BY ALL")
    assert before == [("1",), ("{'a': [1, 2]}",)]
    ask(lake, "CALL ducklake_flush_inlined_data('lake', table_name => 'variants')")
    assert ask(lake, "SELECT v::VARCHAR FROM variants ORDER BY ALL") == before


def test_geometries_round_trip(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE TABLE places AS SELECT 'POINT(1 2)'::GEOMETRY AS g")
    for places in (remote("FROM places"), "FROM r.places"):
        lake.execute("CALL quack_clear_cache()")
        assert lake.execute(f"SELECT typeof(g), g::VARCHAR FROM ({places})").fetchall() == [
            ("GEOMETRY", "POINT (1 2)")
        ]


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("'12:00:00+02'::TIMETZ", "10:00:00+00"),
    ],
    ids=["TIMETZ"],
)
def test_parquet_keeps_less_of_a_value_than_the_catalog(
    value: str, kept: str, lake: duckdb.DuckDBPyConnection
) -> None:
    [(whole,)] = lake.execute(f"SELECT ({value})::VARCHAR").fetchall()
    read = "SELECT v::VARCHAR FROM lossy LIMIT 1"
    assert ask(lake, f"CREATE OR REPLACE TABLE lossy AS SELECT {value} AS v", read) == [(whole,)]
    ask(lake, "CALL ducklake_flush_inlined_data('lake', table_name => 'lossy')")
    assert ask(lake, read) == [(kept,)]


# What makes a table with the value, and part of the sentence that refuses it: see docs/known-limits.md.
NOT_KEPT = {
    "INTERVAL": ("INTERVAL '1 day'", "loses its microseconds in Parquet"),
    "list of INTERVAL": ("[INTERVAL '1 microsecond']", "loses its microseconds in Parquet"),
    "INTERVAL in a MAP": ("MAP {'a': {'b': INTERVAL '1 day'}}", "loses its microseconds in Parquet"),
    "HUGEINT": ("9007199254740993::HUGEINT", "a HUGEINT is a DOUBLE in Parquet"),
    "negative HUGEINT in a STRUCT": (
        "{'a': [-9007199254740993::HUGEINT]}",
        "a HUGEINT is a DOUBLE in Parquet",
    ),
    "UHUGEINT": ("340282366920938463463374607431768211455::UHUGEINT", "a HUGEINT is a DOUBLE in Parquet"),
    "HUGEINT in a MAP": ("MAP {'a': 1::HUGEINT}", "cannot be seen within a MAP"),
    "TIMESTAMP_S": ("'infinity'::TIMESTAMP_S", "an infinite TIMESTAMP_S cannot be written"),
    "TIMESTAMP_S in a list": ("['-infinity'::TIMESTAMP_S]", "an infinite TIMESTAMP_S cannot be written"),
    "TIMESTAMP_S in a MAP": ("MAP {'2026-01-01'::TIMESTAMP_S: 1}", "cannot be seen within a MAP"),
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_what_parquet_does_not_keep_is_refused_while_it_is_whole(
    name: str, lake: duckdb.DuckDBPyConnection
) -> None:
    value, sentence = NOT_KEPT[name]
    with pytest.raises(duckdb.Error, match=sentence):
        ask(lake, f"CREATE TABLE not_kept AS SELECT {value} AS v")
    assert ask(lake, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'not_kept'") == [(0,)]


@pytest.mark.parametrize(("made", "wider"), [("FLOAT", "DOUBLE"), ("STRUCT(f FLOAT)", "STRUCT(f DOUBLE)")])
def test_a_float_does_not_become_a_double(made: str, wider: str, lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, f"CREATE OR REPLACE TABLE floats (f {made})")
    with pytest.raises(duckdb.Error, match="compared wrongly with what older files hold"):
        ask(lake, f"ALTER TABLE floats ALTER f TYPE {wider}")
    ask(lake, "ALTER TABLE floats RENAME f TO g", "ALTER TABLE floats ADD COLUMN d DOUBLE")


def test_a_nanosecond_time_is_refused_since_it_ends_the_duckdb_that_writes_it_to_parquet(
    home: Path, tmp_path: Path, lake: duckdb.DuckDBPyConnection
) -> None:
    with pytest.raises(duckdb.Error, match="TIME_NS would end the node"):
        ask(lake, "CREATE TABLE fine AS SELECT '12:00:00'::TIME_NS AS t")
    # In a DuckDB of its own, as a node that meets this has to be started anew.
    with duckdb.connect(":memory:", config=extensions.config(home)) as alone:
        alone.execute(f"ATTACH 'ducklake:{tmp_path}/meta.ducklake' AS own (DATA_PATH '{tmp_path}')")
        with pytest.raises(duckdb.InternalException, match='Unsupported type "TIME_NS" in Parquet writer'):
            alone.execute(f"CREATE TABLE own.t AS SELECT '12:00:00'::TIME_NS AS t FROM range({2 * INLINED})")
        with pytest.raises(duckdb.FatalException, match="database has been invalidated"):
            alone.execute("SELECT 1")


def test_dropping_the_last_field_of_a_struct_ruins_a_lake_that_does_not_inline(
    home: Path, tmp_path: Path
) -> None:
    with duckdb.connect(":memory:", config=extensions.config(home)) as alone:
        alone.execute(f"ATTACH 'ducklake:{tmp_path}/meta.ducklake' AS own (DATA_PATH '{tmp_path}')")
        alone.execute("CALL own.set_option('data_inlining_row_limit', 0)")
        alone.execute("CREATE TABLE own.t (s STRUCT(a INT, deep STRUCT(leaf INT)))")
        alone.execute("ALTER TABLE own.t DROP COLUMN s.deep.leaf")
        with pytest.raises(duckdb.InternalException, match="optional pointer that is not set"):
            alone.execute("FROM own.t")


@pytest.mark.parametrize("name", UNSUPPORTED_TYPES)
def test_a_type_that_ducklake_lacks_can_be_asked_for_but_not_kept(
    name: str, lake: duckdb.DuckDBPyConnection
) -> None:
    value = UNSUPPORTED_TYPES[name]
    assert ask(lake, f"SELECT {value}") == lake.execute(f"SELECT {value}").fetchall()
    with pytest.raises(duckdb.Error, match="unsupported type"):
        ask(lake, f"CREATE TABLE unkept AS SELECT {value} AS v")
    with pytest.raises(duckdb.Error, match="unsupported type"):
        lake.execute(f"CREATE TABLE r.unkept AS SELECT {value} AS v")


@pytest.mark.parametrize("name", REFUSED)
def test_ducklake_refuses(name: str, lake: duckdb.DuckDBPyConnection) -> None:
    statement, message = REFUSED[name]
    with pytest.raises(duckdb.Error) as caught:
        ask(lake, statement)
    assert message in str(caught.value)
    assert ask(lake, "FROM people ORDER BY id") == [(1, "ann"), (2, "bob")]


@pytest.mark.parametrize("name", REFUSED_NATIVELY)
def test_the_client_refuses_natively(name: str, lake: duckdb.DuckDBPyConnection) -> None:
    statement, message = REFUSED_NATIVELY[name]
    with pytest.raises(duckdb.Error) as caught:
        lake.execute(statement)
    assert message in str(caught.value)
    assert ask(lake, "FROM people ORDER BY id") == [(1, "ann"), (2, "bob")]


def test_tables_are_made_written_read_and_dropped_natively(
    lake: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    lake.execute("CREATE TABLE r.plain (i INT DEFAULT 5, j INT NOT NULL)")
    lake.execute("INSERT INTO r.plain (j) VALUES (1)")
    assert lake.execute("FROM r.plain").fetchall() == [(5, 1)]
    with pytest.raises(duckdb.Error, match="NOT NULL constraint failed"):
        lake.execute("INSERT INTO r.plain (j) VALUES (NULL)")
    file = tmp_path / "plain.parquet"
    lake.execute(f"COPY (FROM r.plain) TO '{file}'")
    lake.execute(f"COPY r.plain FROM '{file}'")
    assert lake.execute("SELECT count(*), sum(j) FROM r.plain WHERE i = 5").fetchall() == [(2, 2)]
    lake.execute("CREATE OR REPLACE TABLE r.plain AS SELECT 7 AS seven")
    assert lake.execute("FROM r.plain").fetchall() == [(7,)]
    assert [row[0] for row in lake.execute("DESCRIBE r.plain").fetchall()] == ["seven"]
    lake.execute("DROP TABLE r.plain")
    assert ask(lake, "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'plain'") == [(0,)]


def test_a_native_filter_is_applied_by_the_client(lake: duckdb.DuckDBPyConnection) -> None:
    [(_, plan)] = lake.execute("EXPLAIN FROM r.people WHERE name = 'ann'").fetchall()
    assert plan.index("FILTER") < plan.index("QUACK")
    assert plan.count("ann") == 1


def test_a_native_insert_reaches_another_schema(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE TABLE other.inbox (i INT)")
    lake.execute("CALL quack_clear_cache()")
    lake.execute("INSERT INTO r.other.inbox VALUES (1)")
    assert ask(lake, "FROM other.inbox") == [(1,)]


def test_a_table_that_another_client_made_is_seen_natively_after_clearing_the_cache(
    lake: duckdb.DuckDBPyConnection, connection: duckdb.DuckDBPyConnection
) -> None:
    ask(connection, "CREATE TABLE newcomer AS SELECT 1 AS i")
    with pytest.raises(duckdb.CatalogException, match="newcomer does not exist"):
        lake.execute("FROM r.newcomer")
    lake.execute("CALL quack_clear_cache()")
    assert lake.execute("FROM r.newcomer").fetchall() == [(1,)]


def test_tables_are_listed_by_the_node_alone(lake: duckdb.DuckDBPyConnection) -> None:
    assert ("people",) in ask(lake, "SHOW TABLES")
    assert lake.execute("SHOW TABLES FROM r").fetchall() == []
    assert lake.execute("SELECT count(*) FROM duckdb_tables() WHERE database_name = 'r'").fetchall() == [(0,)]


def test_a_native_transaction_does_not_hold_and_one_by_query_does(
    connection: duckdb.DuckDBPyConnection,
) -> None:
    connection.execute("CREATE TABLE r.undone (i INT)")
    connection.execute("BEGIN")
    connection.execute("INSERT INTO r.undone VALUES (1)")
    connection.execute("ROLLBACK")
    assert connection.execute("FROM r.undone").fetchall() == [(1,)]
    ask(connection, "BEGIN")
    connection.execute("INSERT INTO r.undone VALUES (2)")
    ask(connection, "ROLLBACK")
    assert connection.execute("FROM r.undone").fetchall() == [(1,)]


def test_of_several_statements_in_one_query_all_run_and_the_first_answers(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    assert ask(lake, "SELECT 1; CREATE TABLE beside AS SELECT 2; SELECT 3") == [(1,)]
    assert ask(lake, "FROM beside") == [(2,)]


def test_a_computed_default_is_refused_since_it_would_keep_new_clients_out(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    stamped = "CREATE TABLE stamped (i INT, made TIMESTAMP DEFAULT now())"
    with pytest.raises(duckdb.Error, match="computed, and would keep every client from attaching"):
        ask(lake, stamped)
    # A node without the gateway before it.
    node = NodeProcess("bare", "lake", stamped)
    try:
        with (
            pytest.raises(duckdb.BinderException, match='Catalog "r" does not exist'),
            client(node.port, node.token),
        ):
            pass
    finally:
        node.stop()


def test_a_constant_default_works(lake: duckdb.DuckDBPyConnection, pair: Pair, home: Path) -> None:
    ask(
        lake,
        "CREATE TABLE filled (i INT, day DATE DEFAULT DATE '2026-01-01', yes BOOL DEFAULT true NOT NULL)",
    )
    lake.execute("CREATE TABLE r.filled_too (i INT, n INT DEFAULT -1, yes BOOL DEFAULT true)")
    with attached(pair, home) as connection:
        ask(connection, "INSERT INTO filled (i) VALUES (1)", "INSERT INTO filled_too (i) VALUES (1)")
        assert ask(connection, "SELECT day::VARCHAR, yes FROM filled") == [("2026-01-01", True)]
        assert ask(connection, "SELECT n, yes FROM filled_too") == [(-1, True)]


def test_views(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE VIEW named AS SELECT name FROM people")
    assert ask(lake, "FROM named ORDER BY ALL") == [("ann",), ("bob",)]
    lake.execute("CALL quack_clear_cache()")
    assert lake.execute("FROM r.named ORDER BY ALL").fetchall() == [("ann",), ("bob",)]
    ask(lake, "CREATE OR REPLACE VIEW named AS SELECT upper(name) AS name FROM people")
    ask(lake, "COMMENT ON VIEW named IS 'loud'")
    assert ask(lake, "FROM named ORDER BY ALL LIMIT 1") == [("ANN",)]
    assert ask(lake, "SELECT comment FROM duckdb_views() WHERE view_name = 'named'") == [("loud",)]
    lake.execute("DROP VIEW r.named")
    with pytest.raises(duckdb.Error, match="named does not exist"):
        ask(lake, "FROM named")


def test_macros(lake: duckdb.DuckDBPyConnection, connection: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE MACRO plus(a, b := 10) AS a + b")
    ask(lake, "CREATE MACRO person(wanted) AS TABLE FROM people WHERE id = wanted")
    assert ask(connection, "SELECT plus(1), plus(1, b := 2)") == [(11, 3)]
    assert ask(connection, "FROM person(2)") == [(2, "bob")]
    ask(lake, "DROP MACRO plus")
    ask(lake, "DROP MACRO TABLE person")
    with pytest.raises(duckdb.Error, match="plus does not exist"):
        ask(connection, "SELECT plus(1)")


def test_merge_updates_and_inserts(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE TABLE stock AS FROM (VALUES ('bolt', 5), ('nut', 1)) t(item, pieces)")
    changed = ask(
        lake,
        """
        MERGE INTO stock USING (VALUES ('bolt', 2), ('cog', 9)) new(item, pieces) USING (item)
        WHEN MATCHED THEN UPDATE SET pieces = stock.pieces + new.pieces
        WHEN NOT MATCHED THEN INSERT VALUES (new.item, new.pieces)
        """,
    )
    assert changed == [(2,)]
    assert ask(lake, "FROM stock ORDER BY item") == [("bolt", 7), ("cog", 9), ("nut", 1)]
    ask(lake, "MERGE INTO stock USING (SELECT 'nut' AS item) gone USING (item) WHEN MATCHED THEN DELETE")
    assert ask(lake, "FROM stock ORDER BY item") == [("bolt", 7), ("cog", 9)]


def test_the_feed_of_changes_tells_inserts_updates_and_deletes(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE TABLE fed AS FROM (VALUES (1, 'a'), (2, 'b')) t(id, v)")
    [(first,)] = ask(lake, "FROM lake.current_snapshot()")
    ask(lake, "UPDATE fed SET v = 'z' WHERE id = 1", "DELETE FROM fed WHERE id = 2")
    [(last,)] = ask(lake, "FROM lake.current_snapshot()")
    changes = ask(
        lake,
        f"SELECT snapshot_id - {first}, change_type, id, v FROM lake.table_changes('fed', {first}, {last}) "
        "ORDER BY ALL",
    )
    assert changes == [
        (0, "insert", 1, "a"), (0, "insert", 2, "b"),
        (1, "update_postimage", 1, "z"), (1, "update_preimage", 1, "a"),
        (2, "delete", 2, "b"),
    ]  # fmt: skip
    inserted = (
        f"SELECT id, v FROM ducklake_table_insertions('lake', 'main', 'fed', {first}, {first}) ORDER BY id"
    )
    assert ask(lake, inserted) == [(1, "a"), (2, "b")]
    deleted = f"SELECT id, v FROM ducklake_table_deletions('lake', 'main', 'fed', {last}, {last})"
    assert ask(lake, deleted) == [(2, "b")]


def test_comments(lake: duckdb.DuckDBPyConnection, connection: duckdb.DuckDBPyConnection) -> None:
    ask(
        lake,
        "CREATE TABLE told (i INT)",
        "COMMENT ON TABLE told IS '🦆'",
        "COMMENT ON COLUMN told.i IS 'number'",
    )
    assert ask(connection, "SELECT comment FROM duckdb_tables() WHERE table_name = 'told'") == [("🦆",)]
    assert ask(connection, "SELECT comment FROM duckdb_columns() WHERE table_name = 'told'") == [("number",)]


def test_a_sorted_table_writes_its_files_in_order(lake: duckdb.DuckDBPyConnection) -> None:
    ask(
        lake,
        "CREATE TABLE ordered (i INT)",
        "ALTER TABLE ordered SET SORTED BY (i DESC)",
        "INSERT INTO ordered SELECT hash(i) % 1000 FROM range(5000) t(i)",
    )
    rows = ask(lake, "SELECT i FROM ordered ORDER BY rowid")
    assert rows == sorted(rows, reverse=True)
    ask(lake, "ALTER TABLE ordered RESET SORTED BY")


@pytest.mark.parametrize(
    ("keys", "files"), [("kind", 3), ("year(seen), month(seen)", 14), ("day(seen)", 31), ("bucket(4, id)", 4)]
)
def test_a_partitioned_table_writes_a_file_for_each_part(
    keys: str, files: int, lake: duckdb.DuckDBPyConnection
) -> None:
    ask(
        lake,
        "CREATE OR REPLACE TABLE parts (id INT, kind VARCHAR, seen TIMESTAMP)",
        f"ALTER TABLE parts SET PARTITIONED BY ({keys})",
        """
        INSERT INTO parts SELECT i, ['a', 'b', 'c'][1 + i % 3], TIMESTAMP '2025-01-01' + to_days(i::INT)
        FROM range(400) t(i)
        """,
    )
    assert ask(lake, "SELECT count(*) FROM ducklake_list_files('lake', 'parts')") == [(files,)]
    assert ask(lake, "SELECT count(*), count(DISTINCT id) FROM parts") == [(400, 400)]
    ask(lake, "ALTER TABLE parts RESET PARTITIONED BY")


def test_a_partition_key_of_the_wrong_type_blocks_the_flush_of_the_whole_lake(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    ask(lake, "CREATE TABLE misparted AS SELECT 1 AS i", "ALTER TABLE misparted SET PARTITIONED BY (year(i))")
    flush = "CALL ducklake_flush_inlined_data('lake')"
    for statement in ("INSERT INTO misparted VALUES (2)", flush, "CHECKPOINT"):
        with pytest.raises(duckdb.Error, match=r"year\(INTEGER\)"):
            ask(lake, statement)
    ask(lake, "ALTER TABLE misparted RESET PARTITIONED BY")
    with pytest.raises(duckdb.Error, match=r"year\(INTEGER\)"):
        ask(lake, "CALL ducklake_flush_inlined_data('lake')")
    ask(lake, "CREATE TABLE reparted AS FROM misparted", "DROP TABLE misparted")
    ask(lake, "CALL ducklake_flush_inlined_data('lake')")
    assert ask(lake, "FROM reparted") == [(1,)]


def test_schemas_hold_tables_and_go_with_them(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE SCHEMA passing", "CREATE TABLE passing.t AS SELECT 1 AS i")
    assert ask(lake, "FROM passing.t") == [(1,)]
    assert ask(lake, "USE passing", "FROM t") == [(1,)]
    ask(lake, "USE lake.main", "DROP SCHEMA passing CASCADE")
    assert ask(lake, "SELECT count(*) FROM duckdb_schemas() WHERE schema_name = 'passing'") == [(0,)]


def test_columns_change_and_old_rows_follow(lake: duckdb.DuckDBPyConnection) -> None:
    rows = ask(
        lake,
        "CREATE TABLE shifting AS SELECT 1::SMALLINT AS i, {'a': 1, 'b': 2} AS s",
        "ALTER TABLE shifting RENAME TO shifted",
        "ALTER TABLE shifted ALTER i TYPE BIGINT",
        "ALTER TABLE shifted RENAME i TO n",
        "ALTER TABLE shifted ADD COLUMN t VARCHAR DEFAULT 'old'",
        "ALTER TABLE shifted ALTER t SET DEFAULT 'new'",
        "ALTER TABLE shifted ADD COLUMN s.c VARCHAR",
        "ALTER TABLE shifted RENAME s.a TO aa",
        "ALTER TABLE shifted DROP COLUMN s.b",
        "INSERT INTO shifted (n, s) VALUES (5000000000, {'aa': 7, 'c': 'x'})",
        "FROM shifted ORDER BY n",
    )
    assert rows == [(1, {"aa": 1, "c": None}, "old"), (5000000000, {"aa": 7, "c": "x"}, "new")]


def test_not_null_can_be_set_and_dropped(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE TABLE strict (i INT NOT NULL)")
    with pytest.raises(duckdb.Error, match="NOT NULL constraint failed"):
        ask(lake, "INSERT INTO strict VALUES (NULL)")
    ask(lake, "ALTER TABLE strict ALTER i DROP NOT NULL", "INSERT INTO strict VALUES (NULL)")
    with pytest.raises(duckdb.Error, match="has NULL values"):
        ask(lake, "ALTER TABLE strict ALTER i SET NOT NULL")
    # A flush of the whole lake, which other tests do, would fail because of it.
    ask(lake, "DROP TABLE strict")


def test_statements_of_every_day(lake: duckdb.DuckDBPyConnection) -> None:
    ask(lake, "CREATE TABLE sales AS FROM (VALUES ('a', 1, 10), ('a', 2, 20), ('b', 1, 30)) t(who, q, v)")
    assert ask(lake, "PIVOT sales ON q USING sum(v) GROUP BY who ORDER BY who") == [
        ("a", 10, 20),
        ("b", 30, None),
    ]
    assert ask(lake, "SELECT count(*) FROM (UNPIVOT sales ON q, v INTO NAME n VALUE x)") == [(6,)]
    assert [row[0] for row in ask(lake, "SUMMARIZE sales")] == ["who", "q", "v"]
    assert [row[:2] for row in ask(lake, "DESCRIBE sales")] == [
        ("who", "VARCHAR"), ("q", "INTEGER"), ("v", "INTEGER"),
    ]  # fmt: skip
    assert ask(lake, "UPDATE sales SET v = s.v + 1 FROM sales s WHERE s.who = 'b' AND sales.who = 'b'") == [
        (1,)
    ]
    assert ask(lake, "TRUNCATE sales") == [(3,)]
    assert ask(lake, "FROM sales") == []


def test_a_session_keeps_its_temporary_things_to_itself(
    lake: duckdb.DuckDBPyConnection, connection: duckdb.DuckDBPyConnection
) -> None:
    ask(
        lake,
        "CREATE TEMP TABLE scratch AS SELECT 1 AS i",
    )
    assert ask(lake, "SELECT i FROM scratch") == [(1,)]
    with pytest.raises(duckdb.Error, match="scratch does not exist"):
        ask(connection, "FROM scratch")


def test_a_commit_carries_its_author_and_message(lake: duckdb.DuckDBPyConnection) -> None:
    ask(
        lake, "BEGIN", "CREATE TABLE signed (i INT)", "CALL lake.set_commit_message('ann', 'first')", "COMMIT"
    )
    assert ask(
        lake, "SELECT author, commit_message FROM lake.snapshots() ORDER BY snapshot_id DESC LIMIT 1"
    ) == [("ann", "first")]


def test_a_null_in_a_column_that_was_not_null_blocks_the_flush_of_its_table(
    lake: duckdb.DuckDBPyConnection,
) -> None:
    flush = "CALL ducklake_flush_inlined_data('lake', table_name => 'loosened')"
    ask(lake, "CREATE TABLE loosened (i INT NOT NULL)", "INSERT INTO loosened VALUES (1)")
    ask(lake, "ALTER TABLE loosened ALTER i DROP NOT NULL", "INSERT INTO loosened VALUES (NULL)")
    try:
        with pytest.raises(duckdb.Error, match="NOT NULL constraint failed"):
            ask(lake, flush)
        assert ask(lake, "SELECT count(*) FROM loosened") == [(2,)]
    finally:
        ask(lake, "DROP TABLE loosened")
