"""The texts are DuckLake's own, recorded between a query node and its catalog (DuckDB 1.5.5)."""

from __future__ import annotations

import duckdb
import pytest

from azquack.catalog.link import statements
from azquack.catalog.link.statements import Kind

CREATE = (
    'INSERT INTO "main".ducklake_snapshot VALUES (1, NOW(), 1, 2, 0);'
    "INSERT INTO \"main\".ducklake_table VALUES (1, '01a1', 1, NULL, 0, 't', 't/', true);"
    'INSERT INTO "main".ducklake_snapshot_changes VALUES (1, \'created_table:"main"."t"\', NULL, NULL, NULL);'
)
FLUSH = (
    'INSERT INTO "main".ducklake_snapshot VALUES (44, NOW(), 1, 2, 42);'
    'DELETE FROM "main".ducklake_inlined_data_1_1 WHERE begin_snapshot <= 43;\n'
    'INSERT INTO "main".ducklake_delete_file VALUES '
    "(41, 1, 43, NULL,  40, 'ducklake-01a1-delete.parquet', true, 'parquet', 4, 923, 707, NULL, 43);"
    "INSERT INTO \"main\".ducklake_snapshot_changes VALUES (44, 'deleted_from_table:1', NULL, NULL, NULL);"
)
DELETE = FLUSH.replace("43, NULL,  40", "49, NULL,  40").replace(", NULL, 43);", ", NULL, NULL);")
SUPERSEDED = (
    'DELETE FROM "main".ducklake_inlined_data_tables WHERE table_id=1 AND schema_version=1;'
    'DROP TABLE IF EXISTS "main".ducklake_inlined_data_1_1;'
)
NEWEST = (
    'SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM "main".ducklake_snapshot '
    'WHERE snapshot_id = (SELECT MAX(snapshot_id) FROM "main".ducklake_snapshot);'
)


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        (CREATE, Kind.COMMIT),
        (CREATE.replace('"main".', '"a ""b""".'), Kind.COMMIT),
        (NEWEST, Kind.SNAPSHOT),
        ('\nSELECT path, path_is_relative\nFROM "main".ducklake_schema\nWHERE schema_id = 0;', Kind.READ),
        ("WITH a AS MATERIALIZED (SELECT 1)\nSELECT * FROM a", Kind.READ),
        ("FROM duckdb_secrets()", Kind.READ),
        ("\nSELECT\n    snapshot_id\nORDER BY table_id NULLS FIRST;\n\t", Kind.READ),
        ("WITH a AS (SELECT 1) DELETE FROM t USING a", Kind.WRITE),
        ("SELECT 1; DROP TABLE t", Kind.WRITE),
        ('\n\t\tDELETE FROM "main".ducklake_inlined_data_5_7 WHERE begin_snapshot <= 13\n\t\t', Kind.EAGER),
        ('DELETE FROM "main".ducklake_inlined_delete_1', Kind.EAGER),
        ('DELETE FROM "main".ducklake_inlined_delete_1 WHERE file_id = 3', Kind.WRITE),
        (SUPERSEDED, Kind.SUPERSEDED),
        (SUPERSEDED * 2, Kind.SUPERSEDED),
        (SUPERSEDED + "DROP TABLE t;", Kind.WRITE),
        ('DELETE FROM "main".ducklake_snapshot WHERE snapshot_id IN (0, 1);', Kind.WRITE),
        ("BEGIN TRANSACTION", Kind.TRANSACTION),
        ("PRAGMA disable_optimizer", Kind.TRANSACTION),
        ("CALL ducklake_anything()", Kind.WRITE),
        ("", Kind.WRITE),
    ],
)
def test_a_statement_is_told_by_its_text(sql: str, kind: Kind) -> None:
    assert statements.kind_of(sql) is kind


@pytest.mark.parametrize(
    ("sql", "of_snapshot"),
    [
        ('SELECT path, path_is_relative\nFROM "main".ducklake_schema\nWHERE schema_id = 0;', True),
        (
            'SELECT i AS col1 FROM "main".ducklake_inlined_data_1_1 inlined_data WHERE 4 >= begin_snapshot',
            True,
        ),
        ('SELECT file_id, row_id FROM "main".ducklake_inlined_delete_1 WHERE begin_snapshot <= 5', True),
        ('SELECT COUNT(*) FROM "main".ducklake_inlined_data_1_1 WHERE 1 >= begin_snapshot\n', True),
        ('SELECT COUNT(*) FROM "main".ducklake_inlined_data_1_1;', False),
        ("SELECT COUNT(*) FROM \"main\".ducklake_metadata WHERE key = 'x'", False),
        ('SELECT data_file_id FROM "main".ducklake_files_scheduled_for_deletion', False),
        ('SELECT 1 FROM "main".ducklake_data_file WHERE NOT EXISTS (FROM "main".ducklake_snapshot)', False),
        ("SELECT schema_name, sql, 'table' FROM duckdb_tables()", False),
        ("FROM range(10)", False),
        (NEWEST, False),
    ],
)
def test_only_what_a_snapshot_decides_may_be_remembered(sql: str, of_snapshot: bool) -> None:
    assert statements.is_of_snapshot(sql) is of_snapshot


