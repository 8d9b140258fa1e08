"""`azquack check` finds the damage that is really done to a lake, and mends what it says it mends."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest

from azquack.catalog.backup.manifest import Manifest
from azquack.catalog.check import checks, deletes, files, footers, inlined, metadata
from azquack.catalog.check import deep as deep_rules
from azquack.catalog.check.finding import Finding, Rule
from azquack.catalog.check.rules import METADATA
from azquack.errors import LakeError
from tests.small_lakes import DiskLake, make_lake


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> DiskLake:
    return make_lake(tmp_path_factory.mktemp("lake") / "whole")


@pytest.fixture
def lake(whole: DiskLake, tmp_path: Path) -> Iterator[DiskLake]:
    copied = whole.copy(tmp_path / "lake")
    yield copied
    shutil.rmtree(copied.path)


def found(lake: DiskLake) -> list[Finding]:
    return checks.run(lake.catalog, lake.settings)


def names(findings: list[Finding]) -> set[str]:
    return {each.rule.name for each in findings}


def test_a_whole_lake_has_no_findings(lake: DiskLake) -> None:
    assert found(lake) == []


def test_a_lake_stays_whole_through_every_kind_of_maintenance(lake: DiskLake) -> None:
    lake.lake(
        "CALL ducklake_flush_inlined_data('lake')",
        "CALL ducklake_rewrite_data_files('lake', delete_threshold => 0.01)",
        "CALL ducklake_merge_adjacent_files('lake')",
        "DROP TABLE other.u",
        "CALL ducklake_expire_snapshots('lake', older_than => now())",
        "CALL ducklake_cleanup_old_files('lake', cleanup_all => true)",
    )
    assert found(lake) == []


def test_updated_rows_keep_their_ids_and_are_no_finding(lake: DiskLake) -> None:
    lake.lake(
        "UPDATE t SET s = 'small' WHERE i = 500",
        "UPDATE t SET s = 'large' WHERE i BETWEEN 600 AND 700",
        "CALL ducklake_flush_inlined_data('lake')",
    )
    assert found(lake) == []
    lake.lake("CALL ducklake_rewrite_data_files('lake', delete_threshold => 0.0)")
    assert found(lake) == []
    lake.lake("CALL ducklake_merge_adjacent_files('lake')")
    assert found(lake) == []


# What is done to the catalog, and the one rule that it breaks; those that can be repaired.
REPAIRABLE = {
    "torn-snapshot": ["DELETE FROM ducklake_snapshot_changes WHERE snapshot_id = 3"],
    "changes-without-snapshot": ["INSERT INTO ducklake_snapshot_changes VALUES (99, 'x', NULL, NULL, NULL)"],
    "beyond-last-snapshot": [
        "UPDATE ducklake_table SET end_snapshot = 99 WHERE table_name = 'u'",
        "INSERT INTO ducklake_column SELECT 77, 99, * EXCLUDE (column_id, begin_snapshot) "
        "FROM ducklake_column WHERE column_name = 'late'",
    ],
    "table-without-columns": [
        "INSERT INTO ducklake_table SELECT 77, uuid(), max(snapshot_id), NULL, 0, 'half', 'half/', true "
        "FROM ducklake_snapshot"
    ],
    "columns-without-table": [
        "INSERT INTO ducklake_column SELECT * REPLACE (77 AS table_id) FROM ducklake_column "
        "WHERE column_name = 'late'"
    ],
    "deletes-without-file": ["UPDATE ducklake_delete_file SET data_file_id = 7777"],
    "live-in-dropped-table": [
        "UPDATE ducklake_table SET end_snapshot = (SELECT max(snapshot_id) FROM ducklake_snapshot) "
        "WHERE table_name = 'u'"
    ],
    "next-row-id-too-low": ["UPDATE ducklake_table_stats SET next_row_id = 1"],
    "statistics-reversed": [
        "UPDATE ducklake_file_column_stats SET min_value = '20', max_value = '3' "
        "WHERE column_id = 1 AND min_value = '0'"
    ],
    "table-statistics-narrow": [
        "UPDATE ducklake_table_column_stats SET max_value = '7' WHERE column_id = 1"
    ],
    "statistics-narrow": [
        "UPDATE ducklake_file_column_stats SET max_value = '7' WHERE column_id = 1 AND min_value = '0'"
    ],
}  # fmt: skip

LASTING = {
    "snapshot-gap": [
        "DELETE FROM ducklake_snapshot WHERE snapshot_id = 3",
        "DELETE FROM ducklake_snapshot_changes WHERE snapshot_id = 3",
    ],
    "no-snapshot": ["DELETE FROM ducklake_snapshot", "DELETE FROM ducklake_snapshot_changes"],
    "table-without-schema": ["DELETE FROM ducklake_schema WHERE schema_name = 'other'"],
    "files-without-table": [
        "INSERT INTO ducklake_data_file SELECT * REPLACE (7777 AS data_file_id, 77 AS table_id) "
        "FROM ducklake_data_file LIMIT 1"
    ],
    "lives-twice": [
        "INSERT INTO ducklake_data_file SELECT * REPLACE (7777 AS data_file_id, 90000 AS row_id_start) "
        "FROM ducklake_data_file LIMIT 1",
        "UPDATE ducklake_table_stats SET next_row_id = 99999",
    ],
    "same-name": [
        "INSERT INTO ducklake_table SELECT 77, uuid(), 5, NULL, schema_id, table_name, path, true "
        "FROM ducklake_table WHERE table_name = 't'",
        "INSERT INTO ducklake_column SELECT * REPLACE (77 AS table_id, 5 AS begin_snapshot) "
        "FROM ducklake_column WHERE column_name = 'i'",
    ],
    "ends-before-begin": [
        "UPDATE ducklake_delete_file SET end_snapshot = begin_snapshot - 1",
    ],
    "inlined-table-missing": [
        "DROP TABLE ducklake_inlined_data_1_1",
    ],
    "row-ids-overlap": ["UPDATE ducklake_data_file SET row_id_start = 0"],
}  # fmt: skip


@pytest.mark.parametrize("rule", [*REPAIRABLE, *LASTING])
def test_damage_in_the_metadata_is_found(lake: DiskLake, rule: str) -> None:
    lake.metadata(*(REPAIRABLE | LASTING)[rule])
    assert rule in names(found(lake))


@pytest.mark.parametrize("rule", REPAIRABLE)
def test_repair_mends_and_keeps_every_row(lake: DiskLake, rule: str) -> None:
    dropped = rule == "live-in-dropped-table"
    tables = ["t"] if dropped else ["t", "other.u"]
    if rule == "deletes-without-file":
        # The deletes are lost by the damage itself; they are not what is mended.
        lake.lake("CALL ducklake_rewrite_data_files('lake', delete_threshold => 0.01)")
        lake.metadata("UPDATE ducklake_delete_file SET end_snapshot = begin_snapshot + 1")
    before = [lake.lake(f"SELECT count(*), sum(columns('^i$|^key$')) FROM {name}") for name in tables]
    lake.metadata(*REPAIRABLE[rule])
    broken = found(lake)
    assert rule in names(broken)
    lake.metadata(*dict.fromkeys(statement for each in broken for statement in each.repairs))
    assert found(lake) == []
    after = [lake.lake(f"SELECT count(*), sum(columns('^i$|^key$')) FROM {name}") for name in tables]
    assert after == before
    lake.lake("INSERT INTO t VALUES (1, 'after', NULL)", "FROM ducklake_snapshots('lake')")


def side_by_side(lake: DiskLake, *pairs: str) -> None:
    """Run each of two statements in a transaction of its own, of which both begin before either commits.

    Without the catalog link, whose conflicts would refuse the second.
    """
    with lake.attached() as connection:
        sessions = [connection.cursor() for _ in pairs]
        for session, statement in zip(sessions, pairs, strict=True):
            for each in ("USE lake", "BEGIN", statement):
                session.execute(each).fetchall()
        for session in sessions:
            session.execute("COMMIT")


def test_rows_that_were_deleted_in_two_places_are_found(lake: DiskLake) -> None:
    side_by_side(lake, "DELETE FROM t WHERE i IN (500, 501)", "DELETE FROM t WHERE i BETWEEN 500 AND 600")
    assert lake.lake("SELECT count(*) FROM t") != lake.lake("SELECT count(*) FROM t WHERE i * 2 >= i")
    [finding] = found(lake)
    assert finding.rule.name == "deleted-twice"
    assert "2 rows" in finding.subject
    lake.lake("CALL ducklake_flush_inlined_data('lake')")
    assert lake.lake("SELECT count(*) FROM t") == lake.lake("SELECT count(*) FROM t WHERE i * 2 >= i")
    assert found(lake) == []


@pytest.mark.parametrize(
    "call",
    ["ducklake_merge_adjacent_files('lake')", "ducklake_rewrite_data_files('lake', delete_threshold => 0.0)"],
)
def test_deletions_that_a_compaction_went_past_are_found(lake: DiskLake, call: str) -> None:
    lake.lake("CREATE TABLE w AS FROM range(100) t(i)", "INSERT INTO w SELECT range + 100 FROM range(100)")
    lake.lake(*(["DELETE FROM w WHERE i < 20"] if "rewrite" in call else []), "FROM w")
    side_by_side(lake, f"CALL {call}", "DELETE FROM w WHERE i = 50")
    assert lake.lake("SELECT count(*) FROM w WHERE i = 50") == [(1,)]
    assert names(found(lake)) == {"lost-deletes"}


def test_a_delete_file_with_another_number_of_rows_is_found(lake: DiskLake) -> None:
    lake.metadata("UPDATE ducklake_delete_file SET delete_count = 7")
    assert names(found(lake)) == {"wrong-delete-count"}


def test_forgotten_statistics_bring_back_rows_that_a_filter_missed(lake: DiskLake) -> None:
    lake.metadata(*REPAIRABLE["statistics-narrow"])
    assert lake.lake("SELECT count(*) FROM t WHERE i = 500") == [(0,)]
    lake.metadata(*(statement for each in found(lake) for statement in each.repairs))
    assert lake.lake("SELECT count(*) FROM t WHERE i = 500") == [(1,)]


def data_file(lake: DiskLake, table: str) -> Path:
    return min(path for path in lake.files() if path.parent.name == table and "delete" not in path.name)


def test_a_missing_file_is_found(lake: DiskLake) -> None:
    path = data_file(lake, "t")
    path.unlink()
    [finding] = found(lake)
    assert finding.rule.name == "missing-file"
    assert str(path) in finding.subject


def test_a_file_that_only_old_snapshots_need_is_no_damage(lake: DiskLake) -> None:
    path = data_file(lake, "u")
    lake.lake("DROP TABLE other.u")
    path.unlink()
    [finding] = found(lake)
    assert finding.rule.name == "missing-old-file"
    assert not finding.serious


def test_a_file_of_another_size_is_found(lake: DiskLake) -> None:
    path = data_file(lake, "t")
    path.write_bytes(path.read_bytes()[:-10])
    assert names(found(lake)) == {"wrong-size", "unreadable-file"}


def test_a_file_that_is_no_parquet_is_found(lake: DiskLake) -> None:
    path = data_file(lake, "t")
    path.write_bytes(b"x" * path.stat().st_size)
    assert names(found(lake)) == {"unreadable-file"}


def test_a_file_with_other_rows_and_columns_is_found(lake: DiskLake) -> None:
    path = data_file(lake, "t")
    field_ids = "{'i': 1, 's': 2, 'x': 99}"
    lake.lake(
        f"COPY (SELECT range::BIGINT AS i, 'a' AS s, 1 AS x FROM range(7)) TO '{path}' "
        f"(FORMAT parquet, FIELD_IDS {field_ids})"
    )
    lake.metadata(
        f"UPDATE ducklake_data_file SET file_size_bytes = {path.stat().st_size} WHERE path = '{path.name}'"
    )
    findings = found(lake)
    assert names(findings) == {"wrong-row-count", "schema-drift"}
    text = " ".join(each.subject for each in findings)
    for part in (
        "has no column d",
        "column i is BIGINT instead of int32",
        "unknown column x",
        "7 rows instead",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ("INTERVAL '1 microsecond'", "not-kept-by-parquet"),
        ("[{'a': INTERVAL '1 microsecond'}]", "not-kept-by-parquet"),
        ("INTERVAL '-1 day'", "unflushable-rows"),
        ("'infinity'::TIMESTAMP_S", "unflushable-rows"),
        ("9007199254740993::HUGEINT", "not-kept-by-parquet"),
        ("MAP {'a': 170141183460469231731687303715884105727::HUGEINT}", "not-kept-by-parquet"),
        ("'12:00:00+02'::TIMETZ", "not-kept-by-parquet"),
        ("'12:00:00'::TIME_NS", "unflushable-rows"),
        ("{'a': 1::HUGEINT, 'b': INTERVAL '1 day', 'c': '2026-01-01'::TIMESTAMP_S}", None),
    ],
)
def test_rows_that_parquet_does_not_keep_are_found_while_they_are_whole(
    lake: DiskLake, value: str, rule: str | None
) -> None:
    lake.lake(f"CREATE TABLE odd AS SELECT {value} AS v")
    assert names(found(lake)) == ({rule} if rule else set())
    lake.lake("DELETE FROM odd")
    assert found(lake) == []


def test_a_float_that_became_a_double_is_found(lake: DiskLake) -> None:
    lake.lake(
        "CREATE TABLE w AS SELECT range::FLOAT AS f FROM range(100)", "ALTER TABLE w ALTER f TYPE DOUBLE"
    )
    assert names(found(lake)) == {"float-widened"}
    lake.lake("CREATE TABLE n AS FROM w", "DROP TABLE w", "ALTER TABLE n RENAME TO w")
    assert found(lake) == []


def test_every_rule_has_a_planted_fault() -> None:
    rules = {rule.name for rule in METADATA}
    modules = (deep_rules, deletes, files, footers, inlined)
    rules |= {each.name for module in modules for each in vars(module).values() if isinstance(each, Rule)}
    text = Path(__file__).read_text()
    assert [name for name in sorted(rules) if f'"{name}"' not in text] == []


def deep(lake: DiskLake, newest: Manifest | None = None) -> list[Finding]:
    return checks.run(lake.catalog, lake.settings, deep=checks.Deep(newest))


def test_a_whole_lake_has_no_findings_when_all_of_it_is_read(lake: DiskLake) -> None:
    assert deep(lake) == []


def test_a_damaged_page_is_found_by_reading_it(lake: DiskLake) -> None:
    path = data_file(lake, "u")
    content = bytearray(path.read_bytes())
    content[40:140] = bytes(100)
    path.write_bytes(content)
    assert found(lake) == []
    [finding] = [each for each in deep(lake) if each.rule.name == "damaged-page"]
    assert str(path) in finding.subject


def test_rows_that_are_there_twice_are_found_by_reading_them(lake: DiskLake) -> None:
    lake.lake(
        "CREATE TABLE w AS SELECT range AS i FROM range(100)",
        "INSERT INTO w SELECT 100 + range FROM range(100)",
    )
    side_by_side(lake, "CALL ducklake_merge_adjacent_files('lake')", "UPDATE w SET i = 777 WHERE i = 50")
    assert names(deep(lake)) == {"lost-deletes", "doubled-rows"}


def test_a_count_that_is_not_the_number_of_rows_is_found_by_reading_them(lake: DiskLake) -> None:
    side_by_side(lake, "DELETE FROM t WHERE i IN (500, 501)", "DELETE FROM t WHERE i BETWEEN 500 AND 600")
    assert names(deep(lake)) == {"deleted-twice", "wrong-count"}


@pytest.mark.parametrize(("ahead", "rule"), [(0, set()), (-1, set()), (1, {"older-than-backup"})])
def test_a_catalog_that_is_older_than_its_backup_is_found(lake: DiskLake, ahead: int, rule: set[str]) -> None:
    [(snapshot, time)] = lake.metadata(
        f"SELECT max(snapshot_id) + {ahead}, (SELECT snapshot_time FROM ducklake_snapshot "
        f"ORDER BY snapshot_id DESC LIMIT 1 OFFSET {max(0, -ahead)}) FROM ducklake_snapshot"
    )
    backup = Manifest(datetime.now(UTC), 1, "", snapshot, time, "")
    assert names(deep(lake, backup)) == rule


def test_another_history_than_that_of_the_backup_is_found(lake: DiskLake) -> None:
    [(snapshot,)] = lake.metadata("SELECT max(snapshot_id) FROM ducklake_snapshot")
    backup = Manifest(datetime.now(UTC), 1, "", snapshot, datetime(2020, 1, 1, tzinfo=UTC), "")
    assert names(deep(lake, backup)) == {"older-than-backup"}


def test_only_old_files_count_as_unnamed(lake: DiskLake) -> None:
    orphan = lake.data / "main" / "t" / "orphan.parquet"
    shutil.copy(data_file(lake, "t"), orphan)
    os.utime(orphan, (time.time() - 3600,) * 2)
    assert found(lake) == []
    os.utime(orphan, (time.time() - 2 * 86400,) * 2)
    [finding] = found(lake)
    assert finding.rule.name == "unnamed-file"
    assert str(orphan) in finding.subject


def test_a_file_that_waits_for_its_deletion_is_not_unnamed(lake: DiskLake) -> None:
    lake.lake("DROP TABLE other.u", "CALL ducklake_expire_snapshots('lake', older_than => now())")
    for path in lake.files():
        os.utime(path, (1, 1))
    assert found(lake) == []


def test_an_encrypted_lake_says_what_was_not_compared(tmp_path: Path) -> None:
    lake = DiskLake(tmp_path / "sealed")
    lake.path.mkdir()
    with lake.attached() as connection:
        connection.execute("DETACH lake")
        connection.execute(
            f"ATTACH 'ducklake:{lake.path}/e.duckdb' AS e (DATA_PATH '{lake.data}/', ENCRYPTED true)"
        )
        connection.execute("CREATE TABLE e.t AS FROM range(1000)")
    findings = checks.run(lake.path / "e.duckdb", lake.settings)
    assert names(findings) == {"encrypted"}
    assert not findings[0].serious


def test_what_is_no_catalog_is_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "x.duckdb").write_text("no database at all")
    with pytest.raises(LakeError, match="is no catalog of a lake"):
        metadata.damage(tmp_path / "x.duckdb")


def test_numbers_that_parquet_did_not_keep_are_found(lake: DiskLake) -> None:
    large, extreme = "9007199254740993", "170141183460469231731687303715884105727"
    many = "FROM range(50) r(i)"
    lake.lake(
        f"CREATE TABLE fine AS SELECT {{'n': [9007199254740991::HUGEINT], 'd': 1e300}} AS s {many}",
        f"CREATE TABLE lossy AS SELECT {{'n': [{large}::HUGEINT], 'd': 1e300}} AS s {many}",
    )
    [finding] = found(lake)
    assert (finding.rule.name, finding.serious) == ("inexact-number", False)
    assert "main.lossy" in finding.subject
    lake.lake(f"CREATE TABLE lost AS SELECT i, {extreme}::HUGEINT AS n {many}")
    assert names(found(lake)) == {"inexact-number", "unreadable-number"}
    with pytest.raises(duckdb.ConversionException):
        lake.lake("FROM lost")
    lake.lake("ALTER TABLE lost DROP COLUMN n", "DROP TABLE lossy")
    assert lake.lake("SELECT count(*) FROM lost") == [(50,)]
    assert found(lake) == []
