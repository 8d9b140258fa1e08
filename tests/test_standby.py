"""A second catalog on the same directory: it waits, says so, and takes over."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from azquack.catalog import epochs
from azquack.quack import wire
from tests.cluster import wait_until
from tests.reliability.replicas import INTERNAL, Replica


@pytest.fixture
def catalogs(tmp_path: Path) -> Iterator[list[Replica]]:
    """Two catalog replicas on one directory, not started yet."""
    shared = {"catalog_dir": tmp_path / "lake" / "catalog", "backup_every": 0, "lease_seconds": 5}
    made = [Replica("catalog", name, tmp_path, shared) for name in ("catalog-a", "catalog-b")]
    yield made
    for each in made:
        each.kill()


def page(replica: Replica, path: str) -> httpx.Response:
    return httpx.get(f"http://127.0.0.1:{replica.http_port}{path}", timeout=10, trust_env=False)


def test_a_second_catalog_waits_and_takes_over_when_the_first_one_dies(catalogs: list[Replica]) -> None:
    first, second = catalogs
    first.start()
    second.begin()
    second.wait_for("standby")
    assert [page(each, "/readyz").status_code for each in catalogs] == [200, 200]
    assert page(second, "/readyz").json()["standby"] is True
    assert "azquack_lease_held 0.0" in page(second, "/metrics").text
    assert "azquack_lease_held 1.0" in page(first, "/metrics").text
    assert page(first, "/status").json()["epoch"] == 1
    first.kill()
    second.wait_for("ready")
    assert wait_until(lambda: second.owns, "the standby never owned the catalog")
    assert page(second, "/status").json()["epoch"] == 2
    assert "azquack_lease_epoch 2.0" in page(second, "/metrics").text


def test_a_standby_sends_everybody_away_at_once(catalogs: list[Replica]) -> None:
    first, second = catalogs
    first.start()
    second.begin()
    second.wait_for("standby")
    login = wire.connection_request(wire.ConnectionRequest(INTERNAL, "v1.5.5"))
    # Long before it would have given up waiting for a node.
    answer = httpx.post(f"http://127.0.0.1:{second.port}/quack", content=login, timeout=5, trust_env=False)
    assert answer.status_code == 503
    assert "stands by" in wire.parse_error(answer.content)
    # A link that is connected here must come to the owner with its next request.
    assert answer.headers["connection"] == "close"


def test_an_owner_that_stops_hands_over_at_once(catalogs: list[Replica], tmp_path: Path) -> None:
    first, second = catalogs
    first.start()
    second.begin()
    second.wait_for("standby")
    assert first.stop() == 0
    second.wait_for("ready")
    assert epochs.newest(tmp_path / "lake" / "catalog").parent.name == "epoch-2"
    assert second.stop() == 0


def test_a_pair_does_not_wait_for_a_catalog_that_is_in_use(catalogs: list[Replica], tmp_path: Path) -> None:
    catalogs[0].start()
    refused = subprocess.run(
        [sys.executable, "-m", "azquack", "up", "--dir", str(tmp_path / "lake"), "--port", "0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert refused.returncode == 1
    assert "is in use by another process, catalog-a (pid" in refused.stderr
    assert "Traceback" not in refused.stderr
