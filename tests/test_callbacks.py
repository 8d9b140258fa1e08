"""What lets somebody in, and what is open to a node, is DuckDB's own, whatever macros a lake holds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from azquack.lake import extensions
from azquack.policy.lockdown import OPEN_SETTINGS, lockdown
from azquack.sql import literal
from bench.client import open_client
from bench.contenders import AzQuack, Contender, Stock

# Quack looks for it by name, in the session's database first.
LET_EVERYBODY_IN = "CREATE MACRO quack_check_token(session, theirs, ours) AS true"


@pytest.fixture
def lake(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Contender]:
    """A served lake that had the macro before it was served: no policy could refuse it."""
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


def test_a_macro_of_the_lake_opens_nothing_to_a_node(tmp_path: Path) -> None:
    extensions.link_all(tmp_path / "extensions")
    with duckdb.connect(":memory:", config=extensions.config(tmp_path / "extensions")) as node:
        attach = f"ATTACH {literal(f'ducklake:{tmp_path}/catalog.duckdb')} AS lake"
        for sql in ("LOAD ducklake", f"{attach} (DATA_PATH {literal(f'{tmp_path}/data')})", "USE lake"):
            node.execute(sql)
        # `[1]` is list_value(1): with this macro in the lake it is what the macro says.
        node.execute("CREATE MACRO list_value(one, two := 'Calendar') AS system.main.list_value('/')")
        assert node.execute("SELECT ['/data/']").fetchall() == [(["/"],)]
        for each in lockdown("/data/"):
            node.execute(each.text)
        open_now = "SELECT current_setting('allowed_directories'), current_setting('allowed_configs')"
        [(directories, configs)] = node.execute(open_now).fetchall()
    # Where DuckDB spills is open as well.
    assert "/data/" in directories
    assert "/" not in directories
    assert set(map(str.lower, configs)) == set(map(str.lower, OPEN_SETTINGS))
