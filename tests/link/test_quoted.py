"""What people write within a commit does not change what the link reads in it, whatever it looks like.

The commits are DuckLake's own, as recorded; into each of their literals and quoted identifiers goes what a person may
have written there, and into their last row a person's message.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from azquack.catalog.link import files, numbers, statements, values
from azquack.catalog.link.quoted import without_names, without_quoted

RECORDED = json.loads((Path(__file__).parents[1] / "catalog_statements.json").read_text())
COMMITS = sorted(
    {
        body
        for text in RECORDED
        if statements.kind_of(body := text.removeprefix("BEGIN;")) is statements.Kind.COMMIT
        and "VALUES (0, 'created_schema" not in text
    }
)
DATA = "(7, 3, 5, NULL, 1, 'ducklake-x.parquet', true, 'parquet', 1, 2, 3, NULL)"
DELETE = "(41, 1, 43, NULL,  40, 'ducklake-01a1-delete.parquet', true, 'parquet', 4, 923, 707, NULL, 0)"
WRITTEN = [
    "it's",
    "''",
    "a \"b\" 'c'",
    "'); --",
    DATA,
    DELETE,
    f", {DATA}",
    "(7, 1, 3, 10, NULL, 0, NULL, NULL, NULL, NULL)",
    f"(7, {'9' * 5000}, 3, 10, NULL, 0, NULL, NULL, NULL, NULL)",
    f"inserted_into_table:{'9' * 5000}",
    "DELETE FROM ducklake_inlined_data_1_1 WHERE begin_snapshot <= 5",
    "ducklake_snapshot_changes VALUES (1, ''",
    "ducklake_snapshot_changes VALUES (1, 'inline_flush:1', NULL, NULL, NULL);",
    "'INSERT INTO ducklake_snapshot_changes VALUES (1, 'inlined_insert:9', NULL, NULL, NULL)",
    'ducklake_snapshot_changes VALUES (1, \'created_table:"main"."x"',
    "(3, '01a1', 2, NULL, 9, 'n', '/etc/', false)",
    "(9, 2, NULL, 1, 3, 'x', 'int128'",
]
# A row of rows that stay in the catalog, whose last value a person has written, and a table whose column one has named.
BESIDE = (
    'CREATE TABLE IF NOT EXISTS "main".ducklake_inlined_data_9_9(row_id BIGINT, "{name}" VARCHAR);'
    "INSERT INTO \"main\".ducklake_inlined_data_9_9 VALUES (1, 9, NULL, '{text}');"
)


def read(commit: str) -> tuple[object, ...]:
    """Everything that the link reads in a commit."""
    named = files.named(commit)
    doubtful = numbers.doubtful(commit, named)
    return (
        statements.kind_of(commit),
        statements.changes_of(commit),
        statements.is_mixed(commit),
        named,
        files.paths(named, "t 3 0 true t/\ns 0 true main/", commit, "/data/"),
        doubtful,
        numbers.huge(doubtful, "", commit),
        statements.with_withheld(commit, range(50)).removeprefix(commit.rstrip().rstrip(";")),
    )


def with_written(commit: str, text: str) -> str:
    """`commit` beside a row and a column of somebody's, and with their message."""
    beside = BESIDE.format(name=text.replace('"', '""'), text=text.replace("'", "''"))
    head, _, rest = commit.partition(";")
    message = "'" + text.replace("'", "''") + "'"
    changed, times = re.subn(
        r"(ducklake_snapshot_changes VALUES \(\d+, '[^\n]*', )NULL, NULL, ", r"\1NULL, {}, ", rest, count=1
    )
    assert times == 1, commit
    return f"{head};{beside}{changed.replace('{}', message, 1)}"


def test_the_recorded_commits_are_of_many_kinds() -> None:
    kinds = {each.split(":")[0] for commit in COMMITS for each in statements.changes_of(commit).split(",")}
    assert {
        "inserted_into_table",
        "inlined_insert",
        "inline_flush",
        "created_table",
        "altered_table",
    } <= kinds
    assert any(files.named(commit) for commit in COMMITS)


@pytest.mark.parametrize("text", WRITTEN, ids=range(len(WRITTEN)))
def test_what_people_write_changes_nothing_that_is_read(text: str) -> None:
    for commit in COMMITS:
        assert read(with_written(commit, text)) == read(with_written(commit, "plain")), commit
        guards = values.refusals(with_written(commit, "plain") + "'infinity'")
        assert set(values.refusals(with_written(commit, text))) <= set(guards), commit


@pytest.mark.parametrize("text", WRITTEN, ids=range(len(WRITTEN)))
def test_quoted_parts_are_left_at_their_places(text: str) -> None:
    name, literal = text.replace('"', '""'), text.replace("'", "''")
    batch = """INSERT INTO "{}".t("{}") VALUES ('{}', 7);"""
    written, no_name, nothing = batch.format("main", name, literal), "x" * len(name), "x" * len(literal)
    assert without_names(written) == batch.format("xxxx", no_name, literal)
    assert without_quoted(written) == batch.format("xxxx", no_name, nothing)
