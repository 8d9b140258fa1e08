"""The catalog link: what stands between a query node's DuckLake and the catalog, on loopback."""
