"""A DuckDB that serves Quack, as its documentation shows it: told by one JSON line, until its input ends."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import duckdb

from azquack.lake import extensions
from azquack.sql import literal


def open_lake(config: dict[str, str]) -> duckdb.DuckDBPyConnection:
    """The lake as the database that every session starts in."""
    secrets = Path(config["home"]) / "secrets"
    duckdb_config = extensions.config(Path(config["home"])) | {"secret_directory": str(secrets)}
    with duckdb.connect(":memory:", config=duckdb_config) as connection:
        for each in (
            "LOAD httpfs", "LOAD quack", "LOAD ducklake",
            f"CREATE OR REPLACE PERSISTENT SECRET catalog (TYPE quack, SCOPE {literal(config['catalog'])}, "
            f"TOKEN {literal(config['token'])})",
            f"CREATE OR REPLACE PERSISTENT SECRET lake (TYPE ducklake, METADATA_PATH {literal(config['catalog'])}, "
            f"DATA_PATH {literal(config['data'])})",
        ):  # fmt: skip
            connection.execute(each)
    return duckdb.connect("ducklake:lake", config=duckdb_config)


def main() -> None:
    config = json.loads(sys.stdin.readline())
    if "catalog" in config:
        connection = open_lake(config)
    else:
        connection = duckdb.connect(config["database"], config=extensions.config(Path(config["home"])))
    connection.execute("LOAD httpfs; LOAD quack")
    connection.execute(f"CALL quack_serve('quack:127.0.0.1:{config['port']}', token => ?)", [config["token"]])
    print(config["port"], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
