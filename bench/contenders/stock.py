"""Stock parts: two DuckDBs with `quack_serve`, the lake attached as `ducklake:quack:`, default settings."""

from __future__ import annotations

import json
import sys

from bench.client import Address
from bench.contenders.contender import Contender
from tests.link.processes import free_port

TOKEN = "token-of-the-benchmark"  # noqa: S105  of a server that lives for a benchmark


class Stock(Contender):
    """What a user builds from the documentation of Quack and DuckLake."""

    name = "stock"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._port = 0
        self.catalog_port = 0

    def start(self) -> None:
        self.start_catalog()
        self.start_query(self.catalog_port)

    def start_catalog(self) -> None:
        """Serves the catalog."""
        self.catalog_port = self._serve("catalog", {"database": str(self.catalog)})

    def start_query(self, catalog_port: int) -> None:
        """Serves the lake whose catalog answers at `catalog_port`."""
        catalog = f"quack:127.0.0.1:{catalog_port}"
        self._port = self._serve("query", {"catalog": catalog, "data": f"{self.data}/"})

    def _serve(self, name: str, config: dict[str, object]) -> int:
        config |= {"port": free_port(), "token": TOKEN, "home": self.home}
        return int(
            self.spawn(name, [sys.executable, "-m", "bench.contenders.stock_node"], json.dumps(config))
        )

    def address(self) -> Address:
        return Address("quack", self.home, uri=f"quack:127.0.0.1:{self._port}", token=TOKEN)