def test_a_batch_runs_whole_or_not_at_all() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE a (i INTEGER PRIMARY KEY); CREATE TABLE b (i INTEGER PRIMARY KEY)")
        connection.execute(statements.atomic("INSERT INTO a VALUES (1);INSERT INTO b VALUES (1);"))
        with pytest.raises(duckdb.ConstraintException):
            connection.execute(
                statements.atomic("INSERT INTO a VALUES (2);INSERT INTO b VALUES (1) -- twice")
            )
        connection.execute("ROLLBACK")
        assert connection.execute("SELECT count(*) FROM a").fetchone() == (1,)


def test_only_statements_that_change_data_are_wrapped() -> None:
    assert statements.is_batch(CREATE)
    assert statements.is_batch("DELETE FROM a;DROP TABLE IF EXISTS b;")
    assert not statements.is_batch("DELETE FROM a;")
    assert not statements.is_batch("SELECT 'update; me'")


def test_a_mark_goes_where_the_user_put_nothing() -> None:
    marked = statements.marked(CREATE, "node:1")
    assert marked == CREATE.replace("NULL, NULL, NULL);", "NULL, NULL, 'node:1');")
    users = CREATE.replace("NULL, NULL, NULL);", "'ann', 'it''s; NULL);', 'her own');")
    assert statements.marked(users, "node:1") is None
    message = CREATE.replace("NULL, NULL, NULL);", "'ann', 'NULL); NULL, ', NULL);")
    assert statements.marked(message, "node:1") == message.replace(", NULL);", ", 'node:1');")


def test_the_mark_is_looked_for_in_the_snapshot_of_its_commit() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE ducklake_snapshot_changes (snapshot_id BIGINT, commit_extra_info VARCHAR);"
            "INSERT INTO ducklake_snapshot_changes VALUES (1, 'node:1'), (2, 'node:2')"
        )
        found = [
            connection.execute(statements.find_mark(CREATE, mark)).fetchone() for mark in ("node:1", "node:2")
        ]
    assert found == [("yes",), ("no",)]


def test_the_sentence_for_a_taken_snapshot_is_duckdbs_own() -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE s (snapshot_id BIGINT PRIMARY KEY); INSERT INTO s VALUES (7)")
        with pytest.raises(duckdb.ConstraintException) as error:
            connection.execute("INSERT INTO s VALUES (7)")
    assert str(error.value) == statements.duplicate(7)


def test_an_eager_deletion_is_counted_instead() -> None:
    assert (
        statements.counted('\n DELETE FROM "main".ducklake_inlined_delete_1')
        == 'SELECT count(*) AS "Count" FROM "main".ducklake_inlined_delete_1'
    )
    assert statements.withheld_table('DELETE FROM "main".ducklake_inlined_delete_17') == 17
    assert (
        statements.withheld_table('DELETE FROM "main".ducklake_inlined_data_5_7 WHERE begin_snapshot <= 1')
        is None
    )


def test_a_flush_deletes_the_inlined_deletes_that_its_file_replaces() -> None:
    deletion = 'DELETE FROM "main".ducklake_inlined_delete_1 WHERE file_id = 40 AND begin_snapshot <= 43;'
    assert statements.with_withheld(FLUSH, {1, 2}) == f"{FLUSH}\n{deletion}"


@pytest.mark.parametrize(("commit", "tables"), [(FLUSH, {2}), (FLUSH, set()), (DELETE, {1}), (CREATE, {1})])
def test_no_other_commit_deletes_inlined_deletes(commit: str, tables: set[int]) -> None:
    assert statements.with_withheld(commit, tables) == commit


def test_a_delete_file_of_the_commit_itself_replaces_nothing() -> None:
    own = FLUSH.replace("NULL, 43);", "NULL, 44);")
    assert statements.with_withheld(own, {1}) == own


@pytest.mark.parametrize(
    ("changes", "mixed"),
    [
        ("inline_flush:1", False),
        ("deleted_from_table:1,inline_flush:1", False),
        ("inlined_delete:1,inline_flush:1", True),
        ('created_table:"main"."inline_flush:1",inline_flush:1', True),
        ("inserted_into_table:2,inline_flush:1", True),
    ],
)
def test_a_flush_is_alone_in_its_transaction(changes: str, mixed: bool) -> None:
    assert statements.is_mixed(FLUSH.replace("deleted_from_table:1", changes)) is mixed
    assert not statements.is_mixed(CREATE.replace('created_table:"main"."t"', changes))


@pytest.mark.parametrize(("newest", "taken"), [(43, False), (44, True), (99, True)])
def test_a_commit_fails_where_a_newer_snapshot_is_there(newest: int, taken: bool) -> None:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE ducklake_snapshot (snapshot_id BIGINT PRIMARY KEY)")
        connection.execute(f"INSERT INTO ducklake_snapshot VALUES ({newest})")
        asked = statements.none_newer(FLUSH.replace("VALUES (44", "VALUES (43"))
        if taken:
            with pytest.raises(duckdb.Error, match="primary key"):
                connection.execute(asked).fetchall()
        else:
            assert connection.execute(asked).fetchall() == []
