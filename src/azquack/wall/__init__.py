"""The wall: every statement is parsed by DuckDB itself and checked against allow-lists."""

# A text of more characters needs up to 2 µs for each of them: not for an event loop.
LONG = 16 << 10
