"""A process full of clients: `python -m bench.worker`, told by JSON lines what to do, until its input ends.

First line: the address. Then jobs, see `workers.Workers`. Its answers are JSON lines as well.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

from bench.client import Address, Client, open_clients


def work(
    client: Client, texts: Sequence[str], first: int, begin: threading.Barrier, until: dict[str, float]
) -> dict[str, Any]:
    """Runs `texts` in turn, `{n}` counting up from `first`, until the time is up."""
    times: list[float] = []
    failures: list[str] = []
    begin.wait()
    began = time.perf_counter()
    end = began + until["seconds"]
    now, done = began, 0
    while now < end and done < until["most"]:
        text = texts[done % len(texts)].replace("{n}", str(first + done))
        try:
            client.rows(text)
        except Exception as error:  # whatever a contender's client raises counts as a failure
            failures.append(str(error).splitlines()[0][:300])
        else:
            times.append(time.perf_counter() - now)
        now = time.perf_counter()
        done += 1
    return {"times": times, "failures": len(failures), "failure": failures[:1], "seconds": now - began}


def run(clients: list[Client], job: dict[str, Any]) -> dict[str, Any]:
    """One thread per list of `job["texts"]`."""
    results: list[dict[str, Any]] = [{} for _ in job["texts"]]
    begin = threading.Barrier(len(results))

    def one(number: int) -> None:
        texts = job["texts"][number]
        results[number] = work(clients[number], texts, job["first"][number], begin, job["until"])

    threads = [threading.Thread(target=one, args=(number,)) for number in range(len(results))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"results": results}


def main() -> None:
    address = Address.from_json(sys.stdin.readline())
    clients = open_clients(address, int(sys.stdin.readline()))
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        job = json.loads(line)
        answer: Any
        try:
            answer = {"rows": clients[0].rows(job["sql"])} if "sql" in job else run(clients, job)
        except Exception as error:  # told to the parent, which raises it
            answer = {"error": str(error)}
        print(json.dumps(answer, default=str), flush=True)
    for client in clients:
        client.close()
    os._exit(0)


if __name__ == "__main__":
    main()
