"""`azquack sql`: several statements, parameters, and where the rows go."""

from __future__ import annotations

import itertools
import json
import os
import pty
import random
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azquack.cli.statements import statements
from azquack.errors import SettingError
from tests.cluster import TempPair

# Pieces that hold a semicolon or a parameter that is none, and how often a statement ends in them.
PIECES = [
    "SELECT 1",
    "'a;b'",
    '"c;d"',
    "$$e;f$$",
    "$t$;$x$t$",
    "/* ; $y */",
    "-- ; ?\n",
    "a$b",
    "é",
    "x::INT",
    "E'\\';'",
]


def test_a_text_is_split_where_statements_end_and_nowhere_else() -> None:
    chance = random.Random(1)
    for _ in range(300):
        made = [
            " ".join(chance.choices(PIECES, k=chance.randrange(1, 6))) for _ in range(chance.randrange(1, 5))
        ]
        told = [each for each in made if duckdb.tokenize(each)]
        assert statements(";".join(made), {}) == [each.strip() for each in told]


ODD = st.sampled_from(list("$?;'\"-/*\\ \n\0a1_é😀\ud800")) | st.sampled_from(PIECES)


@settings(max_examples=300, deadline=None)
@given(st.lists(ODD, max_size=12).map("".join))
def test_no_text_ends_in_anything_but_statements_or_a_sentence(text: str) -> None:
    said, made = "", []
    try:
        made = statements(text, {})
    except SettingError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1
    assert all(each == each.strip() and each in text for each in made)


@pytest.mark.parametrize("value", ["", "5", "it's", "$a", ";", "é", "\n", "'", "$$"])
def test_a_parameter_is_a_literal_wherever_it_stands(value: str) -> None:
    for text in (
        "SELECT $a::VARCHAR",
        "SELECT $a ::VARCHAR",
        "SELECT ($a)",
        "SELECT CASE WHEN 1=1 THEN $a END",
        "SELECT $a",
    ):
        [made] = statements(text, {"a": value})
        assert duckdb.execute(made).fetchall() == [(value,)]
    [made] = statements("SELECT $1/**/ || '$a' || $2 -- $3", {"1": value, "2": "x"})
    assert duckdb.execute(made).fetchall() == [(f"{value}$ax",)]


@pytest.mark.parametrize(
    ("text", "given", "sentence"),
    [
        ("SELECT $a", {}, "the parameter $a has no value"),
        ("SELECT 1", {"a": "1"}, "the text has no $a"),
        ("SELECT ?", {}, "write $name for ?"),
        ("SELECT $A", {"a": "1"}, "the parameter $A has no value"),
    ],
)
def test_a_parameter_without_a_value_or_a_value_without_one_is_refused(
    text: str, given: dict[str, str], sentence: str
) -> None:
    with pytest.raises(SettingError) as refused:
        statements(text, given)
    assert sentence in str(refused.value)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    with TempPair(tmp_path_factory.mktemp("sql") / "lake") as pair:
        yield pair


def run(
    pair: TempPair, *arguments: str | Path, stdout: int = subprocess.PIPE
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "azquack", "sql", "--dir", pair.directory, *arguments],
        stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60, cwd=pair.directory.parent,
    )  # fmt: skip


def test_of_several_statements_each_is_shown(pair: TempPair) -> None:
    text = "CREATE TABLE several (i INT); INSERT INTO several VALUES (7), (8);"
    shown = run(pair, "--format", "csv", f"{text} FROM several; SELECT sum(i) AS t FROM several;")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.decode().splitlines()[-5:] == ["i", "7", "8", "t", "15"]


def test_the_first_statement_that_fails_is_the_last(pair: TempPair) -> None:
    shown = run(pair, "CREATE TABLE once (i INT); FROM nowhere; DROP TABLE once")
    assert shown.returncode == 1
    assert b"nowhere" in shown.stderr
    assert run(pair, "FROM once").returncode == 0


def test_parameters_reach_the_statement(pair: TempPair) -> None:
    shown = run(
        pair,
        "--format",
        "json",
        "SELECT $a AS a, $n::INT + 1 AS n",
        "--param",
        "a=it's; $n",
        "--param",
        "n=4",
    )
    assert json.loads(shown.stdout) == [{"a": "it's; $n", "n": 5}]


def test_parquet_goes_into_a_pipe_and_not_onto_a_terminal(pair: TempPair, tmp_path: Path) -> None:
    shown = run(pair, "--format", "parquet", "SELECT 42 AS n")
    (tmp_path / "n.parquet").write_bytes(shown.stdout)
    assert duckdb.execute(f"FROM '{tmp_path}/n.parquet'").fetchall() == [(42,)]
    near, far = pty.openpty()
    try:
        refused = run(pair, "--format", "parquet", "SELECT 42 AS n", stdout=far)
    finally:
        os.close(near)
        os.close(far)
    assert refused.returncode == 2
    assert b"a terminal cannot show parquet" in refused.stderr


@pytest.mark.parametrize(
    ("format", "place"), list(itertools.product(["table", "csv", "json", "parquet"], ["gone", "dir"]))
)
def test_a_file_that_cannot_be_written_is_said_before_anything_runs(
    pair: TempPair, tmp_path: Path, format: str, place: str
) -> None:
    name = f"never_{format}_{place}"
    file = tmp_path / "not" / "there" if place == "gone" else tmp_path
    refused = run(pair, "--format", format, "--file", file, f"CREATE TABLE {name} (i INT)")
    assert refused.returncode == 2
    assert b"cannot be written" in refused.stderr
    assert b"Traceback" not in refused.stderr
    assert run(pair, f"FROM {name}").returncode == 1


def test_a_file_is_replaced_only_by_a_whole_result(pair: TempPair, tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("as it was")
    assert run(pair, "--format", "csv", "--file", file, "SELECT 1 AS a; FROM nowhere").returncode == 1
    assert file.read_text() == "as it was"
    assert run(pair, "--format", "csv", "--file", file, "SELECT 1 AS a").returncode == 0
    assert file.read_text() == "a\n1\n"
    assert [each.name for each in tmp_path.iterdir()] == ["rows.csv"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666])
@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_file_that_is_replaced_keeps_its_place_and_who_may_read_it(
    pair: TempPair, tmp_path: Path, kind: str, mode: int
) -> None:
    file, link = tmp_path / "rows.csv", tmp_path / "link.csv"
    file.write_text("secret")
    file.chmod(mode)
    link.symlink_to(file)
    given = file if kind == "file" else link
    assert run(pair, "--format", "csv", "--file", given, "SELECT 1 AS a").returncode == 0
    assert file.read_text() == "a\n1\n"
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert link.is_symlink()


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_a_pipe_is_written_to_and_stays_one(pair: TempPair, tmp_path: Path, format: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        assert run(pair, "--format", format, "--file", pipe, "SELECT 1 AS a").returncode == 0
        assert read.result(timeout=30).startswith(b"a\n1" if format == "csv" else b"PAR1")
    assert pipe.is_fifo()


def test_sql_that_is_no_utf8_is_refused_in_a_sentence(pair: TempPair) -> None:
    command: list[str | bytes | Path] = [sys.executable, "-m", "azquack", "sql", "--dir", pair.directory]
    wrong = b"SELECT '\xff'"
    for more, piped in (([wrong], b""), ([b"-"], wrong), ([b"SELECT $a", b"--param", b"a=\xff"], b"")):
        refused = subprocess.run([*command, *more], input=piped, capture_output=True, check=False, timeout=60)
        assert refused.returncode == 2
        assert refused.stderr == b"azquack: the SQL, or the value of a parameter, is no valid UTF-8\n"
