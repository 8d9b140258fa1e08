"""Stock DuckDB clients other than the shell, used as people use them: Python, ADBC, JDBC."""

from __future__ import annotations

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import adbc_driver_duckdb.dbapi as adbc
import duckdb
import pyarrow as pa
import pytest

from azquack.quack import wire
from tests.cluster import Pair, attach_as_r, attached, remote

ROWS = 10_000


@pytest.fixture(scope="module")
def numbers(pair: Pair, home: Path) -> str:
    """The name of a table of `ROWS` rows (i, s), made by a client that then left."""
    with attached(pair, home) as connection:
        connection.execute(remote(f"CREATE TABLE numbers AS SELECT i, 'n' || i AS s FROM range({ROWS}) t(i)"))
    return "numbers"


def test_python_fetches_rows_frames_and_arrow(connection: duckdb.DuckDBPyConnection, numbers: str) -> None:
    query = remote(f"SELECT i, s FROM {numbers} WHERE i >= 4000 ORDER BY i")
    assert connection.execute(query).fetchone() == (4000, "n4000")
    frame = connection.execute(query).fetchdf()
    assert (len(frame), frame["i"].sum()) == (6000, sum(range(4000, ROWS)))
    table = connection.execute(query).to_arrow_table()
    assert table.schema == pa.schema({"i": pa.int64(), "s": pa.string()})
    assert table.column("s")[-1].as_py() == f"n{ROWS - 1}"
    batches = connection.execute(f"FROM r.{numbers}").to_arrow_reader(1000)
    assert sum(batch.num_rows for batch in batches) == ROWS


def test_python_writes_a_frame_and_an_arrow_table(connection: duckdb.DuckDBPyConnection) -> None:
    arrow = pa.table({"i": [1, 2, None], "s": ["a", None, "🦆"]})
    connection.register("arrow", arrow)
    connection.register("frame", arrow.to_pandas())
    for source in ("arrow", "frame"):
        connection.execute(f"CREATE TABLE r.from_{source} AS SELECT i::BIGINT AS i, s FROM {source}")
        assert connection.execute(remote(f"FROM from_{source}")).to_arrow_table().equals(arrow)


def test_python_threads_each_with_their_own_attach_do_not_disturb_each_other(
    pair: Pair, home: Path, numbers: str
) -> None:
    def work(thread: int) -> list[int]:
        with attached(pair, home) as connection:
            got = []
            for turn in range(5):
                pushed = remote(f"SELECT count(*) FROM {numbers} WHERE i % 8 = {thread}")
                native = f"SELECT count(*) FROM r.{numbers} WHERE i % 8 = {thread}"
                [(rows,)] = connection.execute(native if turn % 2 else pushed).fetchall()
                got.append(rows)
            return got

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[ROWS // 8] * 5] * 8


def test_a_client_without_attach_asks_by_uri(pair: Pair, home: Path, numbers: str) -> None:
    with duckdb.connect(":memory:") as connection:
        for each in attach_as_r(pair, home)[:-1]:
            connection.execute(each)
        asked = connection.execute("FROM quack_query(?, ?)", [pair.uri, f"SELECT max(i) FROM {numbers}"])
        assert asked.fetchall() == [(ROWS - 1,)]


def test_adbc_reads_and_writes(pair: Pair, home: Path, numbers: str) -> None:
    with adbc.connect(":memory:", autocommit=True) as connection, connection.cursor() as cursor:
        for each in attach_as_r(pair, home):
            cursor.execute(each)
        cursor.execute(remote(f"SELECT i, s FROM {numbers} WHERE i < 3 ORDER BY i"))
        assert cursor.fetch_arrow_table().to_pydict() == {"i": [0, 1, 2], "s": ["n0", "n1", "n2"]}
        cursor.adbc_ingest("local", pa.table({"i": [7, 8]}))
        cursor.execute("CREATE TABLE r.from_adbc AS FROM memory.local")
        cursor.execute(remote("SELECT sum(i)::BIGINT FROM from_adbc"))
        assert cursor.fetchall() == [(15,)]


@pytest.fixture(scope="session")
def jdbc_jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DuckDB's JDBC driver of the pinned DuckDB, as Maven gets it."""
    if missing := [program for program in ("java", "mvn") if not shutil.which(program)]:
        pytest.skip(f"the JDBC driver needs {' and '.join(missing)} on PATH")
    directory = tmp_path_factory.mktemp("jdbc")
    release = f"{version('duckdb')}.0"
    fetched = subprocess.run(
        [
            "mvn", "--quiet", "--batch-mode", "dependency:copy",
            f"-Dartifact=org.duckdb:duckdb_jdbc:{release}", f"-DoutputDirectory={directory}",
        ],
        capture_output=True, text=True, timeout=150, check=False, cwd=directory,
    )  # fmt: skip
    if fetched.returncode != 0:
        pytest.skip(f"Maven could not get duckdb_jdbc {release}: {fetched.stdout.strip()[-300:]}")
    return directory / f"duckdb_jdbc-{release}.jar"


def test_jdbc_reads_and_writes(pair: Pair, home: Path, numbers: str, jdbc_jar: Path) -> None:
    statements = [
        *attach_as_r(pair, home),
        "CREATE TABLE r.from_jdbc AS SELECT 42 AS i, '🦆' AS s",
        remote(f"SELECT i, s FROM from_jdbc UNION ALL SELECT max(i), max(s) FROM {numbers} ORDER BY i"),
    ]
    source = Path(__file__).with_name("JdbcClient.java")
    finished = subprocess.run(
        ["java", "-Dfile.encoding=UTF-8", "-cp", str(jdbc_jar), str(source)],
        input="\n".join(statements), capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines() == ["42\t🦆", f"{ROWS - 1}\tn{ROWS - 1}"]


def test_javas_own_http_client_logs_in_although_it_offers_http_2(pair: Pair) -> None:
    if not shutil.which("java"):
        pytest.skip("Java's HTTP client needs java on PATH")
    login = wire.connection_request(wire.ConnectionRequest(pair.token, "v1.5.5", "java", 1, 1))
    finished = subprocess.run(
        [
            "java", str(Path(__file__).with_name("JavaLogin.java")),
            pair.uri.replace("quack:", "http://", 1) + "/quack", login.hex(),
        ],
        capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    for line in finished.stdout.splitlines():
        status, protocol, body = line.split(" ")
        assert (status, protocol) == ("200", "HTTP_1_1")
        assert wire.parse_header(bytes.fromhex(body)).connection_id
