"""A Flight server over a lake: told its address by one JSON line, until its input ends.

The ticket of a DoGet is SQL; a DoPut makes the table that its path names.
"""

from __future__ import annotations

import os
import sys
from typing import Any

import pyarrow as pa
from pyarrow import flight

from bench.client import Address, cursor, opened


class Server(flight.FlightServerBase):  # type: ignore[misc]  # pyarrow.flight has no types
    """Each call gets a cursor of its own."""

    def __init__(self, address: Address) -> None:
        super().__init__("grpc://127.0.0.1:0")
        self._lake = opened(address)
        # The first time imports pandas, which is no part of a load.
        self._lake.register("warm", pa.table({"i": [1]}))

    def do_get(self, context: Any, ticket: flight.Ticket) -> flight.RecordBatchStream:
        reader = cursor(self._lake).execute(ticket.ticket.decode()).to_arrow_reader(1 << 16)
        return flight.RecordBatchStream(reader)

    def do_put(self, context: Any, descriptor: Any, reader: Any, writer: Any) -> None:
        connection = cursor(self._lake)
        connection.register("incoming", reader.to_reader())
        connection.execute(f"CREATE TABLE {descriptor.path[0].decode()} AS FROM incoming")
        writer.write(pa.py_buffer(b"done"))


def main() -> None:
    server = Server(Address.from_json(sys.stdin.readline()))
    print(server.port, flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
