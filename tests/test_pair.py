"""The pair as it is started, stopped, set up and misused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import psutil
import pytest
from pydantic import SecretStr

from azquack.catalog import epochs
from azquack.lake import client, lake_id
from azquack.replicas.local import LakeDirectory, Running
from tests.cluster import Shell, TempPair, end, read_line, wait_until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[TempPair]:
    """A pair that is not started yet."""
    made = TempPair(tmp_path / "lake")
    yield made
    made.destroy()


@pytest.fixture
def shell(pair: TempPair, tmp_path: Path) -> Shell:
    return Shell(pair, tmp_path / "home")


def test_a_second_up_serves_the_same_lake(pair: TempPair, shell: Shell) -> None:
    pair.start()
    shell.run("CREATE TABLE r.kept AS SELECT 42 AS answer")
    token = pair.token
    assert pair.stop() == 0
    pair.start()
    assert pair.token == token
    assert shell.rows("FROM r.kept") == "answer\n42"


def test_two_at_once_on_one_directory_are_refused(pair: TempPair) -> None:
    pair.start()
    second = subprocess.run(
        [sys.executable, "-m", "azquack", "up", "--dir", str(pair.directory), "--port", "0"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert second.returncode == 1
    assert f"is up already (pid {pair.pid}" in second.stderr
    assert "azquack down --dir" in second.stderr


def test_up_in_the_background_and_down(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "azquack", *arguments],
            cwd=tmp_path, capture_output=True, text=True, check=True, timeout=90,
        )  # fmt: skip

    info = json.loads(run("up", "--port", "0", "--demo", "--detach", "--json").stdout)
    try:
        assert {"uri", "token", "http_url", "pid", "dir"} <= info.keys()
        assert info["dir"] == str(tmp_path / "lake")
        assert run("sql", "--format", "csv", "SELECT count(*) AS n FROM demo.events").stdout == "n\n10000\n"
        rows = run("sql", "--format", "json", "SELECT 1 AS a, NULL AS b").stdout
        assert json.loads(rows) == [{"a": 1, "b": None}]
        run("sql", "--format", "parquet", "--file", "e.parquet", "FROM demo.events")
        assert duckdb.sql(f"SELECT count(*) FROM '{tmp_path}/e.parquet'").fetchone() == (10000,)
        wait_until(lambda: _status(tmp_path).get("query", {}).get("ready"), "the status never said ready")
        status = _status(tmp_path)
        assert status["lake"]["tables"] == 1
        assert status["query"]["versions"]["duckdb"]
        attached = subprocess.run(
            [sys.executable, "-m", "azquack", "connect"],
            input="FROM query('SELECT 6 * 7 AS answer');", cwd=tmp_path,
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        assert "42" in attached.stdout
        assert info["token"] not in (tmp_path / "lake" / "up.log").read_text()
    finally:
        assert run("down").stdout == "stopped\n"
    wait_until(lambda: not psutil.pid_exists(info["pid"]), "the pair outlived azquack down")


def _status(directory: Path) -> dict[str, Any]:
    finished = subprocess.run(
        [sys.executable, "-m", "azquack", "status", "--json"],
        cwd=directory, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    body: dict[str, Any] = json.loads(finished.stdout)
    return body


def test_a_lake_of_another_data_path_is_refused(pair: TempPair, tmp_path: Path) -> None:
    pair.start()
    assert pair.stop() == 0
    sentence = refusal(pair, "--data-path", str(tmp_path / "elsewhere"))
    assert "belongs to a lake with another data path" in sentence
    assert str(tmp_path / "lake" / "data") in sentence


def test_a_catalog_of_a_newer_duckdb_is_refused(pair: TempPair) -> None:
    pair.start()
    assert pair.stop() == 0
    file = epochs.newest(pair.directory / "catalog")
    before = file.read_bytes()
    # The storage version stands after the checksum and the magic bytes of the main header.
    changed = bytearray(before)
    changed[12:20] = (999).to_bytes(8, "little")
    changed[0:8] = header_checksum(bytes(changed[8:4096])).to_bytes(8, "little")
    file.write_bytes(changed)
    assert "newer version" in refusal(pair)
    assert file.read_bytes() == bytes(changed), "a refused catalog was changed"


def header_checksum(payload: bytes) -> int:
    """The checksum that DuckDB writes before a header block (its src/common/checksum.cpp)."""
    checksum = 5381
    for at in range(0, len(payload), 8):
        word = int.from_bytes(payload[at : at + 8], "little")
        checksum ^= word * 0xBF58476D1CE4E5B9 % 2**64
    return checksum


def refusal(pair: TempPair, *flags: str) -> str:
    """What `azquack up` says when it will not."""
    finished = subprocess.run(
        [sys.executable, "-m", "azquack", "up", "--dir", str(pair.directory), "--port", "0", *flags],
        capture_output=True, text=True, check=False, timeout=90,
    )  # fmt: skip
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert "Traceback" not in finished.stderr
    return finished.stderr


def test_a_pair_heeds_the_environment(tmp_path: Path) -> None:
    env = {"AZQUACK_PUBLIC_ROLE": "reader", "AZQUACK_DATA_PATH": str(tmp_path / "elsewhere")}
    with TempPair(tmp_path / "lake", env=env) as pair:
        refused = Shell(pair, tmp_path / "home").run("CREATE TABLE r.t AS SELECT 1 AS i", check=False)
        assert refused.returncode != 0
        assert lake_id.lake_in((tmp_path / "elsewhere" / lake_id.MARK).read_text())
        assert not (tmp_path / "lake" / "data").exists()


def test_a_wrong_token_is_refused(pair: TempPair, shell: Shell) -> None:
    pair.start()
    finished = shell.run("FROM r.query('SELECT 1')", token="not-the-token-1", check=False)
    assert finished.returncode != 0
    assert "Authentication failed" in finished.stderr
    assert "not-the-token-1" not in pair.log_text()


def test_the_settings_of_a_lake_reach_it(tmp_path: Path) -> None:
    init = tmp_path / "init.sql"
    init.write_text("CREATE TABLE IF NOT EXISTS team.notes (note VARCHAR);\n")
    pair = TempPair(
        tmp_path / "lake", "--name", "node-7", "--encrypted", "--inlining-limit", "0",
        "--target-file-size", "10MB", "--init-sql", "CREATE SCHEMA IF NOT EXISTS team",
        "--init-file", str(init), "--query-log",
    )  # fmt: skip
    try:
        pair.start()
        shell = Shell(pair, tmp_path / "home")
        assert shell.rows("FROM r.query('SELECT name FROM whoami()')") == "name\nnode-7"
        shell.run(
            "CREATE TABLE r.t AS SELECT 'find me' AS s",
            "FROM r.query('INSERT INTO team.notes VALUES (''x'')')",
        )
        options = "FROM r.query('SELECT option_name, value FROM ducklake_options(''lake'')')"
        listed = shell.rows(options)
        assert "encrypted,true" in listed
        assert "target_file_size,10000000" in listed
        files = list((pair.directory / "data").rglob("*.parquet"))
        assert len(files) == 2, "with an inlining limit of 0 every insert is a file"
        with pytest.raises(duckdb.Error, match="encrypt"):
            duckdb.sql(f"FROM '{files[0]}'").fetchall()
        wait_until(lambda: "team.notes" in pair.log_text(), "the query log shows no statement")
    finally:
        pair.destroy()


def test_a_read_only_lake_refuses_every_write(pair: TempPair, tmp_path: Path) -> None:
    pair.start()
    Shell(pair, tmp_path / "home").run("CREATE TABLE r.t AS SELECT 1 AS i")
    assert pair.stop() == 0
    with TempPair(pair.directory, "--read-only") as closed:
        shell = Shell(closed, tmp_path / "home")
        assert shell.rows("FROM r.t") == "i\n1"
        for write in ("INSERT INTO t VALUES (2)", "DROP TABLE t", "CREATE SCHEMA s", "UPDATE t SET i = 2"):
            finished = shell.run(f"FROM r.query('{write}')", check=False)
            assert "read-only" in finished.stderr, write
        assert shell.rows("FROM r.t") == "i\n1"


# Brings the loopback up: SIOCGIFFLAGS, then SIOCSIFFLAGS with IFF_UP (netdevice(7)).
UP = (
    "import fcntl, socket, struct; s = socket.socket(); "
    "name, flags = struct.unpack('16sh', fcntl.ioctl(s, 0x8913, struct.pack('16sh', b'lo', 0))); "
    "fcntl.ioctl(s, 0x8914, struct.pack('16sh', name, flags | 1))"
)


@pytest.mark.skipif(shutil.which("unshare") is None, reason="unshare (util-linux) is not installed")
def test_the_pair_starts_and_serves_with_no_network_at_all(tmp_path: Path) -> None:
    """In a network namespace that has a loopback and nothing else."""
    inside = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if subprocess.run([*inside, "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not let us make a network namespace")
    python = sys.executable
    script = f"""
        set -e
        {python} -c "{UP}"
        ! timeout 5 {python} -c "import socket; socket.create_connection(('192.0.2.1', 80), 2)" 2>/dev/null
        {python} -m azquack up --dir lake --port 0 --demo --detach --json > up.json
        {python} -m azquack sql --format csv 'SELECT count(*) AS n FROM demo.events'
        {python} -m azquack down
    """
    home = tmp_path / "nobody"
    home.mkdir()
    finished = subprocess.run(
        [*inside, "sh", "-c", script],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        # No extension that an earlier DuckDB of this user has downloaded can help.
        env=os.environ | {"HOME": str(home)},
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    assert "n\n10000\n" in finished.stdout


def test_serve_runs_one_role_at_a_time(tmp_path: Path) -> None:
    """The two roles as the container runs them, each with its own environment."""
    tokens = {"AZQUACK_INTERNAL_TOKEN": "internal-token-of-tests"}
    catalog = serve("catalog", tokens | {"AZQUACK_CATALOG_DIR": str(tmp_path / "c")})
    try:
        ports = json.loads(read_line(catalog, "the catalog role did not start"))["ports"]
        query = serve("query", tokens | {
            "AZQUACK_PUBLIC_TOKEN": "public-token-of-tests",
            "AZQUACK_CATALOG": f"quack:127.0.0.1:{ports['catalog-gateway']}",
            "AZQUACK_DATA_PATH": str(tmp_path / "d"),
        })  # fmt: skip
        try:
            ports = json.loads(read_line(query, "the query role did not start"))["ports"]
            gateway = client.Target(
                f"quack:127.0.0.1:{ports['query-gateway']}", SecretStr("public-token-of-tests"), tls=False
            )
            with client.connection(gateway) as attached:
                attached.execute("CREATE TABLE lake.t AS SELECT 42 AS i")
                assert attached.execute("FROM lake.t").fetchall() == [(42,)]
        finally:
            assert end(query, first=signal.SIGTERM) == 0
    finally:
        assert end(catalog, first=signal.SIGTERM) == 0


def serve(role: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "azquack", "serve", role],
        env=os.environ | env | {"AZQUACK_PORT": "0"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def run_sql(pair: TempPair, statement: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "azquack", "sql", "--dir", str(pair.directory), *flags, statement]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_sql_runs_its_statement_once(pair: TempPair, tmp_path: Path) -> None:
    pair.start()

    def sql(statement: str, *flags: str) -> str:
        result = run_sql(pair, statement, *flags)
        assert result.returncode == 0, result.stderr
        return result.stdout

    sql("CREATE TABLE counted (i INTEGER)")
    for each in ("table", "csv", "json"):
        sql("INSERT INTO counted VALUES (1)", "--format", each)
    sql("INSERT INTO counted VALUES (1)", "--format", "parquet", "--file", str(tmp_path / "answer.parquet"))
    assert sql("SELECT count(*) FROM counted", "--format", "csv").splitlines()[1] == "4"


def test_an_error_of_sql_shows_the_users_statement_and_no_other(pair: TempPair) -> None:
    pair.start()
    result = run_sql(pair, "FROM nowhere")
    assert result.returncode == 1
    assert "nowhere does not exist" in result.stderr
    assert "LINE 1: FROM nowhere" in result.stderr
    assert "CREATE TEMP TABLE" not in result.stderr


@pytest.mark.parametrize("way", ["relative", "absolute"])
def test_a_pair_whose_data_a_flag_has_placed_is_maintained_there(tmp_path: Path, way: str) -> None:
    """From whatever directory; a relative path is one of the directory that `up` was run in."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    place = "data of it" if way == "relative" else str(tmp_path / "data of it")
    with TempPair(tmp_path / "lake", "--data-path", place) as pair:
        assert run_sql(pair, "CREATE TABLE t AS SELECT i FROM range(1000) r(i)").returncode == 0
        done = subprocess.run(
            [sys.executable, "-m", "azquack", "maintain", "--dir", str(pair.directory), "--dry-run", "--json"],
            capture_output=True, text=True, check=True, timeout=60, cwd=elsewhere,
        )  # fmt: skip
        assert json.loads(done.stdout)["before"]["all_files"] == 1
        assert not list(elsewhere.iterdir())


def test_what_a_killed_pair_announced_is_no_word_about_the_next_one(tmp_path: Path) -> None:
    lake = LakeDirectory(tmp_path)
    said = Running(
        "quack:localhost:1", "quack:localhost:2", "http://a", "http://b", 1, "lake", "then", "", "/other"
    )
    lake.announce(said)
    with lake.owned():
        assert lake.running() is None
        assert lake.load(env_file=None).settings.data_path == str(tmp_path / "data")
