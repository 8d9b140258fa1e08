"""DuckDB's remote protocol: its messages as pure functions over bytes, and a client."""
