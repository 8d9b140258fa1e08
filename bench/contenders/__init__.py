"""The contenders, in the order in which tables show them."""

from bench.contenders.azquack import AzQuack
from bench.contenders.contender import Contender
from bench.contenders.flight import Flight
from bench.contenders.limit import Limit
from bench.contenders.postgres import Postgres
from bench.contenders.stock import Stock

CONTENDERS: dict[str, type[Contender]] = {
    each.name: each for each in (Limit, Stock, AzQuack, Postgres, Flight)
}

__all__ = ["CONTENDERS", "AzQuack", "Contender", "Flight", "Limit", "Postgres", "Stock"]
