#!/usr/bin/env python3
"""Shows that sessions stay whole, however many query nodes stand behind the address.

Many stock DuckDB clients at once each open a session, keep state in it (a temporary table, an open
transaction) over many requests, and check that every request met the same session. Sticky cookies cannot do
this, since DuckDB opens a new connection for each request. Exits 1 when a session broke.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import duckdb
from pydantic import SecretStr

from azquack.errors import LakeError
from azquack.lake import client
from azquack.sql import literal

TABLE = "azquack_sessions"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], epilog="The token comes from AZQUACK_PUBLIC_TOKEN."
    )
    parser.add_argument("--uri", required=True, help="the lake, as quack:HOST:PORT")
    parser.add_argument("--sessions", type=int, default=16, help="clients at once (16)")
    parser.add_argument("--rounds", type=int, default=10, help="transactions of each client (10)")
    arguments = parser.parse_args()
    token = os.environ.get(client.TOKEN_VARIABLE)
    if not token:
        print(
            f"validate-sessions: {client.TOKEN_VARIABLE} is not set: it is the token for {arguments.uri}",
            file=sys.stderr,
        )
        return 2
    if arguments.sessions < 1 or arguments.rounds < 1:
        print("validate-sessions: --sessions and --rounds are 1 or more", file=sys.stderr)
        return 2
    target = client.Target(arguments.uri, SecretStr(token), tls=arguments.uri.endswith(":443"))
    return validate(target, arguments.sessions, arguments.rounds)


def validate(target: client.Target, sessions: int, rounds: int) -> int:
    """Runs the clients and prints what they saw; 0 when every session stayed whole, else 1."""
    try:
        with client.connection(target) as lake:
            run(lake, f"CREATE OR REPLACE TABLE {TABLE} (who VARCHAR, round INTEGER)")
            with ThreadPoolExecutor(sessions) as pool:
                outcomes = list(pool.map(lambda _: outcome(target, rounds), range(sessions)))
            (rows,) = run(lake, f"SELECT count(*) FROM {TABLE}")[0]
            run(lake, f"DROP TABLE {TABLE}")
    except (LakeError, duckdb.Error) as error:
        print(f"validate-sessions: {client.first_line(error)}", file=sys.stderr)
        return 1
    broken = [each for each in outcomes if each]
    committed = (sessions - len(broken)) * rounds
    for sentence, times in Counter(broken).most_common():
        print(f"FAILED  {times} x {sentence}")
    if not broken and rows != committed:
        print(f"FAILED  {committed} rows were committed and {rows} are there")
        return 1
    print(f"{sessions - len(broken)} of {sessions} sessions stayed whole over {rounds} transactions each")
    return 1 if broken else 0


def outcome(target: client.Target, rounds: int) -> str:
    """What broke a session, or nothing."""
    try:
        session(target, rounds)
    except (LakeError, duckdb.Error, AssertionError) as error:
        return client.first_line(error)
    return ""


def session(target: client.Target, rounds: int) -> None:
    """One client: its temporary table and its transactions must be there in every request."""
    me = uuid.uuid4().hex
    with client.connection(target) as lake:
        run(lake, f"CREATE TEMPORARY TABLE mine AS SELECT {literal(me)} AS who")
        for number in range(rounds):
            run(lake, "BEGIN")
            run(lake, f"INSERT INTO {TABLE} VALUES ({literal(me)}, {number})")
            ((seen,),) = run(lake, f"SELECT count(*) FROM {TABLE} WHERE who = {literal(me)}")
            if seen != number + 1:
                raise AssertionError("a transaction does not see its own row: another node answered")
            run(lake, "COMMIT")
            if run(lake, "SELECT who FROM mine") != [(me,)]:
                raise AssertionError("a temporary table is another session's")


def run(lake: duckdb.DuckDBPyConnection, sql: str) -> list[tuple[object, ...]]:
    """The rows of `sql`, which runs whole on the other side."""
    return lake.execute(f"FROM {client.ALIAS}.query({literal(sql)})").fetchall()


if __name__ == "__main__":
    sys.exit(main())
