"""The limit: DuckDB in the client's own process, the catalog in a local file."""

from __future__ import annotations

from bench.client import Address
from bench.contenders.contender import Contender


class Limit(Contender):
    """Nothing serves: what is slower than this pays for being shared."""

    name = "limit"
    serves = False

    def start(self) -> None:
        pass

    def address(self) -> Address:
        return Address("lake", self.home, statements=self.open_statements(), shared=True)
