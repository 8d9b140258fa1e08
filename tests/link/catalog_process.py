"""A catalog as a process of its own: `python catalog_process.py FILE PORT TOKEN`, until its input ends."""

import os
import sys
import tempfile
from pathlib import Path

import duckdb

from azquack.lake import extensions


def main() -> None:
    file, port, token = sys.argv[1:]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        extensions.link_all(Path(home))
        connection = duckdb.connect(file, config=extensions.config(Path(home)))
        for statement in (
            "LOAD httpfs",
            "LOAD quack",
            "SET threads = 1",
            "SET GLOBAL quack_fetch_batch_chunks = 4096",
        ):
            connection.execute(statement)
        connection.execute(f"CALL quack_serve('quack:127.0.0.1:{port}', token => ?)", [token])
        print("ready", flush=True)
        sys.stdin.read()
    os._exit(0)


main()
