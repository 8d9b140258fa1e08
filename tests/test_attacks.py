"""What people try who are in already, as reader and as writer: refused, and the node is as it was.

Each attempt meets the policy and then a real, locked node, through `connect(role)`. The last tests go around
the policy on purpose: what the lockdown stops by itself, and what it does not.
"""

from __future__ import annotations

import hashlib
import secrets
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from azquack.lake import extensions
from azquack.policy.policy import Policy
from azquack.principals import Grant, Principal, Role
from azquack.sql import literal
from tests.cluster import end, read_line


class Refused(Exception):
    """The policy said no."""


@dataclass
class Node:
    """A locked node, and a connection that goes around the policy."""

    home: Path
    uri: str
    token: str = field(repr=False)
    inside: duckdb.DuckDBPyConnection

    def run(self, sql: str) -> list[tuple[object, ...]]:
        """Runs `sql` on the node itself."""
        return self.inside.execute(f"FROM r.query({literal(sql)})").fetchall()

    def elsewhere(self, sql: str) -> list[tuple[object, ...]]:
        """Runs `sql` in a session of its own."""
        call = f"quack_query({literal(self.uri)}, {literal(sql)}, token => {literal(self.token)})"
        return self.inside.execute(f"FROM {call}").fetchall()

    def state(self) -> dict[str, object]:
        """All that an attack could have changed: the lake, the files, the settings, what is attached."""
        parts = ", ".join(f"(SELECT list(x) FROM ({sql}) x)" for sql in STATE.values())
        rows = dict(zip(STATE, self.run(f"SELECT {parts}")[0], strict=True))
        files = sorted(path for path in self.home.rglob("*") if path.is_file() and path.suffix != ".wal")
        kept = {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if "data" in path.parts
        }
        return {**rows, "files": [str(path) for path in files], "contents": kept}


STATE = {
    "snapshots": "select max(snapshot_id), count(*) from lake.snapshots()",
    "rows": "select (select sum(hash(e)) from lake.events e), (select sum(hash(p)) from lake.demo.payroll p)",
    "tables": "select database_name, schema_name, table_name, sql from duckdb_tables() order by all",
    "views": "select schema_name, view_name, sql from duckdb_views() where not internal order by all",
    "macros": "select schema_name, function_name from duckdb_functions() where not internal order by all",
    "databases": "select database_name, readonly from duckdb_databases() order by all",
    "settings": "select name, value from duckdb_settings() order by all",
    "secrets": "select name, type from duckdb_secrets() order by all",
    # The extensions: duckdb_extensions() itself needs the file system.
    "functions": "select count(*), count(distinct function_name) from duckdb_functions()",
    "servers": "select count(*) from quack_server_list()",
    "metadata": "select sum(hash(t)) from __ducklake_metadata_lake.ducklake_metadata t",
}


@dataclass
class Client:
    """Somebody with a token: the policy first, then the node."""

    principal: Principal
    policy: Policy
    node: Node

    def query(self, sql: str) -> list[tuple[object, ...]]:
        """The rows of `sql`; raises `Refused`, or DuckDB's error."""
        verdict = self.policy.check(self.principal, sql)
        if not verdict.allowed:
            raise Refused(verdict.reason)
        return self.node.run(sql)

    def append(self, schema: str, table: str, value: object) -> None:
        """What a native INSERT does; raises `Refused`."""
        verdict = self.policy.check_append(self.principal, schema, table)
        if not verdict.allowed:
            raise Refused(verdict.reason)
        self.node.run(f"INSERT INTO lake.{schema}.{table} VALUES ({value!r})")


