"""A node for the attack suite: a lake on a DuckDB file, locked down, served over Quack.

`python locked_node.py HOME reader|writer PORT`: the token comes on standard input, `ready` goes out.
"""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb

from azquack.lake import extensions
from azquack.policy.lockdown import lockdown
from azquack.sql import literal

FILL = """
CREATE TABLE lake.events AS SELECT range AS id, 'event ' || range AS what FROM range(1000);
CREATE SCHEMA lake.demo;
CREATE TABLE lake.demo.small AS SELECT 1 AS i;
CREATE TABLE lake.demo.payroll AS SELECT 'ann' AS who, 4711 AS pay;
CREATE VIEW lake.demo.loud AS SELECT upper(what) AS what FROM lake.main.events;
CREATE MACRO lake.twice(a) AS a * 2;
"""


def main(home: Path, role: str, port: int) -> None:
    token = sys.stdin.readline().strip()
    data = home / "data"
    data.mkdir()
    (home / "outside.csv").write_text("secret\n42\n")
    extensions.link_all(home / "extensions")
    node = duckdb.connect(":memory:", config=extensions.config(home / "extensions"))
    for name in ("httpfs", "json", "icu", "parquet", "quack", "ducklake"):
        node.execute(f"LOAD {name}")
    attach = f"ATTACH {literal(f'ducklake:{home}/catalog.duckdb')} AS lake (DATA_PATH {literal(f'{data}/')}"
    node.execute(f"{attach})")
    node.execute(FILL)
    node.execute("DETACH lake")
    node.execute(f"{attach}{', READ_ONLY' if role == 'reader' else ''})")
    node.execute("USE lake")
    node.execute(f"CALL quack_serve({literal(f'quack:127.0.0.1:{port}')}, token => {literal(token)})")
    for statement in lockdown(f"{data}/"):
        node.execute(statement.text)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
