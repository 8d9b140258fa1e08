"""What AzQuack says of a lake that DuckLake itself can no longer read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from tests.cluster import Shell, TempPair, remote, wait_until


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[TempPair]:
    """A pair of its own, as this lake is beyond repair afterwards."""
    with TempPair(tmp_path / "lake") as own:
        yield own


def says(pair: TempPair, status: int) -> bool:
    """Whether /readyz answers with `status`."""
    return httpx.get(f"{pair.http_url}/readyz", trust_env=False).status_code == status


def test_a_lake_that_nobody_can_read_is_not_ready(pair: TempPair, home: Path) -> None:
    shell = Shell(pair, home)
    wait_until(partial(says, pair, 200), "the pair never became ready")
    shell.run(
        remote("CALL lake.set_option('data_inlining_row_limit', 0)"),
        remote("CREATE TABLE ruin (s STRUCT(a INT, deep STRUCT(leaf INT)))"),
        remote("ALTER TABLE ruin DROP COLUMN s.deep.leaf"),
    )
    assert shell.run(remote("FROM ruin"), check=False).returncode != 0
    refused = wait_until(
        lambda: (answer := httpx.get(f"{pair.http_url}/readyz")).status_code == 503 and answer,
        "the pair still calls itself ready although its lake cannot be read",
    )
    assert "optional pointer" in refused.text
