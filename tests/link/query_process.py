"""A query node as a process of its own, with the link in it or without; jobs come in as JSON lines.

`python query_process.py`; first line: catalog_port, token, data, stock, hold, answer. Then jobs:
`{"sql": [...]}` runs statements one by one on one connection; `{"threads": [[...], ...]}` runs a list of
statements per thread, each statement on its own. The answer to each: rows or the error of every statement.
"""

import json
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import duckdb

from azquack.catalog.link.link import CatalogLink
from azquack.lake import extensions
from azquack.lake.link_options import LinkOptions


def run(connection: duckdb.DuckDBPyConnection, statements: list[str]) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for statement in statements:
        try:
            rows = connection.execute(statement).fetchall()
            results.append({"rows": json.loads(json.dumps(rows, default=str))})
        except duckdb.Error as error:
            results.append({"error": str(error)})
    return results


def run_threads(connection: duckdb.DuckDBPyConnection, lists: list[list[str]]) -> list[list[dict[str, Any]]]:
    results: list[list[dict[str, Any]]] = [[] for _ in lists]

    def work(number: int) -> None:
        results[number] = run(connection.cursor(), lists[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(len(lists))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def main() -> None:
    config = json.loads(sys.stdin.readline())
    link = None
    port, token = config["port"], config["token"]
    if not config["stock"]:
        options = LinkOptions(
            "127.0.0.1",
            port,
            name=config["name"],
            hold_seconds=config["hold"],
            answer_seconds=config["answer"],
        )
        link = CatalogLink(options, token)
        port, token = link.start(), link.token
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        extensions.link_all(Path(home))
        duckdb_config = extensions.config(Path(home)) | {"allow_unredacted_secrets": "true"}
        connection = duckdb.connect(":memory:", config=duckdb_config)
        settings = [f"SET GLOBAL {name} = {value}" for name, value in config["settings"].items()]
        address = f"quack:127.0.0.1:{port}"
        for statement in (
            "LOAD httpfs", "LOAD quack", "LOAD ducklake", *settings,
            f"CREATE SECRET (TYPE quack, SCOPE '{address}', TOKEN '{token}')",
            f"ATTACH 'ducklake:{address}' AS lake (DATA_PATH '{config['data']}')",
            "USE lake",
        ):  # fmt: skip
            connection.execute(statement)
        print(json.dumps({"address": address}), flush=True)
        for line in sys.stdin:
            job = json.loads(line)
            answer: Any
            if "counters" in job:
                answer = vars(link.counters) if link else {}
            elif "threads" in job:
                answer = run_threads(connection, job["threads"])
            else:
                answer = run(connection.cursor(), ["USE lake", *job["sql"]])[1:]
            print(json.dumps(answer), flush=True)
    if link is not None:
        link.stop()
    os._exit(0)


main()
