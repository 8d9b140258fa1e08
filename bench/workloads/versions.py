"""Quack 3 beside Quack 1 at one gateway, by the same client code: what the translation costs, and what 3 gains."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpx

from azquack.quack import translation, wire
from azquack.quack.wire.answers import has_more
from azquack.quack.wire.chunks import read_chunk
from azquack.quack.wire.fields import Reader
from azquack.quack.wire3 import Kind
from bench.contenders import AzQuack, Contender
from bench.contenders.azquack import PUBLIC
from bench.workloads.workload import Figure, Figures, Measure, Workload, check
from tests.quack3 import frames
from tests.quack3.frames import Quack3

SMALL = 200
ROWS, INSERTED = 5_000_000, 1_000_000
VECTOR = 2048
# As DuckDB 2.x does: so many vectors in one message.
VECTORS = 100
RESULT = "SELECT range AS a, range * 2 AS b, range::DOUBLE AS c, 'row ' || range AS d FROM range({})"


class Quack1:
    """A session of Quack 1 in frames, as `Quack3` is one of Quack 3."""

    def __init__(self, uri: str, token: str) -> None:
        self.http = httpx.Client(base_url=uri, trust_env=False, timeout=600)
        login = self.post(wire.connection_request(wire.ConnectionRequest(token, "v1.5.5")))
        self.id = wire.parse_connection_response(login).connection_id

    def post(self, message: bytes) -> bytes:
        """The answer, which must not be an error."""
        answer = self.http.post("/quack", content=message).content
        assert wire.parse_header(answer).type is not wire.MessageType.ERROR, wire.parse_error(answer)
        return answer

    def run(self, sql: str) -> bytes:
        return self.post(wire.prepare(self.id, sql))

    def fetch_all(self, sql: str) -> int:
        """The bytes of a whole result."""
        answer = self.run(sql)
        size, found = len(answer), translation.result(answer)
        more = found.more
        while more:
            answer = self.post(wire.fetch(self.id, found.uuid))
            size, more = size + len(answer), has_more(answer)
        return size

    def inserting(self, table: str, chunks: list[bytes]) -> list[bytes]:
        """The messages of an insert, each chunk of which is a commit."""
        return [translation.append(self.id, "main", table, read_chunk(Reader(each))) for each in chunks]

    def close(self) -> None:
        self.post(wire.disconnect(self.id))
        self.http.close()


class Fast3(Quack3):
    """The same of Quack 3, whose rows are not looked at either."""

    def post(self, message: bytes) -> bytes:
        answer = self.http.post("/quack", content=message).content
        assert answer[2] != Kind.ERROR, frames.parse(answer).error
        return answer

    def fetch_all(self, sql: str) -> int:
        query, index = self.number(), 0
        size = len(self.post(frames.prepare(self.id, sql, query)))
        while True:
            index += 1
            answer = self.post(frames.fetch(self.id, query, index, index - 1))
            size += len(answer)
            # Without a chunk it is the end.
            if len(answer) < 64:
                return size

    def inserting(self, table: str, chunks: list[bytes]) -> list[bytes]:
        """The messages of an insert, all of which is one commit."""
        stream = f"scan_data_from_quack_client('{table}', NULL::STRUCT(a BIGINT, b VARCHAR))"
        query, parts = self.number(), [chunks[at : at + VECTORS] for at in range(0, len(chunks), VECTORS)]
        return [
            frames.prepare(self.id, f"INSERT INTO {table} SELECT * FROM {stream}", query, 0),
            *(frames.batch(self.id, table, part, index) for index, part in enumerate(parts, 1)),
            frames.batch(self.id, table, total=len(parts)),
            frames.fetch(self.id, query, 1),
        ]


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


class Versions(Workload):
    """One client of each version, in turn."""

    name = "versions"
    title = "Quack 3 beside Quack 1"
    about = (
        "One gateway, whose nodes speak Quack 1, and one client of each version in frames of the same code, which "
        f"looks at no row. A small query {SMALL} times, the median; {ROWS:,} rows of 4 columns fetched; {INSERTED:,} "
        "rows of 2 columns inserted natively: by Quack 1 a commit for each 2,048 rows, by Quack 3 one commit in all. "
        "A ratio is the time of Quack 3 divided by that of Quack 1."
    )
    contenders = ("azquack",)

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        assert isinstance(contender, AzQuack)
        contender.make("CREATE TABLE t (i BIGINT)")
        contender.start()
        uri = f"http://127.0.0.1:{contender.port}"
        one, three = Quack1(uri, PUBLIC), Fast3(uri, PUBLIC)
        three.http.timeout = httpx.Timeout(600)
        scale = 100 if self.size.quick else 1
        inserted = INSERTED // scale
        numbers = [range(at, min(at + VECTOR, inserted)) for at in range(0, inserted, VECTOR)]
        chunks = [frames.chunk(each, (f"row {n}" for n in each)) for each in numbers]
        try:
            yield lambda: self._figures(one, three, ROWS // scale, chunks, inserted)
        finally:
            one.close()
            three.close()
            contender.stop()

    def _figures(self, one: Quack1, three: Fast3, rows: int, chunks: list[bytes], inserted: int) -> Figures:
        times = {1: _times(one, rows, chunks), 3: _times(three, rows, chunks)}
        for version in times:
            answer = three.all(f"SELECT count(*), sum(a)::BIGINT FROM inserted_{version}")
            check(f"Quack {version}", answer, [(inserted, inserted * (inserted - 1) // 2)])
        figures: dict[str, Figure] = {}
        for what, (unit, factor) in {
            "small query": ("ms", 1000),
            "fetch": ("s", 1),
            "insert": ("s", 1),
        }.items():
            for version, each in times.items():
                figures[f"{what}, Quack {version}"] = Figure(each[what] * factor, unit)
            figures[f"{what}, ratio"] = Figure(times[3][what] / times[1][what], "")
        return figures


def _times(client: Quack1 | Fast3, rows: int, chunks: list[bytes]) -> dict[str, float]:
    """Seconds of each measure."""
    small = statistics.median(seconds(lambda: client.run("SELECT 42")) for _ in range(SMALL))
    fetch = seconds(lambda: client.fetch_all(RESULT.format(rows)))
    table = f"inserted_{1 if isinstance(client, Quack1) else 3}"
    client.run(f"CREATE OR REPLACE TABLE {table}(a BIGINT, b VARCHAR)")
    messages = client.inserting(table, chunks)
    insert = seconds(lambda: [client.post(each) for each in messages])
    return {"small query": small, "fetch": fetch, "insert": insert}
