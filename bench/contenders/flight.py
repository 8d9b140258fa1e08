"""Arrow Flight: a server of pyarrow.flight over the same DuckDB, the catalog in a local file."""

from __future__ import annotations

import sys

from bench.client import Address
from bench.contenders.contender import Contender


class Flight(Contender):
    """The protocol that Quack is most often held against."""

    name = "flight"

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self._port = 0

    def start(self) -> None:
        address = Address("lake", self.home, statements=self.open_statements(), shared=True)
        command = [sys.executable, "-m", "bench.contenders.flight_server"]
        self._port = int(self.spawn("server", command, address.to_json()))

    def address(self) -> Address:
        return Address("flight", self.home, uri=f"grpc://127.0.0.1:{self._port}")
