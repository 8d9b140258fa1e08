"""A client of its own process that inserts rows and says what the lake acknowledged; for test_concurrent.

Arguments: a name, how many threads, how many rows each; each thread is a session of its own. The statements
that attach, which hold the token, come as a JSON list on standard input. Prints one JSON object:
`acknowledged`, the values that the lake took, and `refused`, the errors it gave.
"""

from __future__ import annotations

import json
import sys
import threading

import duckdb

from tests.cluster import remote


def main(client: str, threads: int, rows: int) -> None:
    statements: list[str] = json.loads(sys.stdin.readline())
    start = threading.Barrier(threads)
    acknowledged: list[str] = []
    refused: list[str] = []

    def write(thread: int) -> None:
        with duckdb.connect(":memory:") as connection:
            for each in statements:
                connection.execute(each)
            start.wait()
            for row in range(rows):
                value = f"{client}-{thread}-{row}"
                native = f"INSERT INTO r.written VALUES ('{value}')"
                pushed = remote(f"INSERT INTO written VALUES ('{value}')")
                try:
                    connection.execute(native if row % 2 else pushed).fetchall()
                except duckdb.Error as error:
                    refused.append(str(error))
                else:
                    acknowledged.append(value)

    workers = [threading.Thread(target=write, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print(json.dumps({"acknowledged": acknowledged, "refused": refused}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
