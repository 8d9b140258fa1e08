"""What a catalog accepts: what DuckLake and AzQuack send, and nothing else.

`catalog_statements.json` holds what a catalog was sent while the suite ran, one text for each shape.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from pathlib import Path

import duckdb
import httpx
import pytest

from azquack.catalog.link import files, questions, statements, values
from azquack.catalog.policy.policy import SENTENCE, CatalogPolicy
from azquack.lake import extensions
from azquack.sql import literal
from tests.cluster import Pair, TempPair, wait_until

RECORDED: list[str] = json.loads((Path(__file__).parent / "catalog_statements.json").read_text())
COMMITS = [text for text in RECORDED if text.startswith("BEGIN;INSERT")]
# What DuckLake sends so seldom that it was not recorded.
_COUNT = (
    'SELECT\n  COALESCE((SELECT SUM(record_count) FROM "main".ducklake_data_file\n            WHERE table_id = 4\n'
    "              AND 7 >= begin_snapshot\n              AND (7 < end_snapshot OR end_snapshot IS NULL)), 0)\n  -\n"
    '  COALESCE((SELECT SUM(del.delete_count) FROM "main".ducklake_delete_file del\n            JOIN "main".'
    "ducklake_data_file data ON del.data_file_id = data.data_file_id\n            WHERE del.table_id = 4\n"
    "              AND 7 >= del.begin_snapshot\n              AND (7 < del.end_snapshot OR del.end_snapshot IS NULL)\n"
    "              AND 7 >= data.begin_snapshot\n"
    "              AND (7 < data.end_snapshot OR data.end_snapshot IS NULL)), 0)\n  -\n  "
)
RARE = [
    '\n\tSELECT data_file_id\n\tFROM "main".ducklake_delete_file\n\tWHERE begin_snapshot > 4\n\tUNION ALL\n\t'
    'SELECT data_file_id\n\tFROM "main".ducklake_data_file\n\tWHERE end_snapshot IS NOT NULL AND end_snapshot > 4\n\t',
    f"\n{_COUNT}0",
    f'\n{_COUNT}\nCOALESCE((SELECT COUNT(*) FROM "main".ducklake_inlined_delete_4 del\n          JOIN "main".'
    "ducklake_data_file data ON del.file_id = data.data_file_id\n          WHERE del.begin_snapshot <= 7\n"
    "            AND data.table_id = 4\n            AND 7 >= data.begin_snapshot\n"
    "            AND (7 < data.end_snapshot OR data.end_snapshot IS NULL)), 0)",
    "\nSELECT del.file_id, data.path, data.path_is_relative, del.row_id, del.begin_snapshot,\n       "
    "existing_del.delete_file_id, existing_del.path as del_path, existing_del.path_is_relative as "
    "del_path_is_relative,\n       existing_del.begin_snapshot as del_begin_snapshot, existing_del.encryption_key as "
    'del_encryption_key,\n       existing_del.format as del_format\nFROM "main".ducklake_inlined_delete_4 del\nJOIN '
    '"main".ducklake_data_file data ON del.file_id = data.data_file_id\nLEFT JOIN (\n    SELECT * FROM "main".'
    "ducklake_delete_file\n    WHERE table_id = 4 AND 9 >= begin_snapshot\n          AND (9 < end_snapshot OR "
    "end_snapshot IS NULL)\n) existing_del ON del.file_id = existing_del.data_file_id\n\t",
]
ROUNDS = int(os.environ.get("AZQUACK_TEST_FUZZ_ROUNDS", "800"))
FOREIGN = [
    "CALL quack_serve('quack:127.0.0.1:9999', token => 'mine')",
    "UPDATE ducklake_metadata SET value = 'x'",
    "ATTACH 'other.db' AS other",
    "COPY \"main\".ducklake_metadata TO 'out.csv'",
    "CREATE TABLE \"main\".mine(i INTEGER)",
    "INSERT INTO \"main\".ducklake_data_file SELECT * FROM \"main\".ducklake_data_file",
    "DROP TABLE \"main\".ducklake_snapshot",
    "SET lock_configuration = false",
    "SELECT * FROM read_text('/etc/passwd')",
    "FROM duckdb_settings()",
    "INSTALL httpfs",
    "PRAGMA database_list",
    "CREATE MACRO m() AS 1",
    "EXPLAIN ANALYZE DELETE FROM \"main\".ducklake_snapshot",
]  # fmt: skip
IN_PLACE_OF_A_VALUE = [
    "getenv('HOME')",
    "(SELECT min(value) FROM ducklake_metadata)",
    "current_setting('secret_directory')",
    "1 /* */",
    "(1)",
    "'a' || 'b'",
    "E'\\'",
    "$$a$$",
    "x'41'",
    "-- ",
    "{SNAPSHOT_ID}",
    "{'a': getenv('HOME')}",
    "CAST(read_text('/etc/passwd') AS VARCHAR)",
    "[getenv('HOME')]",
    "CONCAT('a', getenv('HOME'))",
    "NULL::VARCHAR COLLATE nocase",
    "$1",
    "?",
    "current_user",
]


def foreign(pair: Pair) -> float:
    """How many statements the catalog of `pair` has refused as foreign."""
    if not isinstance(pair, TempPair):
        return 0.0
    metrics = httpx.get(f"{pair.info['catalog_http_url']}/metrics", trust_env=False).text
    found = re.search(r"^azquack_catalog_foreign_statements_total (\S+)$", metrics, re.MULTILINE)
    assert found, metrics
    return float(found[1])


@pytest.fixture(scope="module")
def policy() -> CatalogPolicy:
    return CatalogPolicy()


def allowed(policy: CatalogPolicy, text: str) -> bool:
    return policy.check(None, text).allowed


def test_everything_recorded_is_known(policy: CatalogPolicy) -> None:
    assert [text for text in RECORDED if not allowed(policy, text)] == []


def test_what_the_link_makes_of_it_is_known(policy: CatalogPolicy) -> None:
    """The questions that it asks in place of DuckLake's, and what it adds to a commit."""
    asked = [question for text in (*RECORDED, *RARE) if (question := questions.asked(text))]
    assert len(asked) >= 4
    commits = []
    for body in map(body_of, COMMITS):
        # As if the value were there, so that every guard is.
        suspect = f"{body}'infinity'"
        guards = [statements.none_newer(body), *values.refusals(suspect)]
        commits.append(statements.atomic("\n".join([body, ";\n".join(guards)])))
    assert max(commit.count("SELECT error(") for commit in commits) == 5
    marks = [statements.find_mark(body_of(commit), "mark") for commit in COMMITS[:1]]
    named = [
        files.question([files.Named(1, table, "a.parquet", table > 0) for table in tables])
        for tables in ([3, 4], [0])
    ]
    assert [text for text in (*RARE, *asked, *commits, *marks, *named) if not allowed(policy, text)] == []


