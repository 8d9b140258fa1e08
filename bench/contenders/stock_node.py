"""A DuckDB that serves Quack, as its documentation shows it: told by one JSON line, until its input ends."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import duckdb

from azquack.lake import extensions
from azquack.sql import literal


def open_lake(plan: dict[str, str]) -> duckdb.DuckDBPyConnection:
    """The lake as the database that every session starts in."""
    secrets = Path(plan["home"]) / "secrets"
    config = extensions.config(Path(plan["home"])) | {"secret_directory": str(secrets)}
    with duckdb.connect(":memory:", config=config) as connection:
        for each in (
            "LOAD httpfs", "LOAD quack", "LOAD ducklake",
            f"CREATE OR REPLACE PERSISTENT SECRET catalog (TYPE quack, SCOPE {literal(plan['catalog'])}, "
            f"TOKEN {literal(plan['token'])})",
            f"CREATE OR REPLACE PERSISTENT SECRET lake (TYPE ducklake, METADATA_PATH {literal(plan['catalog'])}, "
            f"DATA_PATH {literal(plan['data'])})",
        ):  # fmt: skip
            connection.execute(each)
    return duckdb.connect("ducklake:lake", config=config)


def main() -> None:
    plan = json.loads(sys.stdin.readline())
    if "catalog" in plan:
        connection = open_lake(plan)
    else:
        connection = duckdb.connect(plan["database"], config=extensions.config(Path(plan["home"])))
    connection.execute("LOAD httpfs; LOAD quack")
    connection.execute(f"CALL quack_serve('quack:127.0.0.1:{plan['port']}', token => ?)", [plan["token"]])
    print(plan["port"], flush=True)
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
