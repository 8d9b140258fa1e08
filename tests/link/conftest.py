"""A catalog, a line that can be cut, and query nodes, each a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.link.processes import CatalogProcess, QueryProcess, TcpProxy

NodeFactory = Callable[..., QueryProcess]


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[CatalogProcess]:
    process = CatalogProcess(tmp_path / "catalog.duckdb")
    process.start()
    yield process
    process.kill()


@pytest.fixture
def line(catalog: CatalogProcess) -> Iterator[TcpProxy]:
    """The connection between the nodes and the catalog."""
    proxy = TcpProxy(catalog.port)
    yield proxy
    proxy.close()


@pytest.fixture
def node(line: TcpProxy, tmp_path: Path) -> Iterator[NodeFactory]:
    """Starts a query node whose statements travel over `line`."""
    nodes: list[QueryProcess] = []

    def start(**options: object) -> QueryProcess:
        name = f"query-{len(nodes) + 1}"
        nodes.append(QueryProcess(line.port, tmp_path / "data", name=name, **options))  # type: ignore[arg-type]
        return nodes[-1]

    yield start
    for each in nodes:
        each.kill()
