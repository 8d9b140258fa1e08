"""DuckLake's procedures and options on a lake with everything in it: which of them end the process, or its writes.

Those that do are refused by the policy, and stand in docs/known-limits.md.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from azquack.policy.policy import Policy
from azquack.principals.principal import Principal, Role
from tests.cluster import TempPair, attached, remote

ADMIN = Principal("ann", Role.ADMIN, "")
SETUP = """
import duckdb, sys
from pathlib import Path
from azquack.lake import extensions
home = Path(sys.argv[1])
home.mkdir(exist_ok=True)
extensions.link_all(home)
c = duckdb.connect(":memory:", config=extensions.config(home))
c.execute("LOAD ducklake; LOAD json; LOAD icu")
c.execute(f"ATTACH 'ducklake:{home}/catalog.ducklake' AS lake (DATA_PATH '{home}/data/')")
c.execute("USE lake")
c.execute("CREATE TABLE t (i INTEGER, s VARCHAR); INSERT INTO t VALUES (1, 'a'); DELETE FROM t WHERE i = 5")
c.execute("CREATE TABLE p (i INTEGER, s VARCHAR); ALTER TABLE p SET PARTITIONED BY (s)")
c.execute("INSERT INTO p SELECT range, 'x' FROM range(50); DELETE FROM p WHERE i < 3; INSERT INTO p VALUES (99, 'y')")
c.execute("CREATE VIEW v AS SELECT * FROM t; CREATE MACRO m(x) AS x + 1; CREATE MACRO tm() AS TABLE SELECT 1")
c.execute("CREATE SCHEMA other; CREATE VIEW other.v AS SELECT 1 AS one; CREATE TABLE other.t (i INTEGER)")
for each in sys.argv[2:]:
    try:
        c.execute(each).fetchall()
        print("ok")
    except duckdb.Error as error:
        print("refused:", str(error).splitlines()[0])
print("alive")
"""
VALUES = {
    "parquet_compression": "'zstd'", "parquet_version": "2", "parquet_compression_level": "3",
    "parquet_row_group_size": "1000", "parquet_row_group_size_bytes": "'1MB'", "target_file_size": "'10MB'",
    "data_inlining_row_limit": "20", "require_commit_message": "false", "rewrite_delete_threshold": "0.5",
    "hive_file_pattern": "true", "delete_older_than": "'1 day'", "expire_older_than": "'1 day'",
    "auto_compact": "true", "per_thread_output": "true", "write_deletion_vectors": "false", "sort_on_insert": "true",
}  # fmt: skip
SCOPES = ["", ", schema => 'main'", ", schema => 'other'", ", table_name => 't'", ", table_name => 'v'"]
OPTIONS = [
    f"CALL lake.set_option('{key}', {value}{scope})" for key, value in VALUES.items() for scope in SCOPES
]
TARGETS = ["'t'", "'p'", "'v'", "'m'", "'tm'", "'nothing'", "''", "NULL"]
SCHEMAS = ["'main'", "'other'", "'nothing'", "NULL"]
TIMES = ["now()", "'infinity'::TIMESTAMPTZ", "'-infinity'::TIMESTAMPTZ", "NULL::TIMESTAMPTZ"]
HUGE = str((1 << 64) - 1)


def named(procedure: str, first: list[str], **options: list[str]) -> list[str]:
    """Calls of a procedure of the lake: with each of `first` behind the lake's name, and with each option."""
    behind = [f", {name} => {value}" for name, values in options.items() for value in values]
    places = ["", *(f", {each}" for each in first)]
    return [
        f"CALL ducklake_{procedure}('lake'{place}{option})" for place in places for option in ["", *behind]
    ]


