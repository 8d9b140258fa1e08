"""The wall: every statement is parsed by DuckDB itself and checked against allow-lists."""

from azquack.wall.wall import Verdict, Wall

__all__ = ["Verdict", "Wall"]
