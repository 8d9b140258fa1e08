"""Rows that are moved between two questions of one statement are seen once, or the statement is refused.

Before each question that a statement asks the catalog, in turn, another node moves the rows; the oracle is what the
statement did to the same table with nobody beside it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest

from azquack.catalog.link import commits, moves, reads
from azquack.catalog.link.moves import MOVED, Subject, subject_of
from azquack.catalog.link.questions import UNCOUNTED
from azquack.catalog.link.statements import Kind, kind_of
from azquack.catalog.policy.policy import CatalogPolicy
from tests.cluster import wait_until
from tests.link.schedules import REFUSALS
from tests.link.sessions import Cluster, cluster

RECORDED: list[str] = json.loads((Path(__file__).parent.parent / "catalog_statements.json").read_text())

FLUSH = "CALL ducklake_flush_inlined_data('lake', table_name => '{t}')"
MOVERS = {
    "a flush": [FLUSH],
    "a merge": ["CALL ducklake_merge_adjacent_files('lake', '{t}')"],
    "a rewrite": ["CALL ducklake_rewrite_data_files('lake', '{t}', delete_threshold => 0.0)"],
    "a flush, a merge, and no older snapshots": [
        FLUSH,
        "CALL ducklake_merge_adjacent_files('lake', '{t}')",
        "CALL ducklake_expire_snapshots('lake', older_than => now() + INTERVAL 1 DAY)",
    ],
    "a deletion, a rewrite, and no older snapshots": [
        "DELETE FROM {t} WHERE k < 40",
        "CALL ducklake_rewrite_data_files('lake', '{t}', delete_threshold => 0.0)",
        "CALL ducklake_expire_snapshots('lake', older_than => now() + INTERVAL 1 DAY)",
    ],
    "an insert": ["INSERT INTO {t} VALUES (7000)"],
}
READS = {
    "rows": "SELECT k FROM {t}",
    "some rows": "SELECT k FROM {t} WHERE k > 20",
    "a count": "SELECT count(*) FROM {t}",
    "a join with itself": "SELECT a.k FROM {t} a JOIN {t} b ON a.k = b.k",
    "rows of before": "SELECT k FROM {t} AT (VERSION => {v})",
}


class Interleaved:
    """Runs `move` before the question number `at` of whoever else asks the catalog."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = -1
        self.asked = 0
        self.move: Callable[[], None] | None = None
        read = commits.read

        async def wrapped(*arguments: Any) -> Any:
            move = self.move
            if move is not None:
                if self.asked == self.at:
                    self.move = None
                    await asyncio.to_thread(move)
                self.asked += 1
            return await read(*arguments)

        monkeypatch.setattr(reads, "read", wrapped)

    def run(self, at: int, work: Callable[[], Any], move: Callable[[], None]) -> tuple[Any, bool]:
        """What `work` gives, and whether it has asked so many questions that `move` ran."""
        self.at, self.asked, self.move = at, 0, move
        try:
            return work(), self.move is None
        finally:
            self.move = None


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("moves") / "lake", nodes=2) as made:
        yield made


def made(session: duckdb.DuckDBPyConnection, table: str) -> None:
    """A table with two files, rows in the catalog, and small deletions of both."""
    session.execute(f"CREATE TABLE {table} (k INTEGER)")
    for low in (0, 30):
        session.execute(f"INSERT INTO {table} SELECT range FROM range({low}, {low + 30})")
    session.execute(f"INSERT INTO {table} SELECT range FROM range(1000, 1006)")
    session.execute(f"DELETE FROM {table} WHERE k IN (22, 23, 50, 1001)")


# Each move meets a plain read, and a flush, which moves most, every kind of read; the others take minutes.
QUICK = {("a flush", what) for what in READS} | {(mover, "rows") for mover in MOVERS}
COMBINATIONS = [
    pytest.param(mover, what, marks=() if (mover, what) in QUICK else pytest.mark.slow)
    for mover in MOVERS
    for what in READS
]


@pytest.mark.parametrize(("mover", "what"), COMBINATIONS)
def test_a_read_between_two_states_is_right_or_refused(
    lake: Cluster, monkeypatch: pytest.MonkeyPatch, mover: str, what: str
) -> None:
    interleaved = Interleaved(monkeypatch)
    writer, reader = lake.nodes[0].session(), lake.nodes[1].session()
    name = f"{list(MOVERS).index(mover)}_{list(READS).index(what)}"
    for at in range(30):
        table = f"moved_{name}_{at}"
        made(writer, table)
        [(version,)] = writer.execute("SELECT max(snapshot_id) FROM lake.snapshots()").fetchall()
        sql = READS[what].format(t=table, v=version)
        expected = _rows(writer, sql)

        def move(table: str = table) -> None:
            for statement in MOVERS[mover]:
                writer.execute(statement.format(t=table)).fetchall()

        found, moved = interleaved.run(at, partial(_rows, reader, sql), move)
        if isinstance(found, str):
            assert mover != "an insert", found
            assert any(sign in found for sign in (MOVED, UNCOUNTED, "No snapshot found at version")), found
        else:
            assert found in (expected, _rows(writer, sql)), f"before question {at}"
        if what != "rows of before":
            assert _rows(reader, sql) == _rows(writer, sql)
        if not moved:
            return
    pytest.fail("the statement asks the catalog more often than this test looks at")


def test_a_transaction_that_read_before_a_move_is_refused_and_the_next_one_is_not(lake: Cluster) -> None:
    writer, reader = lake.nodes[0].session(), lake.nodes[1].session()
    made(writer, "kept")
    reader.execute("BEGIN")
    before = _rows(reader, "SELECT k FROM kept")
    assert len(before) == 62
    writer.execute(FLUSH.format(t="kept")).fetchall()
    assert MOVED in str(_rows(reader, "SELECT k, k + 1 FROM kept"))
    reader.execute("ROLLBACK")
    assert _rows(reader, "SELECT k FROM kept") == before