CONDITIONS = [
    "i = 3", "i IN (1, 2, 19)", "i <> 4", "i IS NULL", "d > 2.5", "d = 'nan'::DOUBLE", "f <> '-inf'::FLOAT", "s = 'x3'",
    "s IN ('a''b', ') AND (')", "s LIKE 'x1%'", "e BETWEEN 1 AND 3", "day > 'infinity'::DATE", "day IS NOT NULL",
    "since >= '2020-01-01 03:00:00'::TIMESTAMP", "NOT b", "u = '00000000-0000-0000-0000-000000000001'::UUID",
    "(h < 2 OR h IS NULL)", "h <> -170141183460469231731687303715884105727", "p.i = 3",
    "date_trunc('day', since) < '2030-01-01'::TIMESTAMP",
]  # fmt: skip
_ENDS = [
    "",
    " ORDER BY i LIMIT 3",
    " ORDER BY d DESC LIMIT 2",
    " ORDER BY since, s LIMIT 2",
    " ORDER BY u LIMIT 1",
]


def test_what_is_asked_for_conditions_on_several_columns_is_known(
    policy: CatalogPolicy, tmp_path: Path
) -> None:
    """Random conditions on up to four columns of a bucketed table; what DuckLake asks for its files is logged."""
    chance = random.Random(ROUNDS)
    home = tmp_path / "extensions"
    extensions.link_all(home)
    with duckdb.connect(":memory:", config=extensions.config(home)) as connection:
        for sql in (
            "LOAD ducklake",
            f"ATTACH {literal(f'ducklake:{tmp_path}/catalog.duckdb')} AS lake "
            f"(DATA_PATH {literal(f'{tmp_path}/data/')}, DATA_INLINING_ROW_LIMIT 0)",
            "CREATE TABLE lake.t AS SELECT i::INT AS i, i * 1.5::DOUBLE AS d, i::FLOAT AS f, 'x' || i AS s, "
            "i::DECIMAL(9, 2) AS e, DATE '2020-01-01' + i::INT AS day, DATE '2020-01-01' + to_hours(i) AS since, "
            "i % 2 = 0 AS b, uuid() AS u, i::HUGEINT AS h FROM range(20) AS r(i)",
            "CREATE TABLE lake.p AS FROM lake.t LIMIT 0",
            "ALTER TABLE lake.p SET PARTITIONED BY (bucket(4, i), b)",
            "INSERT INTO lake.p FROM lake.t",
            "CALL enable_logging('QueryLog')",
        ):
            connection.execute(sql)
        for _ in range(ROUNDS // 40):
            several = " AND ".join(chance.sample(CONDITIONS, chance.randint(2, 4)))
            connection.execute(f"FROM lake.{chance.choice('tp')} AS p WHERE {several}{chance.choice(_ENDS)}")
        connection.execute(
            "SELECT count(*) FROM lake.t JOIN (FROM lake.p WHERE i < 3) USING (i, s, since, d)"
        )
        connection.execute("UPDATE lake.p SET f = 0 WHERE i = 4 AND s = 'x4' AND d > 2")
        connection.execute("DELETE FROM lake.t WHERE i > 17 AND d > 3 AND s IS NOT NULL")
        logged = [
            text.replace('"__ducklake_metadata_lake".', "")
            for (text,) in connection.execute("SELECT message FROM duckdb_logs").fetchall()
        ]
    asked = {text for text in logged if "data.data_file_id NOT IN" in text}
    assert sum(" AND (data.data_file_id NOT IN" in text for text in asked) > ROUNDS // 160
    assert any("partition_key_index" in text for text in asked)
    assert [text for text in sorted(asked) if not allowed(policy, text)] == []


def body_of(commit: str) -> str:
    return commit.removeprefix("BEGIN;").removesuffix(";COMMIT").strip()


@pytest.mark.parametrize("statement", FOREIGN)
def test_a_foreign_statement_is_refused_alone_and_anywhere_in_a_commit(
    policy: CatalogPolicy, statement: str
) -> None:
    verdict = policy.check(None, statement)
    assert (verdict.allowed, verdict.kind, verdict.reason) == (False, "FOREIGN", f"{SENTENCE}.")
    for commit in COMMITS:
        ends = [match.end() for match in re.finditer(r"'[^']*'|;", commit) if match[0] == ";"]
        for at in (0, *ends):
            mutated = f"{commit[:at]}{statement};{commit[at:]}"
            assert not allowed(policy, mutated), mutated


def test_a_commit_is_whole_and_in_order(policy: CatalogPolicy) -> None:
    commit = max(COMMITS, key=len)
    body = commit.removeprefix("BEGIN;").removesuffix(";COMMIT")
    assert allowed(policy, body)
    assert not allowed(policy, f"BEGIN;{body}")
    assert not allowed(policy, f"{body};COMMIT")
    assert not allowed(policy, f"BEGIN;{body};COMMIT;{commit}")
    first, _, rest = body.partition(";")
    assert not allowed(policy, rest)
    assert not allowed(policy, f"{first};{first};{rest}")
    changes = body.index('INSERT INTO "main".ducklake_snapshot_changes')
    assert not allowed(policy, body[:changes])
    assert not allowed(policy, body[:changes] + body[changes:] + body[changes:])


def test_nobody_appends_to_a_catalog(policy: CatalogPolicy) -> None:
    assert not policy.check_append(None, "main", "ducklake_snapshot").allowed


def test_no_change_of_a_recorded_text_names_anything_new(policy: CatalogPolicy) -> None:
    """Random changes; the oracle is DuckDB's own lexer, by which a text that passes may hold known words only."""
    known = {word for text in RECORDED for word in words(text)}
    chance = random.Random(ROUNDS)
    passed = 0
    for _ in range(ROUNDS):
        text = chance.choice(RECORDED)
        mutated = mutate(text, chance)
        if allowed(policy, mutated):
            passed += 1
            assert words(mutated) <= known, mutated
            assert len(duckdb.extract_statements(mutated)) <= len(duckdb.extract_statements(text)), mutated
    assert passed < ROUNDS / 2


def words(text: str) -> set[str]:
    """Keywords and identifiers of `text`, by DuckDB's lexer, but what only names a user's columns."""
    tokens = duckdb.tokenize(text)
    starts = [start for start, _ in tokens] + [len(text.encode())]
    raw = text.encode()
    found = set()
    for (start, kind), end in zip(tokens, starts[1:], strict=False):
        word = raw[start:end].decode().strip()
        if kind in (duckdb.token_type.identifier, duckdb.token_type.keyword) and not word.startswith('"'):
            found.add(re.split(r"\s", word)[0].lower())
    return found


def mutate(text: str, chance: random.Random) -> str:
    places = [match.span() for match in re.finditer(r"'[^']*'|\b\d+\b|\bNULL\b|\btrue\b", text)]
    tables = [match.span() for match in re.finditer(r"\bducklake_\w+", text)]
    match chance.randrange(6):
        case 0 if places:
            begin, end = chance.choice(places)
            return text[:begin] + chance.choice(IN_PLACE_OF_A_VALUE) + text[end:]
        case 1 if tables:
            begin, end = chance.choice(tables)
            return text[:begin] + chance.choice(["mine", "duckdb_settings()", "sqlite_master"]) + text[end:]
        case 2:
            at = chance.randrange(len(text) + 1)
            return (
                text[:at]
                + chance.choice([";", "--", "/*", "'", "''", '"', "\0", "\u00a0", "(", "\\"])
                + text[at:]
            )
        case 3:
            return text + chance.choice(["; ", " UNION ALL ", " -- ", ";;"]) + chance.choice(FOREIGN)
        case 4:
            begin = chance.randrange(len(text))
            return text[:begin] + text[begin + chance.randrange(1, 40) :]
        case _:
            at = chance.randrange(len(text) + 1)
            return text[:at] + f"'); {chance.choice(FOREIGN)}; --" + text[at:]


def test_time_grows_with_length_alone(policy: CatalogPolicy) -> None:
    """Large commits, and texts made to be slow: a bound for each megabyte."""
    head = 'INSERT INTO "main".ducklake_snapshot VALUES (9, NOW(), 1, 2, 3);'
    changes = 'INSERT INTO "main".ducklake_snapshot_changes VALUES (9, NULL, NULL, NULL, NULL);'
    into = 'INSERT INTO "main".ducklake_inlined_data_1_1 VALUES '
    flat = ", ".join(f"({i}, 9, NULL, {i}, 'some text', NULL)" for i in range(60_000))
    nested = ", ".join(f"({i}, 9, NULL, [{{'a': {i}}}])" for i in range(60_000))
    deep = "(1, 9, NULL, " + "[" * 200_000 + "]" * 200_000 + ")"
    where = re.search(r"SELECT data_file_id FROM (col_\d+_stats).*", "\n".join(RECORDED))
    assert where
    for text, good in (
        (f"{head}{into}{flat};{changes}", True),
        (f"{head}{into}{nested};{changes}", True),
        (f"{head}{into}{deep};{changes}", True),
        (f"{head}{into}{flat}, ;{changes}", False),
        (f"{head}{into}(1, 9, NULL, '{'x' * 4_000_000}');{changes}", True),
        (f"{head}{into}(1, 9, NULL, '{chr(39) * 2_000_001}", False),
        ("SELECT NULL FROM " + "(" * 1_000_000, False),
        (" " * 2_000_000 + "SELECT 2", False),
        ("SELECT path, path_is_relative FROM " * 50_000, False),
        ("BEGIN;" * 200_000, False),
    ):
        began = time.process_time()
        assert allowed(policy, text) == good, text[:200]
        seconds = time.process_time() - began
        assert seconds < 0.5 + 1.5 * len(text) / 1e6, (
            f"{seconds:.2f} s for {len(text):,} characters: {text[:80]}"
        )


def test_the_alarm_goes_off_and_nothing_has_changed(
    pair: Pair, connection: duckdb.DuckDBPyConnection
) -> None:
    """Somebody with the internal token, at the catalog's own gateway."""
    if not isinstance(pair, TempPair):
        pytest.skip("needs the internal token")
    before = foreign(pair)
    token = (pair.directory / "tokens" / "internal-token").read_text().strip()
    uri = pair.info["catalog_uri"]
    connection.execute(f"CREATE SECRET catalog (TYPE quack, SCOPE '{uri}', TOKEN '{token}')")
    connection.execute(f"ATTACH '{uri}' AS c")

    def catalog(statement: str) -> list[tuple[object, ...]]:
        return connection.execute(f"FROM c.query({literal(statement)})").fetchall()

    settings = 'SELECT key, value, scope, scope_id FROM "main".ducklake_metadata'
    was = catalog(settings)
    catalog("BEGIN")
    catalog("INSERT INTO \"main\".ducklake_metadata VALUES ('mine', 'x', NULL, NULL)")
    for statement in FOREIGN:
        with pytest.raises(duckdb.Error, match="The catalog refused this"):
            catalog(statement)
    with pytest.raises(duckdb.Error):
        connection.execute("INSERT INTO c.main.ducklake_metadata VALUES ('mine', 'x', NULL, NULL)")
    assert catalog(settings) == was, "a refused statement took its transaction with it"
    assert foreign(pair) == before + len(FOREIGN) + 1
    refused = "neither DuckLake nor AzQuack sends"
    wait_until(lambda: refused in pair.log_text(), "the log says nothing of the alarm")
    assert token not in pair.log_text()
