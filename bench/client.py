"""One client of a contender, in whatever process it runs: the same few calls for each of them."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import flight

from azquack.lake import extensions
from azquack.sql import literal


@dataclass(frozen=True)
class Address:
    """How to reach a contender; crosses to load processes as JSON.

    `kind`: `lake` opens the lake in this process by `statements`, `quack` attaches `uri` with `token`, `flight`
    connects to `uri`. A `shared` lake has one DuckDB that all clients of a process are cursors of, and no second
    process can open it. `home` holds DuckDB's extensions, `threads` is for each client's DuckDB.
    """

    kind: str
    home: str
    uri: str = ""
    token: str = ""
    statements: tuple[str, ...] = ()
    shared: bool = False
    threads: int = 0

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> Address:
        values = json.loads(text)
        return Address(**values | {"statements": tuple(values["statements"])})


class Client(ABC):
    """What a user does with a lake."""

    @abstractmethod
    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs any SQL on the lake; its rows."""

    @abstractmethod
    def arrow(self, sql: str) -> pa.Table:
        """The result of a query, all of it in this process."""

    @abstractmethod
    def load(self, table: str, file: Path) -> None:
        """Makes `table` of a Parquet file that lies with the client."""

    @abstractmethod
    def close(self) -> None:
        """Ends the connection."""


class LakeClient(Client):
    """DuckLake in this process."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def arrow(self, sql: str) -> pa.Table:
        return self._connection.execute(sql).to_arrow_table()

    def load(self, table: str, file: Path) -> None:
        self.rows(f"CREATE TABLE {table} AS FROM {literal(str(file))}")

    def close(self) -> None:
        self._connection.close()


class QuackClient(Client):
    """A stock DuckDB with the lake attached as `r`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(f"FROM r.query({literal(sql)})").fetchall()

    def arrow(self, sql: str) -> pa.Table:
        return self._connection.execute(f"FROM r.query({literal(sql)})").to_arrow_table()

    def load(self, table: str, file: Path) -> None:
        # The way of docs/loading.md for a large table: staged on the node, then one commit.
        self._connection.execute(f"CREATE TABLE r.{table} AS FROM {literal(str(file))} LIMIT 0")
        self.rows(f"CREATE TEMP TABLE incoming_{table} AS FROM {table} LIMIT 0")
        self._connection.execute("CALL quack_clear_cache()")
        self._connection.execute(f"INSERT INTO r.incoming_{table} FROM {literal(str(file))}")
        self.rows(f"INSERT INTO {table} FROM incoming_{table}")
        self.rows(f"DROP TABLE incoming_{table}")

    def close(self) -> None:
        self._connection.close()


class FlightClient(Client):
    """A pyarrow.flight client."""

    def __init__(self, uri: str) -> None:
        self._client = flight.connect(uri)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        table = self.arrow(sql)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def arrow(self, sql: str) -> pa.Table:
        return self._client.do_get(flight.Ticket(sql.encode())).read_all()

    def load(self, table: str, file: Path) -> None:
        source = pq.ParquetFile(file)
        descriptor = flight.FlightDescriptor.for_path(table)
        writer, reader = self._client.do_put(descriptor, source.schema_arrow)
        for batch in source.iter_batches(1 << 16):
            writer.write_batch(batch)
        writer.done_writing()
        # The server answers once the table is committed.
        while reader.read() is not None:
            pass
        writer.close()

    def close(self) -> None:
        self._client.close()


def database(home: str, threads: int = 0) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that finds its extensions in `home`."""
    connection = duckdb.connect(":memory:", config=extensions.config(Path(home)))
    if threads:
        connection.execute(f"SET threads = {threads}")
    return connection


def open_clients(address: Address, count: int = 1) -> list[Client]:
    """`count` clients, each with a connection of its own."""
    if address.kind == "lake" and address.shared:
        first = opened(address)
        return [LakeClient(first), *(LakeClient(cursor(first)) for _ in range(count - 1))]
    return [open_client(address) for _ in range(count)]


def open_client(address: Address) -> Client:
    """A client with a connection of its own."""
    match address.kind:
        case "flight":
            return FlightClient(address.uri)
        case "lake":
            return LakeClient(opened(address))
        case _:
            return QuackClient(attached(address))


def opened(address: Address) -> duckdb.DuckDBPyConnection:
    """A DuckDB with the lake in it."""
    connection = database(address.home, address.threads)
    run(connection, ("LOAD ducklake", *address.statements, "USE lake"))
    return connection


def cursor(connection: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    """A further connection to the same lake."""
    made = connection.cursor()
    made.execute("USE lake")
    return made


def attached(address: Address) -> duckdb.DuckDBPyConnection:
    """A stock DuckDB that has attached the lake as `r`."""
    connection = database(address.home, address.threads or 1)
    run(connection, ("LOAD httpfs", "LOAD quack", *attach(address)))
    return connection


def attach(address: Address) -> tuple[str, ...]:
    """The statements with which a user joins."""
    uri = literal(address.uri)
    return (
        f"CREATE SECRET (TYPE quack, SCOPE {uri}, TOKEN {literal(address.token)})",
        f"ATTACH {uri} AS r (DISABLE_SSL true)",
    )


def run(connection: duckdb.DuckDBPyConnection, statements: Sequence[str]) -> None:
    """Runs `statements` in order."""
    for each in statements:
        connection.execute(each)
