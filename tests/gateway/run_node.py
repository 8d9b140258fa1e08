"""A DuckDB node in its own process: `python -m tests.gateway.run_node TOKEN [lake] SQL…`.

Prints its port. With `lake` its database is a new DuckLake, else it lies in memory.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from pathlib import Path

import duckdb

from azquack.lake import extensions


def main() -> None:
    token, *statements = sys.argv[1:]
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        extensions.link_all(home)
        database = ":memory:"
        if statements and statements[0] == "lake":
            statements = statements[1:]
            database = f"ducklake:{scratch}/lake.duckdb"
            with duckdb.connect(config=extensions.config(home)) as maker:
                maker.execute(f"ATTACH '{database}' AS lake (DATA_PATH '{scratch}/data/')")
        # A lake that is the first database is the default one of every session.
        node = duckdb.connect(database, config=extensions.config(home))
        node.execute("LOAD httpfs; LOAD quack")
        for each in statements:
            node.execute(each)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        node.execute(f"CALL quack_serve('quack:127.0.0.1:{port}', token='{token}')").fetchall()
        print(port, flush=True)
        sys.stdin.read()
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
