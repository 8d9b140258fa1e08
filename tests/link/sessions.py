"""Query nodes within the test's own process, with their real link, and a real catalog as a process beside it.

For tests that run thousands of statements one after another: which statement comes when is the test's choice,
and nothing waits for another process to be scheduled.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from azquack.catalog.link.link import CatalogLink
from azquack.lake import extensions
from azquack.lake.link_options import LinkOptions
from azquack.sql import literal
from tests.link.processes import NODE_SETTINGS, TOKEN, CatalogProcess


class Node:
    """A DuckDB with the lake attached through a link of its own; `close` it."""

    def __init__(self, port: int, data: Path, home: Path) -> None:
        self._link = CatalogLink(LinkOptions("127.0.0.1", port, name=home.name), TOKEN)
        address = f"quack:127.0.0.1:{self._link.start()}"
        extensions.link_all(home)
        self._connection = duckdb.connect(":memory:", config=extensions.config(home) | {"threads": "1"})
        for statement in (
            "LOAD httpfs", "LOAD quack", "LOAD ducklake",
            *(f"SET GLOBAL {name} = {value}" for name, value in NODE_SETTINGS.items()),
            f"CREATE SECRET (TYPE quack, SCOPE '{address}', TOKEN {literal(self._link.token)})",
            f"ATTACH 'ducklake:{address}' AS lake (DATA_PATH {literal(f'{data}/')})",
        ):  # fmt: skip
            self._connection.execute(statement)

    def session(self) -> duckdb.DuckDBPyConnection:
        """A session in the lake."""
        session = self._connection.cursor()
        session.execute("USE lake")
        return session

    def close(self) -> None:
        """Ends its sessions and its link."""
        self._connection.close()
        self._link.stop()


class Cluster:
    """One catalog and its query nodes."""

    def __init__(self, catalog: CatalogProcess, data: Path, nodes: list[Node]) -> None:
        self._catalog = catalog
        self.data = data
        self.nodes = nodes

    def copy(self, to: Path) -> None:
        """The catalog's file, whole while nothing is written."""
        for source, target in ((self._catalog.file, to), (_log(self._catalog.file), _log(to))):
            target.unlink(missing_ok=True)
            if source.exists():
                target.write_bytes(source.read_bytes())


def _log(file: Path) -> Path:
    return file.with_name(file.name + ".wal")


@contextmanager
def cluster(path: Path, nodes: int) -> Iterator[Cluster]:
    """A new lake in the directory `path`, with so many query nodes."""
    path.mkdir(parents=True)
    catalog = CatalogProcess(path / "catalog.duckdb")
    catalog.start()
    data = path / "data"
    data.mkdir()
    made: list[Node] = []
    try:
        for number in range(nodes):
            home = path / f"node-{number + 1}"
            home.mkdir()
            made.append(Node(catalog.port, data, home))
        yield Cluster(catalog, data, made)
    finally:
        for node in made:
            node.close()
        catalog.kill()