RANGES = [("0", "20"), ("20", "0"), ("-1", "5"), ("NULL", "NULL"), *((each, "now()") for each in TIMES)]
PROCEDURES = {
    "merge_adjacent_files": [
        *named("merge_adjacent_files", TARGETS, schema=SCHEMAS),
        *named("merge_adjacent_files", [], max_compacted_files=["0", HUGE], min_file_size=["NULL", HUGE]),
    ],
    "rewrite_data_files": [
        *named("rewrite_data_files", TARGETS, schema=SCHEMAS),
        *named("rewrite_data_files", [], delete_threshold=["0", "2", "-1", "NULL", "'NaN'::DOUBLE"]),
    ],
    "flush_inlined_data": [
        *named("flush_inlined_data", [], table_name=TARGETS, schema_name=SCHEMAS),
        *(each.replace("table_name", "schema_name => 'other', table_name")
          for each in named("flush_inlined_data", [], table_name=TARGETS)),
    ],
    "expire_snapshots": named(
        "expire_snapshots", [], dry_run=["true", "NULL"], older_than=TIMES,
        versions=["[]", "[0]", "[1, 2]", "[NULL]", f"[{HUGE}]", "NULL"],
    ),
    "cleanup_old_files": named(
        "cleanup_old_files", [], dry_run=["true", "NULL"], cleanup_all=["true", "NULL"], older_than=TIMES
    ),
    "delete_orphaned_files": named(
        "delete_orphaned_files", [], dry_run=["true", "NULL"], cleanup_all=["true", "NULL"], older_than=TIMES
    ),
    "list_files": named(
        "list_files", TARGETS, schema=SCHEMAS, snapshot_version=["1", "-1", "NULL"], snapshot_time=TIMES
    ),
    "changes": [
        f"FROM ducklake_table_{what}('lake', {schema}, {table}, {first}, {last})"
        for what in ("insertions", "deletions", "changes")
        for schema in SCHEMAS[:2]
        for table in TARGETS
        for first, last in RANGES
    ],
    "facts": [
        f"FROM ducklake_{what}({lake})"
        for what in ("current_snapshot", "last_committed_snapshot", "options", "snapshots", "table_info", "settings")
        for lake in ("'lake'", "'system'", "'nothing'", "''", "NULL")
    ],
    "set_commit_message": [
        f"CALL lake.set_commit_message({author}, {message}{extra})"
        for author in ("'a'", "NULL")
        for message in ("'b'", "NULL", "''")
        for extra in ("", ", extra_info => 'x'", ", extra_info => NULL")
    ],
    "checkpoint": ["CHECKPOINT", "CHECKPOINT lake", "FORCE CHECKPOINT lake"],
}  # fmt: skip
REFUSED = {
    each
    for each in OPTIONS
    if ("data_inlining_row_limit" in each and "table_name" not in each) or "row_group_size_bytes" in each
}
ODD = ["0", "-1", "1e30", "''", "'no'", HUGE, "'1GB'", "NULL"]
# A level is for ZSTD, which the lake must be told first; a message then belongs into each transaction.
NEEDS_MORE = {"parquet_compression_level", "require_commit_message"}
WRITES = (
    "INSERT INTO p SELECT range, 'q' FROM range(20)",
    "INSERT INTO t VALUES (7, 'z')",
    "CALL ducklake_flush_inlined_data('lake')",
)