def test_a_transaction_that_first_reads_after_a_move_reads_what_it_began_with(lake: Cluster) -> None:
    writer, reader = lake.nodes[0].session(), lake.nodes[1].session()
    made(writer, "late")
    made(writer, "other")
    reader.execute("BEGIN")
    _rows(reader, "SELECT k FROM other")
    writer.execute("DELETE FROM late WHERE k > 40")
    writer.execute(FLUSH.format(t="late")).fetchall()
    assert len(_rows(reader, "SELECT k FROM late")) == 62
    reader.execute("ROLLBACK")


def test_an_older_version_is_refused_only_while_somebody_may_still_read_it(
    lake: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, reader = lake.nodes[0].session(), lake.nodes[1].session()
    made(writer, "version")
    [(version,)] = writer.execute("SELECT max(snapshot_id) FROM lake.snapshots()").fetchall()
    sql = f"SELECT k FROM version AT (VERSION => {version})"
    before = _rows(reader, sql)
    writer.execute(FLUSH.format(t="version")).fetchall()
    assert MOVED in str(_rows(reader, sql))
    monkeypatch.setattr(moves, "LONGEST", 0.3)
    wait_until(lambda: _rows(reader, sql) == before, "The older version stayed refused")


def test_a_snapshot_that_expired_is_not_read_in_part(lake: Cluster) -> None:
    writer, reader = lake.nodes[0].session(), lake.nodes[1].session()
    made(writer, "expired")
    made(writer, "looked_at")
    reader.execute("BEGIN")
    _rows(reader, "SELECT k FROM looked_at")
    writer.execute("DELETE FROM expired")
    for statement in MOVERS["a flush, a merge, and no older snapshots"]:
        writer.execute(statement.format(t="expired")).fetchall()
    found = _rows(reader, "SELECT k FROM expired")
    assert MOVED in str(found) or len(found) == 62
    reader.execute("ROLLBACK")


def test_a_rewrite_is_refused_where_rows_in_the_catalog_are_older_than_a_column(lake: Cluster) -> None:
    """A fault of DuckLake 1.5.5: it asks each table of inlined rows for columns that came later."""
    session = lake.nodes[0].session()
    made(session, "older")
    session.execute("ALTER TABLE older ADD COLUMN c INTEGER DEFAULT 7")
    session.execute("DELETE FROM older WHERE k < 20")
    rewrite = "CALL ducklake_rewrite_data_files('lake', 'older', delete_threshold => 0.0)"
    with pytest.raises(duckdb.Error, match="Failed to read inlined-data aggregates"):
        session.execute(rewrite)
    session.execute(FLUSH.format(t="older")).fetchall()
    session.execute(rewrite).fetchall()
    assert len(_rows(session, "FROM older")) == 42


def _rows(session: duckdb.DuckDBPyConnection, sql: str) -> list[Any] | str:
    """The rows in their order, or the refusal."""
    try:
        return sorted(session.execute(sql).fetchall())
    except duckdb.Error as error:
        if not any(
            sign in str(error) for sign in (MOVED, UNCOUNTED, *REFUSALS, "No snapshot found at version")
        ):
            raise
        return str(error)


def test_every_question_about_rows_is_known_as_one_and_its_guarded_form_is_let_through() -> None:
    policy = CatalogPolicy()
    asked = [each for each in RECORDED if policy.check(None, each).kind == "READ"]
    subjects = {each: subject for each in asked if (subject := subject_of(each))}
    assert len(subjects) >= 14
    for question, subject in subjects.items():
        text = moves.guarded(question, subject, 5)
        assert kind_of(text) is Kind.READ
        assert policy.check(None, text).allowed, text
        assert subject_of(text) == subject
    assert policy.check(None, moves.newest_snapshot(next(iter(subjects)))).allowed


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * EXCLUDE (moved) FROM (FROM (SELECT 1",
        'SELECT * EXCLUDE (moved) FROM (FROM (DROP TABLE "main".ducklake_snapshot',
        '{guarded}; DROP TABLE "main".ducklake_snapshot',
        "{guarded} UNION ALL FROM duckdb_secrets()",
    ],
)
def test_no_other_text_comes_through_with_a_guard(text: str) -> None:
    question = next(each for each in RECORDED if kind_of(each) is Kind.READ and subject_of(each))
    guarded = moves.guarded(question, Subject(1, 2), 3)
    ending = guarded[guarded.index(") UNION ALL BY NAME") :]
    whole = text.format(guarded=guarded) if "{guarded}" in text else text + ending
    assert not CatalogPolicy().check(None, whole).allowed


@pytest.mark.parametrize(
    ("question", "subject"),
    [
        ("SELECT NULL FROM \"main\".ducklake_inlined_delete_6 LIMIT 1", None),
        ("SELECT COUNT(*) FROM \"main\".ducklake_inlined_data_43_61 WHERE 81 >= begin_snapshot", Subject(43, 81)),
        ("SELECT file_id, row_id FROM ducklake_inlined_delete_1 WHERE begin_snapshot <= 4", Subject(1, 4)),
        ("SELECT a AS col1 FROM ducklake_inlined_data_17_21 WHERE end_snapshot >= 26 AND end_snapshot <= 28",
         Subject(17, 28)),
        ("SELECT 1 FROM ducklake_table WHERE table_id = 1 AND 3 >= begin_snapshot", None),
    ],
)  # fmt: skip
def test_what_a_question_is_about(question: str, subject: Subject | None) -> None:
    assert subject_of(question) == subject
