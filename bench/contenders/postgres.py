"""DuckLake in the client's process, the catalog in PostgreSQL: what this design replaces."""

from __future__ import annotations

from typing import Any

import psutil

from azquack.replicas.query import RETRIES
from azquack.sql import literal
from bench.client import Address
from bench.contenders.contender import Contender
from tests.standins import postgres


class Postgres(Contender):
    """Debian's server with its default settings; the clients retry as AzQuack's nodes do."""

    name = "postgres"

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._server = postgres.TempPostgres(fsync=True)
        self._database = ""

    def prepare(self) -> None:
        if reason := postgres.install():
            raise RuntimeError(reason)
        self._server.start()
        self._database = self._server.new_database()

    def connection(self, port: int) -> str:
        """libpq's connection string by way of `port`."""
        password = postgres.PASSWORD.replace("\\", "\\\\").replace("'", "\\'")
        database = self._database.replace(f"port={self._server.port}", f"port={port}")
        return f"{database} password='{password}'"

    @property
    def catalog_port(self) -> int:
        """Where the server listens."""
        return self._server.port

    def open_statements(self) -> tuple[str, ...]:
        return self._opened(self.catalog_port)

    def _opened(self, port: int) -> tuple[str, ...]:
        uri = literal(f"ducklake:postgres:{self.connection(port)}")
        return (
            "LOAD postgres",
            *(f"SET GLOBAL {name} = {value}" for name, value in RETRIES.items()),
            f"ATTACH {uri} AS lake (DATA_PATH {literal(f'{self.data}/')})",
        )

    def start(self) -> None:
        pass

    def destroy(self) -> None:
        super().destroy()
        if self._database:
            self._server.stop()

    def processes(self) -> dict[str, psutil.Process]:
        if self._server.pid is None:
            return {}
        server = psutil.Process(self._server.pid)
        return {"server": server} | {f"server {n}": each for n, each in enumerate(server.children())}

    def address(self, port: int | None = None) -> Address:
        """`port` leads to the server another way."""
        return Address("lake", self.home, statements=self._opened(port or self.catalog_port))