def survives(home: Path, *statements: str) -> list[str] | None:
    """What each of `statements` came to on one lake, by its error's first line; None when the process died."""
    finished = subprocess.run(
        [sys.executable, "-c", SETUP, str(home), *statements],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    lines = finished.stdout.splitlines()
    return lines[:-1] if finished.returncode == 0 and lines[-1:] == ["alive"] else None


@pytest.mark.slow
@pytest.mark.parametrize("name", PROCEDURES)
def test_a_procedure_that_is_let_pass_leaves_the_lake_at_work(name: str, tmp_path: Path) -> None:
    policy = Policy()
    calls = [each for each in PROCEDURES[name] if policy.check(ADMIN, each).allowed]
    found = survives(tmp_path / "home", *calls, *WRITES, "FROM v")
    assert found is not None, "one of them ends the process"
    assert found[-len(WRITES) - 1 :] == ["ok"] * (len(WRITES) + 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", sorted(set(VALUES) - NEEDS_MORE))
def test_an_option_that_is_let_pass_leaves_the_lake_at_work(name: str, tmp_path: Path) -> None:
    policy = Policy()
    calls = [
        f"CALL lake.set_option('{name}', {value}{scope})"
        for scope in SCOPES
        for value in [*ODD, VALUES[name]]
    ]
    for at, call in enumerate(each for each in calls if policy.check(ADMIN, each).allowed):
        found = survives(tmp_path / str(at), call, *WRITES, "FROM v")
        assert found is not None, f"{call} ends the process"
        assert found[1:] == ["ok"] * (len(WRITES) + 1), f"{call} ends more than itself"


def test_the_limit_for_inlining_ends_a_process_with_views(tmp_path: Path) -> None:
    """The fault itself: once DuckLake has mended it, the refusal may go."""
    assert survives(tmp_path / "home", "CALL lake.set_option('data_inlining_row_limit', 20)") is None
    other = "SET GLOBAL ducklake_default_data_inlining_row_limit = 20"
    assert survives(tmp_path / "other", other) == ["ok"], "the way that a node takes"


@pytest.mark.parametrize(
    "call",
    [
        "CALL lake.set_option('parquet_row_group_size_bytes', '1MB')",
        "CALL lake.set_option('target_file_size', -1)",
    ],
)
def test_options_that_have_writes_fail_are_refused(call: str, tmp_path: Path) -> None:
    """The faults themselves: once DuckLake has mended them, the refusals may go."""
    found = survives(tmp_path / "home", call, *WRITES)
    assert found is not None
    assert found[0] == "ok"
    assert [each.split(":")[0] for each in found[-2:]] == ["refused", "refused"]
    assert "writes of the whole lake" in Policy().check(ADMIN, call).reason


@pytest.mark.parametrize("statement", [*OPTIONS, "CALL lake.set_option('data_inlining_row_limit', 0)"])
def test_the_policy_refuses_the_deadly_ones_only(statement: str) -> None:
    verdict = Policy().check(ADMIN, statement)
    assert verdict.allowed == (statement not in REFUSED), verdict.reason


@pytest.mark.parametrize(
    "statement",
    [
        "CALL lake.set_option('data_' || 'inlining_row_limit', 20)",
        "CALL ducklake_set_option('lake', 'DATA_INLINING_ROW_LIMIT', 20)",
        "CALL lake.set_option('data_inlining_row_limit', '20', schema => 'main')",
        "CALL lake.set_option('data_inlining_row_limit', 20, table_name => NULL)",
        "CALL lake.set_option('data_inlining_row_limit' /* */, 20)",
        'call "lake"."set_option"(\'data_inlining_row_limit\', 0 + 5)',
    ],
)
def test_no_spelling_gets_past_it(statement: str) -> None:
    assert not Policy().check(ADMIN, statement).allowed


def test_a_statement_that_ends_a_node_at_its_start_is_left_out(tmp_path: Path) -> None:
    """An operator's statement as well: the replica serves, and says which one it was."""
    deadly = "CREATE OR REPLACE VIEW v AS SELECT 7 AS i; CALL lake.set_option('data_inlining_row_limit', 20)"
    env = {"AZQUACK_INIT_SQL": deadly, "AZQUACK_INLINING_LIMIT": "30"}
    with TempPair(tmp_path / "lake", env=env) as pair:
        with attached(pair, tmp_path / "client") as connection:
            assert connection.execute(remote("SELECT i FROM v")).fetchall() == [(7,)]
        assert "a process died in a statement, and starts again without it" in pair.log_text()
        status = httpx.get(f"{pair.http_url}/status", trust_env=False).json()
        skipped = {each["name"]: each["skipped"] for each in status["processes"]}
        assert skipped["query-node-1"] == [deadly]
        metrics = httpx.get(f"{pair.http_url}/metrics", trust_env=False).text
        assert 'azquack_process_skipped_statements{process="query-node-1"} 1.0' in metrics
