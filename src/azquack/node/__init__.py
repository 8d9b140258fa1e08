"""The DuckDB processes of a replica."""
