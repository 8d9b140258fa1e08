"""The pair when a process of it dies, when a client vanishes, and what others can see of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import httpx
import psutil
import pytest

from tests.cluster import Shell, TempPair, attached, wait_until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[TempPair]:
    """A pair that is not started yet."""
    made = TempPair(tmp_path / "lake")
    yield made
    made.destroy()


@pytest.fixture
def shell(pair: TempPair, tmp_path: Path) -> Shell:
    return Shell(pair, tmp_path / "home")


def ready(pair: TempPair) -> dict[str, Any] | None:
    """The body of /readyz once it says 200."""
    try:
        answer = httpx.get(f"{pair.http_url}/readyz", timeout=5, trust_env=False)
    except httpx.TransportError:
        return None
    body: dict[str, Any] = answer.json()
    return body if answer.status_code == 200 else None


def children(pair: TempPair) -> dict[str, psutil.Process]:
    """The pair's own processes by name, as its status tells them."""
    found: dict[str, psutil.Process] = {}
    for url in (pair.http_url, pair.info["catalog_http_url"]):
        status = httpx.get(f"{url}/status", timeout=5, trust_env=False).json()
        found |= {each["name"]: psutil.Process(each["pid"]) for each in status["processes"] if each["pid"]}
    return found


@pytest.mark.parametrize("victim", ["query-node-1", "catalog-node", "query-gateway", "catalog-gateway"])
def test_a_killed_process_comes_back(victim: str, pair: TempPair, shell: Shell) -> None:
    pair.start()
    wait_until(lambda: ready(pair), "the pair never became ready")
    shell.run("CREATE TABLE r.kept AS SELECT 42 AS answer")
    process = children(pair)[victim]
    process.kill()
    wait_until(partial(is_gone, process), f"{victim} survived a SIGKILL")
    wait_until(
        lambda: shell.run("FROM r.query('FROM kept')", check=False).stdout.strip() == "answer\n42",
        f"the lake did not come back after {victim} was killed",
    )
    wait_until(lambda: ready(pair), f"the pair did not become ready after {victim} was killed")
    assert "SIGKILL" in pair.log_text()


def test_nothing_outlives_a_killed_supervisor(pair: TempPair) -> None:
    pair.start()
    wait_until(lambda: ready(pair), "the pair never became ready")
    left = list(children(pair).values())
    psutil.Process(pair.pid).kill()
    for process in left:
        wait_until(partial(is_gone, process), f"{process} outlived its supervisor")


def is_gone(process: psutil.Process) -> bool:
    """Whether the process has ended; where nobody reaps orphans, a zombie is what stays of it."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_no_secret_is_in_an_argument_an_environment_or_the_log(pair: TempPair, shell: Shell) -> None:
    pair.start()
    shell.run("CREATE TABLE r.t AS SELECT 1 AS i", "FROM r.query('SELECT nonsense')", check=False)
    secrets = [(pair.directory / "tokens" / name).read_text() for name in ("public-token", "internal-token")]
    for process in [psutil.Process(pair.pid), *children(pair).values()]:
        seen = " ".join(process.cmdline()) + str(process.environ())
        assert not any(secret in seen for secret in secrets), process.name()
    assert not any(secret in pair.log_text() for secret in secrets)
    for path in (pair.directory / "tokens").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_the_public_sees_says_nothing_of_the_platform(pair: TempPair) -> None:
    pair.start()
    body = wait_until(lambda: ready(pair), "the pair never became ready")
    assert body["checks"].keys() >= {"duckdb", "lake", "catalog", "storage", "canary"}
    assert all(check["status"] == "ok" and check["lastCheck"] for check in body["checks"].values())
    public = pair.uri.replace("quack:", "http://")
    for path in ("/status", "/metrics", "/docs", "/openapi.json"):
        answer = httpx.get(public + path, timeout=5, trust_env=False)
        assert answer.status_code == 404, path
        assert "duckdb" not in answer.text.lower()


def test_the_transaction_of_a_client_that_vanished_is_rolled_back(tmp_path: Path) -> None:
    with TempPair(tmp_path / "lake", "--idle-timeout", "2") as pair:
        shell = Shell(pair, tmp_path / "home")
        shell.run("CREATE TABLE r.t AS SELECT 1 AS i")
        with attached(pair, tmp_path / "other") as vanished:
            vanished.execute("FROM r.query('BEGIN')").fetchall()
            vanished.execute("FROM r.query('UPDATE t SET i = 2')").fetchall()
            wait_until(lambda: '"last": "UPDATE"' in pair.log_text(), "the idle session was never ended")
            with pytest.raises(duckdb.Error, match="DETACH it and ATTACH it again"):
                vanished.execute("FROM r.query('COMMIT')").fetchall()
        assert shell.rows("FROM r.t") == "i\n1"
