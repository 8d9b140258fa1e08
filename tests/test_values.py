"""Every type, its extremes and its forms: a value comes back as it was written, or is refused in a sentence.

Whatever was accepted, the flush, the merge and the check of the whole lake go well afterwards.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from azquack.sql import literal
from tests.cluster import TempPair, attached, remote
from tests.link.test_quoted import WRITTEN

# So many tables in the quick suite; each is a type in a form, with all of its extremes.
SOME = int(os.environ.get("AZQUACK_TEST_VALUES", "4"))
# More rows than stay in the catalog.
MANY = 15
HUGE = (
    "170141183460469231731687303715884105727", "-170141183460469231731687303715884105727", "9007199254740993",
    "-9007199254740993", "9007199254740991", "-9007199254740991", "0",
)  # fmt: skip
VALUES: dict[str, tuple[str, ...]] = {
    "BOOLEAN": ("true", "false"),
    "TINYINT": ("-128", "127"),
    "BIGINT": ("-9223372036854775808", "9223372036854775807"),
    "UBIGINT": ("0", "18446744073709551615"),
    "HUGEINT": HUGE,
    "UHUGEINT": ("340282366920938463463374607431768211455", *(each for each in HUGE if each[0] != "-")),
    "DECIMAL(4,1)": ("-999.9", "999.9"),
    "DECIMAL(38,0)": ("-" + "9" * 38, "9" * 38),
    "FLOAT": ("0.1", "inf", "-inf", "nan", "3.4028235e38", "1e-45", "-0.0"),
    "DOUBLE": ("0.1", "inf", "-inf", "nan", "1.7976931348623157e308", "5e-324", "-0.0"),
    "VARCHAR": ("", "🦆", "it''s", "NULL"),
    "BLOB": ("", r"\x00\xFF"),
    "DATE": ("5877642-06-25 (BC)", "5881580-07-10", "infinity", "-infinity"),
    "TIME": ("00:00:00", "23:59:59.999999", "24:00:00"),
    "TIMESTAMP": ("290309-12-22 (BC) 00:00:00", "294247-01-10 04:00:54.775806", "infinity", "-infinity"),
    "TIMESTAMP_S": ("1969-12-31 23:59:59", "9999-12-31 23:59:59", "infinity", "-infinity"),
    "TIMESTAMP_MS": ("1969-12-31 23:59:59.999", "9999-12-31 23:59:59.999", "infinity"),
    "TIMESTAMP_NS": ("1969-12-31 23:59:59.999999999", "2262-04-11 23:47:16.854775806", "infinity"),
    "TIMESTAMPTZ": ("2026-01-01 12:00:00+05:30", "infinity"),
    "INTERVAL": ("1 microsecond", "-1 day", "100 days 99 hours"),
    "UUID": ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "JSON": ('{"a": [1, null]}', "null"),
}  # fmt: skip
FORMS = {
    "plain": "{v}",
    "struct": "{{'a': {v}, 'b': 1e300::DOUBLE}}",
    "list": "[{v}, NULL]",
    "map": "MAP {{'k': {v}}}",
    "twice": "{{'a': [{{'b': [{v}], 'c': -1e300::DOUBLE}}]}}",
}
CASES = list(itertools.product(VALUES, FORMS, (1, MANY)))
# What a refusal names: the type, in our words or in DuckDB's.
REFUSALS = ("HUGEINT", "TIMESTAMP_S", "Timestamp(S)", "INTERVAL")
MERGED = ("CALL ducklake_flush_inlined_data('lake')", "CALL ducklake_merge_adjacent_files('lake')")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    with TempPair(tmp_path_factory.mktemp("values") / "lake") as pair:
        yield pair


class Tables:
    """Tables of one column, one for each case that is accepted."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count()
        self.holds: dict[str, list[str]] = {}
        self.refused: list[str] = []

    def run(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(remote(sql)).fetchall()

    def add(self, kind: str, form: str, rows: int) -> None:
        """All extremes in one table; each in one of its own when they are refused together."""
        written = [FORMS[form].format(v=f"'{each}'::{kind}") for each in VALUES[kind]]
        if not self._made(written, kind, rows):
            for each in written:
                self._made([each], kind, rows)

    def _made(self, written: list[str], kind: str, rows: int) -> bool:
        name = f"v{next(self._numbers)}"
        query = " UNION ALL ".join(f"SELECT {each} AS v" for each in written)
        try:
            # Twice, so that there are files to merge.
            self.run(f"CREATE TABLE {name} AS SELECT v FROM ({query}), range({rows})")
            self.run(f"INSERT INTO {name} SELECT v FROM ({query}), range({rows})")
        except duckdb.Error as error:
            said = str(error)
            assert "INTERNAL" not in said, said
            assert any(each in said for each in REFUSALS), f"{kind}: {said}"
            self.refused.append(kind)
            self.run(f"DROP TABLE IF EXISTS {name}")
            return False
        self.holds[name] = written
        return True

    def compare(self, when: str) -> None:
        """Each table has what was written, and finds it by equality."""
        for name, written in self.holds.items():
            [own] = self._connection.execute(
                f"SELECT list_sort([{', '.join(f'({e})::VARCHAR' for e in written)}])"
            ).fetchall()
            [found] = self.run(f"SELECT list_sort(list(DISTINCT v::VARCHAR)) FROM {name}")
            assert found == own, f"{name} {when}"
            for each in written:
                [(count,)] = self.run(f"SELECT count(*) FROM {name} WHERE v = {each}")
                [(total,)] = self.run(f"SELECT count(*) FROM {name}")
                # 0.0 and -0.0 are equal.
                assert [count * len(written)] == [total], f"{name}: {each} {when}"


def every_value(pair: TempPair, home: Path, cases: list[tuple[str, str, int]]) -> list[str]:
    """Write, read, merge, read; the types of which something was refused."""
    with attached(pair, home) as connection:
        tables = Tables(connection)
        for case in cases:
            tables.add(*case)
        tables.compare("as written")
        for each in MERGED:
            tables.run(each)
        tables.compare("in merged files")
        for command in ("maintain", "check"):
            done = subprocess.run(
                [sys.executable, "-m", "azquack", command, "--dir", str(pair.directory)],
                capture_output=True, text=True, check=False, timeout=600,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout + done.stderr
        assert "nothing is wrong" in done.stdout
        tables.compare("after a maintenance")
        for name in tables.holds:
            tables.run(f"DROP TABLE {name}")
    return tables.refused


@pytest.mark.timeout(300)
def test_some_values_come_back_or_are_refused(pair: TempPair, home: Path) -> None:
    huge = [case for case in CASES if case[0] == "HUGEINT" and case[1:] in (("plain", MANY),)]
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    refused = every_value(pair, home, [*huge, *random.Random(seed).sample(CASES, SOME)])
    assert "HUGEINT" in refused


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_value_comes_back_or_is_refused(pair: TempPair, home: Path) -> None:
    refused = every_value(pair, home, CASES)
    assert set(refused) == {"HUGEINT", "UHUGEINT", "TIMESTAMP_S", "INTERVAL"}


@pytest.mark.timeout(300)
def test_no_message_or_other_text_opens_the_way_to_such_a_value(pair: TempPair, home: Path) -> None:
    with attached(pair, home) as connection:

        def run(sql: str) -> list[tuple[Any, ...]]:
            return connection.execute(remote(sql)).fetchall()

        run("CREATE TABLE seconds (t TIMESTAMP_S)")
        run("CREATE TABLE wide (h HUGEINT)")
        run("CREATE TABLE said (s VARCHAR)")
        for text in WRITTEN:
            for write in (
                "INSERT INTO seconds VALUES ('infinity')",
                f"INSERT INTO wide SELECT 170141183460469231731687303715884105727 FROM range({MANY})",
            ):
                run("BEGIN")
                run(f"CALL lake.set_commit_message('ann', {literal(text)}, extra_info => {literal(text)})")
                run(f"INSERT INTO said VALUES ({literal(text)})")
                run(write)
                with pytest.raises(duckdb.Error, match=r"TIMESTAMP_S|HUGEINT"):
                    run("COMMIT")
            # By itself it is a text as any other.
            run("BEGIN")
            run(f"INSERT INTO said VALUES ({literal(text)})")
            run(f"INSERT INTO said SELECT {literal(text)} FROM range({MANY})")
            run("COMMIT")
        assert sorted(run("FROM said")) == sorted([(text,) for text in WRITTEN] * (MANY + 1))
        for table in ("seconds", "wide", "said"):
            run(f"DROP TABLE {table}")


@pytest.mark.timeout(300)
def test_defaults_and_wider_types_keep_their_values(pair: TempPair, home: Path) -> None:
    with attached(pair, home) as connection:
        tables = Tables(connection)
        tables.run("CREATE TABLE widened (i INTEGER, t TINYINT, u UINTEGER, d DECIMAL(4,1))")
        tables.run(f"INSERT INTO widened SELECT -2147483648, -128, 4294967295, 999.9 FROM range({MANY})")
        tables.run("INSERT INTO widened VALUES (2147483647, 127, 0, -999.9)")
        for column, wider in (("i", "BIGINT"), ("t", "INTEGER"), ("u", "BIGINT")):
            tables.run(f"ALTER TABLE widened ALTER {column} TYPE {wider}")
        tables.run("ALTER TABLE widened ADD COLUMN e BIGINT DEFAULT -9223372036854775808")
        tables.run("INSERT INTO widened (i) VALUES (9223372036854775807)")
        read = "SELECT DISTINCT i, t, u, d, e FROM widened ORDER BY i"
        before = tables.run(read)
        for each in MERGED:
            tables.run(each)
        assert tables.run(read) == before
        assert tables.run("SELECT count(*) FROM widened WHERE i = -2147483648 AND u = 4294967295") == [
            (MANY,)
        ]
        tables.run("DROP TABLE widened")