Connect = Callable[[str], Client]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Node]]:
    """A node per role, as in the product: the lake of a reader's node is attached read-only."""
    processes: list[subprocess.Popen[str]] = []
    made: dict[str, Node] = {}
    try:
        for role in ("reader", "writer"):
            home = tmp_path_factory.mktemp(role)
            token, port = secrets.token_hex(16), free_port()
            script = Path(__file__).with_name("locked_node.py")
            process = subprocess.Popen(
                [sys.executable, str(script), str(home), role, str(port)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            processes.append(process)
            assert process.stdin is not None
            process.stdin.write(f"{token}\n")
            process.stdin.flush()
            assert read_line(process, "the node under attack did not start").strip() == "ready"
            inside = duckdb.connect(":memory:", config=extensions.config(home / "extensions"))
            inside.execute("LOAD httpfs; LOAD quack")
            uri = f"quack:127.0.0.1:{port}"
            inside.execute(f"ATTACH {literal(uri)} AS r (TOKEN {literal(token)})")
            made[role] = Node(home, uri, token, inside)
        yield made
    finally:
        for node in made.values():
            node.inside.close()
        for process in processes:
            process.kill()
            end(process)


@pytest.fixture(scope="module")
def connect(nodes: dict[str, Node]) -> Iterator[Connect]:
    """`connect(role)`: a client with that role; `granted` is a writer with grants on one table."""
    functions = nodes["writer"].run("select distinct function_name from duckdb_functions() where internal")
    policy = Policy(functions=[str(name) for (name,) in functions])
    people = {
        "reader": (Principal("ann", Role.READER, "a"), nodes["reader"]),
        "writer": (Principal("bob", Role.WRITER, "b"), nodes["writer"]),
        "granted": (Principal("guy", Role.WRITER, "g", (Grant.parse("all on demo.small"),)), nodes["writer"]),
    }
    yield lambda role: Client(people[role][0], policy, people[role][1])
    policy.close()


FILES = [
    "from read_text('{home}/outside.csv')",
    "from read_csv('{home}/outside.csv')",
    "from read_blob('{home}/catalog.duckdb')",
    "from '{home}/outside.csv'",
    'from "{home}/outside.csv"',
    "from '{home}/data/**/*.parquet'",
    "from read_parquet('{home}/data/demo/payroll/*.parquet')",
    "from parquet_metadata('{home}/data/demo/payroll/*.parquet')",
    "from glob('{home}/*')",
    "from sniff_csv('{home}/outside.csv')",
    "describe '{home}/outside.csv'",
    "summarize '{home}/outside.csv'",
    "pivot '{home}/outside.csv' on secret using count(*)",
    "with a as (from '{home}/outside.csv') from a",
    "select (select secret from '{home}/outside.csv')",
    "select * from lake.events where exists (from '{home}/outside.csv')",
    "from outside.csv",
    "select getenv('HOME')",
    "select main.getenv('HOME')",
    "select \"GETENV\"('HOME')",
    "select getenv/* ( */('HOME')",
    "select list_transform(['HOME'], lambda x: getenv(x))",
    "from histogram('{home}/outside.csv', secret)",
    "copy lake.events to '{home}/out.csv'",
    "copy lake.events to '{home}/data/out.csv'",
    "copy (select 1) to '/dev/stdout'",
    "copy lake.events from '{home}/outside.csv'",
    "copy from database lake to memory",
    "export database '{home}/data/all'",
    "import database '{home}'",
]
SESSIONS = [
    "from quack_active_connections()",
    "select connection_id from quack_active_connections()",
    "from quack_server_list()",
    "from quack_query('{uri}', 'select 1')",
    "from quack_query('{uri}', 'drop table lake.events', token => 'guessed')",
    "from quack_query_by_name('__ducklake_metadata_lake', 'select 1')",
    "from quack_query_by_name('lake', 'select 1')",
    "call quack_serve('quack:127.0.0.1:0', token => 'mine-mine-mine')",
    "call quack_stop('{uri}')",
    "call quack_clear_cache()",
    "select quack_check_token('a', 'b', 'c')",
    "from quack_identify('{uri}')",
    "attach '{uri}' as me",
    "attach '{uri}' as me (token 'guessed')",
    "from duckdb_logs()",
    "from duckdb_logs",
    "call enable_logging()",
    "call truncate_duckdb_logs()",
    "from duckdb_prepared_statements()",
    "from duckdb_memory()",
]
METADATA = [
    "from __ducklake_metadata_lake.ducklake_table",
    "from __ducklake_metadata_lake.main.ducklake_metadata",
    'from "__DuckLake_Metadata_lake"."main"."ducklake_table"',
    "select * from lake.events, __ducklake_metadata_lake.ducklake_snapshot",
    "update __ducklake_metadata_lake.ducklake_table set table_name = 'mine'",
    "delete from __ducklake_metadata_lake.ducklake_snapshot",
    "insert into __ducklake_metadata_lake.ducklake_metadata values ('a', 'b', null, null)",
    "drop table __ducklake_metadata_lake.ducklake_snapshot",
    "use __ducklake_metadata_lake",
    "set search_path = '__ducklake_metadata_lake.main'",
    "set schema = '__ducklake_metadata_lake.main'",
    "show tables from __ducklake_metadata_lake",
    "detach __ducklake_metadata_lake",
    "attach '{home}/catalog.duckdb' as stolen",
    "from ducklake_settings('lake')",
    "from ducklake_list_files('lake', 'events')",
]
SECRETS_AND_SETTINGS = [
    "from duckdb_secrets()",
    "from duckdb_secrets(redact => false)",
    "from which_secret('az://x', 'azure')",
    "create secret (type quack, token 'x')",
    "create or replace persistent secret lake (type ducklake, metadata_path 'x')",
    "drop secret lake",
    "from duckdb_settings()",
    "from pg_settings",
    "from pg_catalog.pg_settings",
    "select current_setting('azure_storage_connection_string')",
    "pragma database_size",
    "set threads = 1",
    "set memory_limit = '1GB'",
    "set global timezone = 'UTC'",
    "set lock_configuration = false",
    "set enable_external_access = true",
    "reset allowed_directories",
    "set quack_authorization_function = 'x'",
    "set variable x = 1",
    "select getvariable('x')",
    "pragma threads = 1",
    "pragma enable_profiling",
    "install spatial",
    "force install httpfs from 'http://127.0.0.1:1'",
    "load azure",
    "load '{home}/evil.duckdb_extension'",
    "detach lake",
    "attach ':memory:' as scratch",
    "attach '{home}/data/x.db' as x",
    "vacuum",
    "analyze",
]
NESTED = [
    "from query('drop table lake.events')",
    "from query('from read_text(''{home}/outside.csv'')')",
    "from query_table('{home}/outside.csv')",
    "from query_table(['lake.events'])",
    "select * from lake.events where exists (from query('select 1'))",
    "from json_execute_serialized_sql(json_serialize_sql('select 1'))",
    "select json_serialize_plan('from read_text(''{home}/outside.csv'')')",
    "prepare p as from read_text('{home}/outside.csv')",
    "prepare p as insert into lake.events values (1, 'x')",
    "execute p",
    "deallocate p",
    "explain analyze copy lake.events to '{home}/data/out.csv'",
    "explain analyze select getenv('HOME')",
    "explain analyze from query('select 1')",
    "select 1; from read_text('{home}/outside.csv')",
    "from lake.events;;; copy lake.events to '{home}/data/out.csv'",
    "pivot lake.events on id using count(*); drop secret lake",
    "begin; set threads = 1; commit",
    "select 1 -- \n ; drop secret lake",
    "select 1 /* /* */ -- */ ; attach '{home}/data/x.db'",
    "select $$ -- $$; install spatial",
    "select '\\'; load azure; --'",
    "select 1\u00a0; drop\u00a0secret lake",
    "select\u3000getenv\u3000('HOME')",
    "sel/**/ect 1",
    "select U&\"get\\0065nv\"('HOME')",
    "select 1\0; drop secret lake",
    "call query('select 1')",
    "call pragma_database_size()",
    "select ('HOME').getenv()",
    "from lake.events tablesample (getenv('x'))",
    "select sleep_ms(100000)",
    "select pg_sleep(100000)",
    "select nextval('s')",
    "select write_log('x')",
    "from seq_scan('lake', 'main', 'events')",
    "from arrow_scan(1, 2, 3)",
]
MAINTENANCE = [
    "call ducklake_expire_snapshots('lake', older_than => now())",
    "from ducklake_expire_snapshots('lake', older_than => now())",
    "call lake.merge_adjacent_files()",
    "from ducklake_merge_adjacent_files('lake')",
    "call ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "call ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "call ducklake_flush_inlined_data('lake')",
    "call ducklake_rewrite_data_files('lake')",
    "call ducklake_set_option('lake', 'target_file_size', '1MB')",
    "call lake.set_option('target_file_size', '1MB')",
    "call ducklake_add_data_files('lake', 'events', '{home}/data/x.parquet')",
    "checkpoint",
    "checkpoint lake",
    "force checkpoint",
]
WRITER_FILES = [
    "insert into lake.demo.small select count(*) from '{home}/outside.csv'",
    "insert into lake.demo.small select length(content) from read_text('{home}/outside.csv')",
    "insert into lake.demo.small values (length(getenv('HOME')))",
    "update lake.demo.small set i = (select length(content) from read_text('{home}/outside.csv'))",
    "delete from lake.demo.small where exists (from read_text('{home}/outside.csv'))",
    "merge into lake.demo.small using '{home}/outside.csv' on true when matched then delete",
    "create table lake.demo.mine as from '{home}/outside.csv'",
    "create table lake.demo.mine (i int default length(getenv('HOME')))",
    "create view lake.demo.mine as from read_text('{home}/outside.csv')",
    "create view lake.demo.mine as from __ducklake_metadata_lake.ducklake_table",
    "create macro lake.mine(t) as table from query_table(t)",
    "create macro lake.mine(q) as table from query(q)",
    "create macro lake.mine(f) as table from read_text(f)",
    "create macro lake.mine(v) as getenv(v)",
    "create temp macro mine(v) as getenv(v)",
    "create function lake.mine(v) as (select content from read_text(v))",
    "create table memory.main.mine (i int)",
    "create sequence mine",
    "create index mine on lake.demo.small (i)",
    "create type lake.mine as enum ('a')",
    "alter table lake.demo.small alter i set default length(getenv('HOME'))",
    "alter database lake rename to mine",
    "comment on database lake is 'mine'",
]
READER_WRITES = [
    "insert into lake.events values (1, 'x')",
    "with a as (select 1, 'x') insert into lake.events from a",
    "explain analyze insert into lake.events values (1, 'x')",
    "explain analyze with a as (select 1, 'x') insert into lake.events from a",
    "select 1; insert into lake.events values (1, 'x')",
    "update lake.events set what = 'x'",
    "delete from lake.events",
    "truncate lake.events",
    "merge into lake.events using lake.demo.small on id = i when matched then delete",
    "create table lake.mine as select 1",
    "create or replace table lake.events as select 1",
    "create temp table mine as select 1",
    "create table memory.main.mine (i int)",
    "create view lake.mine as select 1",
    "create macro lake.mine() as 1",
    "create schema lake.mine",
    "drop table lake.events",
    "drop view lake.demo.loud",
    "drop macro lake.twice",
    "drop schema lake.demo cascade",
    "alter table lake.events add column x int",
    "alter table lake.events rename to mine",
    "comment on table lake.events is 'mine'",
    "call lake.set_commit_message('x', 'y')",
]
GRANTED = [
    "from lake.demo.payroll",
    "from demo.payroll",
    "from lake.events",
    "from lake.demo.loud",
    "with payroll as (from demo.payroll) from payroll",
    "select (select sum(pay) from lake.demo.payroll)",
    "insert into lake.demo.small select pay from lake.demo.payroll",
    "insert into lake.demo.payroll values ('guy', 9999)",
    "update lake.demo.small set i = (select max(pay) from lake.demo.payroll)",
    "delete from lake.demo.small where exists (from lake.demo.payroll where pay > 4000)",
    "delete from only demo.payroll",
    "merge into lake.demo.small using lake.demo.payroll on i = pay when matched then delete",
    "merge into lake.demo.payroll using lake.demo.small on i = pay when matched then delete",
    "create view lake.demo.small as from lake.demo.payroll",
    "create table lake.demo.mine as select 1",
    "create macro lake.mine() as table from lake.demo.payroll",
    "alter table lake.demo.small rename to mine",
    "drop table lake.demo.payroll",
    "drop schema lake.demo cascade",
    "from lake.table_changes('events', 0, 10)",
    "from ducklake_table_insertions('lake', 'demo', 'payroll', 0, 10)",
    "from pragma_table_info('lake.demo.payroll')",
    "select lake.twice(2)",
    "use lake.demo",
    "describe lake.demo.payroll",
    "summarize lake.demo.payroll",
    "explain analyze from lake.demo.payroll",
    "pivot lake.demo.payroll on who using sum(pay)",
]
ANYONE = {
    "files": FILES,
    "sessions": SESSIONS,
    "metadata": METADATA,
    "secrets and settings": SECRETS_AND_SETTINGS,
    "nested": NESTED,
    "maintenance": MAINTENANCE,
}
ATTEMPTS = {
    "reader": {**ANYONE, "writes": READER_WRITES},
    "writer": {**ANYONE, "files in writes": WRITER_FILES},
    "granted": {"tables of others": GRANTED},
}


def filled(sql: str, node: Node) -> str:
    """`sql` with the places of `node`; other braces stay."""
    return sql.replace("{home}", str(node.home)).replace("{uri}", node.uri)


@pytest.mark.parametrize(("role", "what"), [(role, what) for role in ATTEMPTS for what in ATTEMPTS[role]])
def test_refused_and_the_node_is_as_it_was(connect: Connect, role: str, what: str) -> None:
    client = connect(role)
    before = client.node.state()
    for sql in ATTEMPTS[role][what]:
        with pytest.raises(Refused):
            pytest.fail(f"got {client.query(filled(sql, client.node))} for {sql}")
    assert client.node.state() == before


def test_there_are_enough_attempts() -> None:
    for role in ("reader", "writer"):
        assert sum(map(len, ATTEMPTS[role].values())) >= 60


def test_appends_to_a_table_of_somebody_else_are_refused(connect: Connect) -> None:
    for role, table in (("reader", "small"), ("granted", "payroll"), ("writer", "__ducklake_metadata_lake")):
        client = connect(role)
        before = client.node.state()
        with pytest.raises(Refused):
            client.append("demo", table, 1)
        assert client.node.state() == before


@pytest.mark.parametrize(
    ("role", "sql"),
    [
        ("reader", "select count(*) from lake.events"),
        ("reader", "from lake.demo.loud limit 1"),
        ("reader", "select lake.twice(2)"),
        ("reader", "set timezone = 'Europe/Berlin'"),
        ("reader", "use lake.demo"),
        ("reader", "pivot lake.demo.small on i using count(*)"),
        ("reader", "explain analyze from lake.events"),
        ("writer", "insert into lake.demo.small values (2)"),
        ("writer", "update lake.demo.small set i = 3 where i = 2"),
        ("writer", "merge into lake.demo.small using (select 3 i) s using (i) when matched then delete"),
        ("writer", "delete from lake.demo.small where i = 3"),
        ("writer", "create table lake.demo.mine as select 1 i; drop table lake.demo.mine"),
        ("writer", "create macro lake.mine(a) as a + 1; drop macro lake.mine"),
        ("granted", "insert into lake.demo.small values (5); delete from lake.demo.small where i = 5"),
        ("granted", "with x as (from lake.demo.small) select sum(i) from x"),
    ],
)
def test_honest_work_passes(connect: Connect, role: str, sql: str) -> None:
    client = connect(role)
    client.query(sql)
    client.node.run("use lake")


def test_the_time_zone_of_a_session_is_its_own(nodes: dict[str, Node]) -> None:
    node = nodes["reader"]
    node.run("set timezone = 'Asia/Tokyo'")
    assert node.run("select current_setting('timezone')") == [("Asia/Tokyo",)]
    assert node.elsewhere("select current_setting('timezone')") != [("Asia/Tokyo",)]


# Around the policy: what the locked node stops by itself ...
STOPPED = [
    "from read_text('{home}/outside.csv')",
    "from '{home}/outside.csv'",
    "from read_text('/etc/passwd')",
    "from read_text('http://127.0.0.1:1/x')",
    "from glob('{home}/*')",
    "copy (select 1) to '{home}/out.csv'",
    "attach '{home}/x.db' as x",
    "install spatial",
    "load azure",
    "set threads = 1",
    "set memory_limit = '1GB'",
    "set lock_configuration = false",
    "set enable_external_access = true",
    "set quack_authorization_function = 'x'",
    "reset allowed_directories",
    "create persistent secret x (type s3, key_id 'a', secret 'b')",
]
# ... and what it lets through, so that only the policy stands before it.
NOT_STOPPED = [
    "from __ducklake_metadata_lake.ducklake_table",
    "from quack_active_connections()",
    "from quack_server_list()",
    "from read_parquet('{home}/data/**/*.parquet', union_by_name => true)",
    "from duckdb_settings()",
    "from query('select 1')",
]


@pytest.mark.parametrize("role", ["reader", "writer"])
def test_the_lockdown_alone_stops(nodes: dict[str, Node], role: str) -> None:
    node = nodes[role]
    before = node.state()
    for sql in STOPPED:
        with pytest.raises(duckdb.Error, match=r"disabled|locked|Cannot access|Cannot change"):
            pytest.fail(f"got {node.run(filled(sql, node))} for {sql}")
    assert node.state() == before


def test_the_read_only_lake_alone_stops_writes(nodes: dict[str, Node]) -> None:
    node = nodes["reader"]
    before = node.state()
    for sql in READER_WRITES[:9]:
        with pytest.raises(duckdb.Error, match="read-only"):
            pytest.fail(f"got {node.run(filled(sql, node))} for {sql}")
    assert node.state() == before


@pytest.mark.parametrize("sql", NOT_STOPPED)
def test_the_lockdown_alone_does_not_stop(nodes: dict[str, Node], sql: str) -> None:
    node = nodes["reader"]
    assert node.run(filled(sql, node)) is not None


def test_the_stored_secrets_are_gone(nodes: dict[str, Node]) -> None:
    for node in nodes.values():
        assert node.run("from duckdb_secrets()") == []
