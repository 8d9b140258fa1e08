"""Quack 3, of DuckDB 2.x, to clients: their messages become statements, whose nodes speak Quack 1."""
