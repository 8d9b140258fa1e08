"""DuckLake's procedures and options on a lake with everything in it: which of them end the process.

Each call runs in a process of its own. Those that end it are refused by the policy, and stand in docs/known-limits.md.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from azquack.principals.principal import Principal, Role
from azquack.wall.wall import Wall
from tests.cluster import TempPair, attached, remote

ADMIN = Principal("ann", Role.ADMIN, "")
SETUP = """
import duckdb, sys
from pathlib import Path
from azquack import extensions
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
try:
    c.execute(sys.argv[2]).fetchall()
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
PROCEDURES = [
    "CHECKPOINT lake",
    "CALL lake.set_option('data_inlining_row_limit', 0)",
    "CALL ducklake_flush_inlined_data('lake')",
    "CALL ducklake_flush_inlined_data('lake', schema_name => 'main')",
    "CALL ducklake_flush_inlined_data('lake', table_name => 'v')",
    "CALL ducklake_merge_adjacent_files('lake')",
    "CALL ducklake_merge_adjacent_files('lake', 'v')",
    "CALL ducklake_rewrite_data_files('lake')",
    "CALL ducklake_rewrite_data_files('lake', 'v')",
    "CALL ducklake_expire_snapshots('lake', versions => [1, 2])",
    "CALL ducklake_expire_snapshots('lake', older_than => now())",
    "CALL ducklake_cleanup_old_files('lake', cleanup_all => true)",
    "CALL ducklake_delete_orphaned_files('lake', cleanup_all => true)",
    "FROM ducklake_list_files('lake', 't')",
    "FROM ducklake_list_files('lake', 'v')",
    "FROM ducklake_table_info('lake')",
    "FROM ducklake_options('lake')",
    "FROM ducklake_snapshots('lake')",
    "FROM ducklake_table_insertions('lake', 'main', 'p', 0, 20)",
    "FROM ducklake_table_deletions('lake', 'main', 'p', 0, 20)",
    "FROM ducklake_table_changes('lake', 'main', 'p', 0, 20)",
    "FROM ducklake_table_insertions('lake', 'main', 'v', 0, 20)",
    "CALL lake.set_commit_message('a', 'b')",
]
DEADLY = {each for each in OPTIONS if "data_inlining_row_limit" in each and "table_name" not in each}


def survives(statement: str, home: Path) -> bool:
    finished = subprocess.run(
        [sys.executable, "-c", SETUP, str(home), statement],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return finished.returncode == 0 and finished.stdout.endswith("alive\n")


@pytest.mark.slow
@pytest.mark.parametrize("statement", [*OPTIONS, *PROCEDURES])
def test_a_procedure_that_is_let_pass_leaves_the_process_alive(statement: str, tmp_path: Path) -> None:
    if statement in DEADLY:
        pytest.skip("refused; see below")
    assert survives(statement, tmp_path / "home")


def test_the_limit_for_inlining_ends_a_process_with_views(tmp_path: Path) -> None:
    """The fault itself: once DuckLake has mended it, the refusal may go."""
    assert not survives("CALL lake.set_option('data_inlining_row_limit', 20)", tmp_path / "home")
    other = "SET GLOBAL ducklake_default_data_inlining_row_limit = 20"
    assert survives(other, tmp_path / "other"), "the way that a node takes"


@pytest.mark.parametrize("statement", [*OPTIONS, "CALL lake.set_option('data_inlining_row_limit', 0)"])
def test_the_policy_refuses_the_deadly_ones_only(statement: str) -> None:
    verdict = Wall().check(ADMIN, statement)
    assert verdict.allowed == (statement not in DEADLY), verdict.reason


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
    assert not Wall().check(ADMIN, statement).allowed


def test_a_statement_that_ends_a_node_at_its_start_is_left_out(tmp_path: Path) -> None:
    """An operator's statement as well: the replica serves, and says which one it was."""
    deadly = "CREATE OR REPLACE VIEW v AS SELECT 7 AS i; CALL lake.set_option('data_inlining_row_limit', 20)"
    env = {"AZQUACK_INIT_SQL": deadly, "AZQUACK_INLINING_LIMIT": "30"}
    pair = TempPair(tmp_path / "lake", env=env)
    try:
        pair.start()
        with attached(pair, tmp_path / "client") as connection:
            assert connection.execute(remote("SELECT i FROM v")).fetchall() == [(7,)]
        assert "a process died in a statement, and starts again without it" in pair.log_text()
        status = httpx.get(f"{pair.http_url}/status", trust_env=False).json()
        skipped = {each["name"]: each["skipped"] for each in status["processes"]}
        assert skipped["query-node-1"] == [deadly]
        metrics = httpx.get(f"{pair.http_url}/metrics", trust_env=False).text
        assert 'azquack_process_skipped_statements{process="query-node-1"} 1.0' in metrics
    finally:
        pair.destroy()
