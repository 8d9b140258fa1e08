"""DuckLake's placeholders in what people write: it comes back as it went in, and never runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import duckdb
import pytest

from azquack.lake.placeholders import WORDS
from azquack.sql import identifier, literal
from tests.cluster import Pair, remote
from tests.test_catalog_policy import foreign

Rows = list[tuple[Any, ...]]
Run = Callable[[str], Rows]
ALL = (
    *WORDS,
    "".join(WORDS),
    "{{AUTHOR}}",
    "{SNAPSHOT_{AUTHOR}ID}",
    "'); DROP TABLE ducklake_metadata; --{AUTHOR}",
)
# DuckLake keeps an insert of up to this many rows in the catalog.
INLINED = 10


@pytest.fixture
def run(connection: duckdb.DuckDBPyConnection, pair: Pair, request: pytest.FixtureRequest) -> Iterator[Run]:
    """Runs a statement on the node, in a schema of this test's own (`s`); the catalog's alarm must stay silent."""
    before = foreign(pair)
    name = f"ph{abs(hash(request.node.name)):x}"

    def execute(sql: str) -> Rows:
        return connection.execute(remote(sql.replace("s.", f"{name}."))).fetchall()

    connection.execute(remote(f"CREATE SCHEMA {name}"))
    yield execute
    connection.execute(remote(f"DROP SCHEMA {name} CASCADE"))
    assert foreign(pair) == before, "the catalog's alarm went off"


def values(words: tuple[str, ...] = ALL) -> str:
    return ", ".join(f"({literal(word)})" for word in words)


def computed(word: str) -> str:
    """An expression that gives `word`, whose text does not hold it."""
    return " || ".join(f"chr({ord(letter)})" for letter in word)


@pytest.mark.parametrize("write", [literal, computed], ids=["literal", "computed"])
def test_values_come_back_as_they_went_in(run: Run, write: Callable[[str], str]) -> None:
    """Rows that stay in the catalog, and files whose minima and maxima are the words."""
    run("CREATE TABLE s.t (s VARCHAR, l VARCHAR[], m STRUCT(a VARCHAR), j JSON)")
    for rows, words in ((1, ALL), (INLINED + 1, ALL[:4])):
        select = " UNION ALL ".join(f"(SELECT {write(word)} AS w FROM range({rows}))" for word in words)
        run(f"INSERT INTO s.t SELECT w, [w], {{'a': w}}, to_json(w) FROM ({select})")
    expected = [*ALL, *(word for word in ALL[:4] for _ in range(INLINED + 1))]
    found = run("SELECT s, l[1], m.a, j->>'$' FROM s.t")
    assert sorted(found) == sorted((word,) * 4 for word in expected)
    for word in ALL[:5]:
        assert run(f"SELECT count(*) FROM s.t WHERE s = {literal(word)}") == [(expected.count(word),)]


def test_native_inserts_come_back_as_they_went_in(run: Run, connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("CREATE TABLE r.words_natively (s VARCHAR)")
    for words in (ALL[:5], ALL * 2):
        connection.execute(f"INSERT INTO r.words_natively VALUES {values(words)}")
    found = run("SELECT s FROM words_natively")
    connection.execute("DROP TABLE r.words_natively")
    assert sorted(found) == sorted((word,) for word in (*ALL[:5], *ALL, *ALL))


def test_updates_merges_deletes_and_flushes_alter_nothing(run: Run) -> None:
    run("CREATE TABLE s.t (i INTEGER, s VARCHAR)")
    run(f"INSERT INTO s.t SELECT row_number() OVER (), s FROM (VALUES {values()}) v(s)")
    run(f"INSERT INTO s.t SELECT 100 + row_number() OVER (), s FROM (VALUES {values(ALL[:3])}) v(s)")
    run("UPDATE s.t SET s = '{SNAPSHOT_ID}' || s WHERE i > 3")
    run(
        "MERGE INTO s.t USING (SELECT 2 AS i) n USING (i) WHEN MATCHED THEN UPDATE SET s = '{AUTHOR}{DATA_PATH}'"
    )
    run("DELETE FROM s.t WHERE s = '{NEXT_CATALOG_ID}'")
    run("CALL ducklake_flush_inlined_data('lake')")
    expected = [(i, word if i <= 3 else "{SNAPSHOT_ID}" + word) for i, word in enumerate(ALL, 1)]
    expected += [(i, "{SNAPSHOT_ID}" + word) for i, word in enumerate(ALL[:3], 101)]
    expected[1] = (2, "{AUTHOR}{DATA_PATH}")
    del expected[2]
    assert run("SELECT i, s FROM s.t ORDER BY i") == expected


def test_deletes_that_stay_in_the_catalog_still_work(run: Run) -> None:
    run("CREATE TABLE s.t AS SELECT range AS i, '{SNAPSHOT_ID}' AS s FROM range(50)")
    run("DELETE FROM s.t WHERE i < 3")
    run("DELETE FROM s.t WHERE i BETWEEN 10 AND 12")
    assert run("SELECT count(*), min(s), max(s) FROM s.t") == [(44, "{SNAPSHOT_ID}", "{SNAPSHOT_ID}")]
    run("CALL ducklake_flush_inlined_data('lake')")
    assert run("SELECT count(*) FROM s.t") == [(44,)]


def test_partitions_by_such_values_are_read_back(run: Run) -> None:
    run("CREATE TABLE s.t (s VARCHAR, i INTEGER)")
    run("ALTER TABLE s.t SET PARTITIONED BY (s)")
    run(f"INSERT INTO s.t SELECT s, i FROM (VALUES {values(WORDS)}) v(s), range(3) r(i)")
    for word in WORDS[::3]:
        assert run(f"SELECT count(*), min(s) FROM s.t WHERE s = {literal(word)}") == [(3, word)]


def test_comments_defaults_views_and_macros_keep_them(run: Run) -> None:
    text = "".join(ALL)
    run(f"CREATE TABLE s.t (i INTEGER, d VARCHAR DEFAULT {literal(text)})")
    run(f"COMMENT ON TABLE s.t IS {literal(text)}")
    run(f"COMMENT ON COLUMN s.t.i IS {literal(text)}")
    run(f"CREATE VIEW s.v AS SELECT {literal(text)} AS x")
    run(f"CREATE MACRO s.m() AS {literal(text)}")
    run("INSERT INTO s.t (i) VALUES (1)")
    run(f"ALTER TABLE s.t ADD COLUMN e VARCHAR DEFAULT {literal(text)}")
    assert run("SELECT d, e FROM s.t") == [(text, text)]
    assert run("SELECT x FROM s.v") == [(text,)]
    assert run("SELECT s.m()") == [(text,)]
    comments = "SELECT t.comment, c.comment FROM duckdb_tables() t JOIN duckdb_columns() c USING (table_oid) "
    assert run(comments + f"WHERE t.comment = {literal(text)} AND c.column_name = 'i'") == [(text, text)]


def test_columns_may_be_called_so(run: Run) -> None:
    names = [identifier(word) for word in WORDS]
    run(f"CREATE TABLE s.t ({', '.join(f'{name} VARCHAR' for name in names)})")
    run(f"INSERT INTO s.t VALUES ({', '.join(map(literal, WORDS))})")
    run(f"ALTER TABLE s.t RENAME COLUMN {names[0]} TO {identifier('x' + WORDS[0])}")
    assert run(f"SELECT {identifier('x' + WORDS[0])}, {', '.join(names[1:])} FROM s.t") == [WORDS]


def test_commit_messages_neither_run_nor_change(run: Run, connection: duckdb.DuckDBPyConnection) -> None:
    attack = "'); UPDATE ducklake_metadata SET value = 'broken' WHERE key = 'data_path'; --"
    run("CREATE TABLE s.t (i INTEGER)")
    before = run("SELECT count(*) FROM lake.snapshots()")
    for text in (attack, "".join(ALL)):
        run("BEGIN")
        run(f"CALL lake.set_commit_message({literal(text)}, {literal(text)}, extra_info => {literal(text)})")
        run(f"COMMENT ON TABLE s.t IS {literal('{AUTHOR}' + text)}")
        run("COMMIT")
        said = (
            "SELECT author, commit_message, commit_extra_info FROM lake.snapshots() ORDER BY snapshot_id DESC"
        )
        assert run(f"{said} LIMIT 1") == [(text, text, text)]
    assert run("SELECT count(*) - 2 FROM lake.snapshots()") == before
    assert run("SELECT count(*) FROM s.t") == [(0,)]
