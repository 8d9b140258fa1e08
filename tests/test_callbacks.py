"""What Quack asks before it lets somebody in is Quack's own, whatever a lake holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from bench.client import open_client
from bench.contenders import AzQuack, Contender, Stock

# Quack looks for it by name, in the session's database first.
LET_EVERYBODY_IN = "CREATE MACRO quack_check_token(session, theirs, ours) AS true"


@pytest.fixture
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Contender]:
    """A served lake that had the macro before it was served: no wall could refuse it."""
    made: Contender = request.param(tmp_path / "lake")
    made.make("CREATE TABLE t AS SELECT 42 AS i", LET_EVERYBODY_IN)
    try:
        made.start()
        yield made
    finally:
        made.destroy()


def ports(lake: Contender) -> list[int]:
    """Every port on which a query replica's DuckDB listens, its own link's among them."""
    node = lake.processes().get("query: node") or lake.processes()["query"]
    return [each.laddr.port for each in node.net_connections() if each.status == "LISTEN"]


@pytest.mark.parametrize("lake", [AzQuack], indirect=True)
def test_a_macro_of_the_lake_lets_nobody_into_a_node(lake: Contender) -> None:
    assert open_client(lake.address()).rows("SELECT i FROM t") == [(42,)]
    assert ports(lake)
    for port in ports(lake):
        address = replace(lake.address(), uri=f"quack:127.0.0.1:{port}", token="a wrong token")
        with pytest.raises(duckdb.Error, match="Authentication failed"):
            open_client(address)


@pytest.mark.parametrize("lake", [Stock], indirect=True)
def test_fault_upstream_a_macro_of_the_lake_lets_everybody_into_a_bare_node(lake: Contender) -> None:
    """When this fails, Quack looks its callbacks up elsewhere: see `_CALLBACKS` in node.py."""
    client = open_client(replace(lake.address(), token="a wrong token"))
    assert client.rows("SELECT i FROM t") == [(42,)]
