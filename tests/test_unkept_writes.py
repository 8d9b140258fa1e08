"""Writes that a catalog or a storage does not keep: status says so until one works again, and readers are served."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from tests.cluster import TempPair, attached, remote, wait_until

pytestmark = pytest.mark.timeout(300)
FEW, MANY = "INSERT INTO t VALUES (1)", "INSERT INTO t FROM range(100)"


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    with TempPair(tmp_path_factory.mktemp("unkept") / "lake") as pair:
        yield pair


def status(pair: TempPair, role: str) -> dict[str, Any]:
    url = pair.info["http_url" if role == "query" else "catalog_http_url"]
    body: dict[str, Any] = httpx.get(f"{url}/status").json()
    return body


def said(pair: TempPair, role: str) -> str:
    """What the status of the replica says of its writes; '' when they are well."""
    return str(status(pair, role)["checks"]["writes"]["detail"])


@contextmanager
def no_file_grows(pair: TempPair, role: str, node: str) -> Iterator[None]:
    """The process cannot write beyond the first bytes of any file: no disk is full, and none is read-only."""
    [pid] = [each["pid"] for each in status(pair, role)["processes"] if each["name"] == node]
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("role", "node", "writing", "sentence"),
    [
        ("catalog", "catalog-node", FEW, "the catalog could not keep the last commit (Could not write file"),
        ("query", "query-node-1", MANY, "no file can be written to the data path"),
    ],
)
def test_status_says_that_writes_are_not_kept(
    pair: TempPair, home: Path, role: str, node: str, writing: str, sentence: str
) -> None:
    with attached(pair, home) as connection:
        run: Callable[[str], Any] = lambda sql: connection.execute(remote(sql)).fetchall()  # noqa: E731
        run("CREATE OR REPLACE TABLE t AS SELECT range AS i FROM range(100)")
        wait_until(lambda: not said(pair, role), "writes that work are in trouble")
        with no_file_grows(pair, role, node):
            with pytest.raises(duckdb.Error):
                run(writing)
            wait_until(lambda: sentence in said(pair, role), lambda: f"the status says {said(pair, role)!r}")
            assert status(pair, role)["ready"], "a reader can still be served"
            url = pair.info["http_url" if role == "query" else "catalog_http_url"]
            assert "azquack_writes_failing 1.0" in httpx.get(f"{url}/metrics").text
            assert run("SELECT count(*) FROM t") == [(100,)]
        run(writing)
        wait_until(lambda: not said(pair, role), lambda: f"the status still says {said(pair, role)!r}")


def test_errors_of_a_statement_are_no_trouble(pair: TempPair, home: Path) -> None:
    with attached(pair, home) as connection:
        connection.execute(remote("CREATE OR REPLACE TABLE t AS SELECT range AS i FROM range(100)"))
        began = time.time()
        for wrong in (
            "INSERT INTO t VALUES ('x')",
            "INSERT INTO nowhere VALUES (1)",
            "CREATE TABLE t (i INT)",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(remote(wrong)).fetchall()
        connection.execute(remote(FEW)).fetchall()
    # Once a file was written for the errors, they are accounted for.
    probe = pair.directory / "data" / ".probe.azquack"
    wait_until(
        lambda: probe.exists() and probe.stat().st_mtime > began,
        "nothing looked whether a file can be written",
    )
    assert (said(pair, "query"), said(pair, "catalog")) == ("", "")
