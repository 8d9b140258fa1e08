"""The Rust crate quack_protocol as a client: a small program of ours that uses it, built where cargo is."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cluster import Pair

HERE = Path(__file__).parent / "client"
BUILT = HERE / "target" / "release" / "quack3-client"


@pytest.fixture(scope="module")
def program() -> Path:
    """The program; a first build takes a minute or more, so the quick tests use the one that is there."""
    cargo = shutil.which("cargo")
    if cargo is None:
        pytest.skip("the crate's client needs cargo, which is not here")
    if not BUILT.exists() and "AZQUACK_TEST_CARGO" not in os.environ:
        pytest.skip("the crate's client is not built: `make quack3-client` builds it")
    subprocess.run([cargo, "build", "--release", "--locked", "--quiet"], cwd=HERE, check=True, timeout=900)
    return BUILT


class Crate:
    """The running program: `ask` a statement, and get its line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.greeting = self.line()

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def ask(self, statement: str) -> str:
        assert self._process.stdin is not None
        self._process.stdin.write(statement + "\n")
        self._process.stdin.flush()
        return self.line()

    def rows(self, statement: str) -> tuple[int, str]:
        """How many rows there were, and the first one."""
        word, count, _, first = self.ask(statement).split(" ", 3)
        assert word == "ok", (count, first)
        return int(count), first


@contextmanager
def crate(program: Path, pair: Pair, **environment: str) -> Iterator[Crate]:
    process = subprocess.Popen(
        [program, pair.uri.split(":", 1)[1]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "QUACK_TOKEN": pair.token, **environment},
    )
    with process:
        yield Crate(process)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=30)


@pytest.mark.parametrize(("bounds", "version"), [({}, 3), ({"QUACK_HIGHEST": "1"}, 1)], ids=["both", "one"])
def test_the_crate_gets_the_version_that_it_asks_for(
    program: Path, pair: Pair, bounds: dict[str, str], version: int
) -> None:
    with crate(program, pair, **bounds) as client:
        assert client.greeting == f"connected {version}"
        assert client.rows("SELECT 42 AS a, 'ä' AS b") == (1, 'Int(42) String("ä")')


def test_results_of_every_length_and_type_reach_the_crate(program: Path, pair: Pair) -> None:
    with crate(program, pair) as client:
        for rows in (0, 1, 2048, 2049, 24_576, 24_577, 300_000):
            assert client.rows(f"SELECT range, 'row ' || range FROM range({rows})")[0] == rows
        # The crate reads a BIT and a BIGNUM as text, which they are not.
        assert client.rows("SELECT * EXCLUDE (bit, bignum) FROM test_all_types()")[0] == 3
        for value, shown in (
            ("1.50::DECIMAL(9, 2)", "Decimal(DecimalValue { value: 150, width: 9, scale: 2 })"),
            ("[1, NULL]", "List([Int(1), Null])"),
            ("{'a': 'x'}", 'Struct({"a": String("x")})'),
            ("'\\xFF'::BLOB", "Bytes([255])"),
            ("DATE '2026-11-29'", "Date(DateValue { days: 20786 })"),
            ("NULL::VARCHAR", "Null"),
            (
                "170141183460469231731687303715884105727::HUGEINT",
                "HugeInt(170141183460469231731687303715884105727)",
            ),
        ):
            assert client.rows(f"SELECT {value}") == (1, shown)


def test_the_crate_writes_in_transactions_and_is_told_errors(program: Path, pair: Pair) -> None:
    with crate(program, pair) as client:
        client.rows("CREATE OR REPLACE TABLE main.q3_crate(a BIGINT)")
        client.rows("BEGIN")
        client.rows("INSERT INTO main.q3_crate SELECT range FROM range(10)")
        assert client.rows("SELECT count(*) FROM main.q3_crate") == (1, "Int(10)")
        client.rows("ROLLBACK")
        assert client.rows("SELECT count(*) FROM main.q3_crate") == (1, "Int(0)")
        assert "Table with name q3_nope does not exist" in client.ask("FROM q3_nope")
        assert client.rows("SELECT 1") == (1, "Int(1)")
        client.rows("DROP TABLE main.q3_crate")


def test_the_crates_heartbeats_keep_its_session(program: Path, pair: Pair) -> None:
    with crate(program, pair, QUACK_HEARTBEAT="1") as client:
        client.rows("CREATE TEMP TABLE kept AS SELECT 7 AS a")
        assert client.ask("beat 2.5") == "ok"
        assert client.rows("FROM kept") == (1, "Int(7)")


def test_a_wrong_token_is_told_to_the_crate(program: Path, pair: Pair) -> None:
    with crate(program, pair, QUACK_TOKEN="no such token") as client:
        assert client.greeting.startswith("error quack server error: Authentication failed")
