"""What a DuckDB 2.x meets at a gateway, statement by statement; run by check-duckdb2.sh in an environment of its own.

It prints a line for each, and ends with 1 if one does not do what it should.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import duckdb

ROWS = 100_000


def attached(address: str) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    connection.execute("INSTALL httpfs; INSTALL quack; LOAD httpfs; LOAD quack")
    token = os.environ["AZQUACK_PUBLIC_TOKEN"].replace("'", "''")
    plain = "" if os.environ.get("AZQUACK_CHECK_TLS") else ", DISABLE_SSL true"
    connection.execute(f"ATTACH 'quack:{address}' AS r (TOKEN '{token}'{plain})")
    return connection


def rows(connection: duckdb.DuckDBPyConnection, sql: str) -> list[Any]:
    return connection.execute(sql).fetchall()


def cancelled(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether Ctrl-C ends a statement on the node within some seconds, and the session goes on."""
    threading.Timer(2, connection.interrupt).start()
    began = time.monotonic()
    try:
        rows(connection, "FROM r.query('SELECT sum(i * i % 7) FROM range(1000000000000) t(i)')")
    except duckdb.Error:
        return time.monotonic() - began < 20 and rows(connection, "FROM r.query('SELECT 1')") == [(1,)]
    return False


def rolled_back(connection: duckdb.DuckDBPyConnection) -> bool:
    connection.execute("BEGIN")
    connection.execute("INSERT INTO r.q3_check.t VALUES (-1, 'gone')")
    inside = rows(connection, "SELECT count(*) FROM r.q3_check.t WHERE i = -1")
    connection.execute("ROLLBACK")
    return (inside, rows(connection, "SELECT count(*) FROM r.q3_check.t WHERE i = -1")) == ([(1,)], [(0,)])


def kind_of(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    try:
        rows(connection, sql)
    except duckdb.Error as error:
        return type(error).__name__
    return ""


def snapshots(connection: duckdb.DuckDBPyConnection) -> int:
    return int(rows(connection, "FROM r.query('SELECT count(*) FROM ducklake_snapshots(''lake'')')")[0][0])


def one_commit(connection: duckdb.DuckDBPyConnection) -> bool:
    before = snapshots(connection)
    connection.execute(f"INSERT INTO r.q3_check.t SELECT range, 'row ' || range FROM range({ROWS})")
    return snapshots(connection) == before + 1


def checks(c: duckdb.DuckDBPyConnection) -> dict[str, Callable[[], bool]]:
    joined = "SELECT count(*) FROM r.q3_check.t a JOIN r.q3_check.t b USING (i)"
    return {
        "a schema made natively": lambda: c.execute("CREATE SCHEMA r.q3_check") is not None,
        "a table made natively": lambda: (
            c.execute("CREATE TABLE r.q3_check.t(i BIGINT, s VARCHAR)") is not None
        ),
        "a native insert is one commit": lambda: one_commit(c),
        "a native scan": lambda: (
            rows(c, "SELECT count(*), max(s) FROM r.q3_check.t") == [(ROWS, "row 99999")]
        ),
        "a long result": lambda: len(rows(c, "FROM r.q3_check.t")) == ROWS,
        "a filter": lambda: rows(c, "SELECT s FROM r.q3_check.t WHERE i = 77777") == [("row 77777",)],
        "a join of two lake tables": lambda: rows(c, joined) == [(ROWS,)],
        "a view made natively": lambda: (
            c.execute("CREATE VIEW r.q3_check.v AS SELECT 42 AS x") is not None
            and rows(c, "FROM r.q3_check.v") == [(42,)]
        ),
        "SHOW TABLES": lambda: "t" in {row[0] for row in rows(c, "SHOW TABLES FROM r.q3_check")},
        "a transaction that is rolled back": lambda: rolled_back(c),
        "a statement in r.query": lambda: rows(c, "FROM r.query('SELECT 1 + 1')") == [(2,)],
        "an error of its type": lambda: kind_of(c, "FROM r.query('FROM q3_nope')") == "CatalogException",
        "Ctrl-C": lambda: cancelled(c),
    }


def main() -> int:
    print(f"DuckDB {duckdb.__version__} at {sys.argv[1]}")
    failed = 0
    connection = attached(sys.argv[1])
    try:
        for name, check in checks(connection).items():
            try:
                told = "ok" if check() else "does not do what it should"
            except duckdb.Error as error:
                told = str(error).split("\n", 1)[0]
            failed += told != "ok"
            print(f"{name}: {told}")
    finally:
        for sql in (
            "DROP VIEW IF EXISTS r.q3_check.v",
            "DROP TABLE IF EXISTS r.q3_check.t",
            "DROP SCHEMA r.q3_check",
        ):
            try:
                connection.execute(sql)
            except duckdb.Error as error:
                print(f"{sql}: {str(error).splitlines()[0]}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
