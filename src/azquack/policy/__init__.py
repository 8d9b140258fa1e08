"""The policy: every statement is parsed by DuckDB itself and checked against allow-lists."""
