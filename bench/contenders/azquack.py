"""AzQuack: a catalog and a query replica with default settings, entered by the public gateway as a writer."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from typing import Any

import psutil

from azquack.sql import literal
from bench.client import Address
from bench.contenders.contender import Contender
from tests import cluster

# What the processes of a replica are called in the figures, by their modules.
PROCESSES = {
    "azquack.catalog.backup": "backup",
    "azquack.node.process": "node",
    "azquack.replicas.gateway": "gateway",
}
PUBLIC, INTERNAL = "public-token-of-the-benchmark", "internal-token-of-the-benchmark"


class AzQuack(Contender):
    """The product. `flags` go to the query replica, the variables `environment` to both."""

    name = "azquack"

    def __init__(self, *args: Any, flags: Sequence[str] = ()) -> None:
        super().__init__(*args)
        self.flags = flags
        self.environment: dict[str, str] = {}
        self.port = 0
        self.catalog_port = 0

    def open_statements(self) -> tuple[str, ...]:
        # The catalog role makes its file so, and DuckLake takes a file that is there.
        file = literal(str(self.catalog))
        made = (f"ATTACH {file} AS made (STORAGE_VERSION 'v1.5.0')", "DETACH made")
        return (*(() if self.catalog.exists() else made), *super().open_statements())

    def start(self) -> None:
        self.start_catalog()
        self.start_query(self.catalog_port)

    def start_catalog(self) -> None:
        """Starts the catalog replica; after a stop it has its port again."""
        port = ("--port", str(self.catalog_port))
        ports = self._serve("catalog", "--catalog-dir", str(self.catalog.parent), *port)
        self.catalog_port = ports["catalog-gateway"]

    def start_query(self, catalog_port: int) -> None:
        """Starts the query replica of the catalog that answers at `catalog_port`."""
        catalog = ("--catalog", f"quack:127.0.0.1:{catalog_port}", "--data-path", str(self.data))
        self.port = self._serve("query", *catalog, "--port", "0", *self.flags)["query-gateway"]

    def _serve(self, role: str, *flags: str) -> dict[str, int]:
        self.directory.mkdir(parents=True, exist_ok=True)
        # The tokens travel as an operator's do: in the environment, not in the list of arguments.
        environment = {"AZQUACK_PUBLIC_TOKEN": PUBLIC, "AZQUACK_INTERNAL_TOKEN": INTERNAL, **self.environment}
        command = [sys.executable, "-m", "azquack", "serve", role, *flags]
        line = self.spawn(role, command, environment=environment)
        ports: dict[str, int] = json.loads(line)["ports"]
        return ports

    def stop(self) -> None:
        for name in ("query", "catalog"):
            self.stop_role(name)

    def stop_role(self, role: str) -> None:
        """Ends one replica as an operator would."""
        if process := self._processes.pop(role, None):
            process.send_signal(signal.SIGTERM)
            cluster.end(process)

    def processes(self) -> dict[str, psutil.Process]:
        names = {}
        for role, supervisor in super().processes().items():
            names[f"{role}: supervisor"] = supervisor
            for child in supervisor.children(recursive=True):
                module = next((part for part in child.cmdline() if part.startswith("azquack.")), "other")
                names[f"{role}: {PROCESSES.get(module, module)}"] = child
        return names

    def address(self) -> Address:
        return Address("quack", self.home, uri=f"quack:127.0.0.1:{self.port}", token=PUBLIC)
