"""The questions are DuckLake's own, recorded between a query node and its catalog (DuckDB 1.5.5)."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from azquack.catalog.link import questions

CHANGES = """
SELECT
    snapshot_id,
    COALESCE((
            SELECT STRING_AGG(changes_made, ',')
            FROM "main".ducklake_snapshot_changes c
            WHERE c.snapshot_id > 3
            ),'') AS changes,
    NULL AS table_id
    FROM "main".ducklake_snapshot
    WHERE snapshot_id = (
        SELECT MAX(snapshot_id)
        FROM "main".ducklake_snapshot)
"""
FILES = """
\tSELECT data_file_id
\tFROM "main".ducklake_delete_file
\tWHERE begin_snapshot > 3
\tUNION ALL
\tSELECT data_file_id
\tFROM "main".ducklake_data_file
\tWHERE end_snapshot IS NOT NULL AND end_snapshot > 3
\t"""


@pytest.fixture
def catalog() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE ducklake_snapshot AS SELECT range AS snapshot_id, range * 10 AS next_file_id FROM range(6)"
        )
        connection.execute(
            "CREATE TABLE ducklake_snapshot_changes AS SELECT range AS snapshot_id, '' AS changes_made FROM range(6)"
        )
        connection.execute(
            "CREATE TABLE ducklake_delete_file (delete_file_id BIGINT, data_file_id BIGINT, begin_snapshot BIGINT)"
        )
        connection.execute("CREATE TABLE ducklake_data_file (data_file_id BIGINT, end_snapshot BIGINT)")
        yield connection


def changes(catalog: duckdb.DuckDBPyConnection) -> set[str]:
    text = questions.asked(CHANGES)
    assert text is not None
    [(_, said, _)] = catalog.execute(text).fetchall()
    return set(said.split(",")) if said else set()


@pytest.mark.parametrize(
    ("made", "seen"),
    [
        ("", set()),
        ("inserted_into_table:1,inlined_insert:2", set()),
        ("inlined_delete:12,inlined_delete:3", {"rewrite_delete:12", "rewrite_delete:3"}),
        ("inserted_into_table:1,deleted_from_table:1", {"inlined_delete:1"}),
        ("merge_adjacent:4", {"inline_flush:4"}),
        ("rewrite_delete:4", {"inline_flush:4"}),
        ("dropped_view:5", {"altered_view:5"}),
        ('created_table:"main"."a,inlined_delete:9"', set()),
        ('created_table:"main"."a"",inlined_delete:9"', set()),
    ],
)
def test_what_the_check_would_not_know_is_said_beside_what_was_done(
    catalog: duckdb.DuckDBPyConnection, made: str, seen: set[str]
) -> None:
    catalog.execute("UPDATE ducklake_snapshot_changes SET changes_made = ? WHERE snapshot_id = 5", [made])
    # A comma within a name is no end of a change, for DuckLake neither.
    assert changes(catalog) - set(made.split(",")) == seen


def test_a_history_with_gaps_cannot_be_compared(catalog: duckdb.DuckDBPyConnection) -> None:
    assert changes(catalog) == set()
    catalog.execute("DELETE FROM ducklake_snapshot_changes WHERE snapshot_id = 4")
    with pytest.raises(duckdb.Error, match="not there any more"):
        changes(catalog)


def test_a_delete_file_counts_from_when_it_was_written(catalog: duckdb.DuckDBPyConnection) -> None:
    catalog.execute("INSERT INTO ducklake_delete_file VALUES (29, 1, 1), (30, 2, 1), (35, 3, 5)")
    catalog.execute("INSERT INTO ducklake_data_file VALUES (4, 5), (5, 2), (6, NULL)")
    text = questions.asked(FILES)
    assert text is not None
    assert sorted(catalog.execute(text).fetchall()) == [(2,), (3,), (4,)]
    catalog.execute("DELETE FROM ducklake_snapshot WHERE snapshot_id = 3")
    assert len(catalog.execute(text).fetchall()) == 4


@pytest.mark.parametrize("sql", ["SELECT 1", "SELECT STRING_AGG(changes_made, ',') FROM elsewhere", ""])
def test_any_other_question_is_asked_as_it_is(sql: str) -> None:
    assert questions.asked(sql) is None
