"""The catalog link: what stands between a query node's DuckLake and the catalog, on loopback."""

from azquack.link.catalog import Counters
from azquack.link.link import CatalogLink, LinkOptions

__all__ = ["CatalogLink", "Counters", "LinkOptions"]
