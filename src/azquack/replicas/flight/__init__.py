"""The process that speaks Arrow Flight SQL: a DuckDB with the lake attached, and the server in the same process."""
