"""What a lake is, and how a DuckDB opens one."""
