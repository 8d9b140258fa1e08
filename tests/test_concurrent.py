"""Several clients write at once: what the lake acknowledged is there, once, and nothing else is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import duckdb

from tests.cluster import Pair, attach_as_r, end, remote

CLIENTS, THREADS, ROWS = 2, 3, 12


def test_rows_of_two_clients_and_their_threads_all_arrive(
    pair: Pair, home: Path, connection: duckdb.DuckDBPyConnection
) -> None:
    connection.execute(remote("CREATE TABLE written (value VARCHAR)"))
    writers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.writer", f"client{number}", str(THREADS), str(ROWS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1],
        )
        for number in range(CLIENTS)
    ]  # fmt: skip
    said = []
    for writer in writers:
        assert writer.stdin is not None
        # On standard input, as the statements hold the token.
        writer.stdin.write(json.dumps(attach_as_r(pair, home)) + "\n")
        writer.stdin.flush()
    for writer in writers:
        assert writer.stdout is not None
        said.append(json.loads(writer.stdout.read()))
        assert end(writer) == 0
    acknowledged = [value for each in said for value in each["acknowledged"]]
    there = [value for (value,) in connection.execute(remote("FROM written")).fetchall()]
    assert sorted(there) == sorted(acknowledged)
    # DuckLake tries a commit again that another one beat; where it gives up, it has to say so.
    refused = [error for each in said for error in each["refused"]]
    assert all("Failed to commit" in error for error in refused), refused
    assert len(acknowledged) + len(refused) == CLIENTS * THREADS * ROWS
    assert len(acknowledged) > len(refused)
