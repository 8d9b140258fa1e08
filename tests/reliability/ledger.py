"""Writers that remember what the lake acknowledged, and the comparison with what it holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import duckdb

from tests.cluster import attach_as_r, remote, wait_until
from tests.reliability.replicas import PUBLIC

# A client that comes back at once costs as much as the gateway that it waits for needs to start: a new DuckDB
# and its extensions each time, on the same cores.
RETRY = 0.5
# A writer's tables hold this many rows; more than DuckLake keeps in the catalog, so they are Parquet.
ROWS = 20
KEPT_TABLES = 5


@dataclass
class Gateway:
    """Where the clients go: what `tests.cluster` calls a pair."""

    uri: str
    token: str = PUBLIC
    http_url: str = ""

    def log_text(self) -> str:
        """Nothing: the logs lie with the replicas."""
        return ""


@dataclass
class Ledger:
    """What was tried: `acknowledged` and `uncertain` values, tables that must or may be there.

    `successes` are (begun, done) of every acknowledged statement, on the monotonic clock.
    """

    acknowledged: set[int] = field(default_factory=set)
    uncertain: set[int] = field(default_factory=set)
    made: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    successes: list[tuple[float, float]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def wait_for_success(self, timeout: float = 90.0) -> float:
        """Returns once a statement succeeded that began after this call; when that was."""
        now, seen = time.monotonic(), len(self.successes)

        def found() -> float | None:
            nonlocal seen
            # Those from before are not looked at again and again; a late one may still have begun early.
            for begun, done in self.successes[max(0, seen - 50) :]:
                if begun >= now:
                    return done
            seen = len(self.successes)
            return None

        done: float = wait_until(
            found, lambda: f"nothing was acknowledged any more; the last errors: {self.errors[-5:]}", timeout
        )
        return done

    def longest_pause(self, since: float) -> float:
        """The most seconds from `since` to the next success from now in which nothing was acknowledged."""
        end = self.wait_for_success()
        times = sorted(done for _, done in tuple(self.successes) if since < done <= end)
        return max(later - earlier for earlier, later in pairwise([since, *times]))


@dataclass(frozen=True)
class Damage:
    """What a comparison found wrong; all zero is well."""

    lost: int = 0
    doubled: int = 0
    torn: int = 0

    def __add__(self, other: Damage) -> Damage:
        return Damage(self.lost + other.lost, self.doubled + other.doubled, self.torn + other.torn)


class Writers:
    """Threads that write to `gateway` until they are told to stop: rows pushed and native, and whole tables."""

    def __init__(self, gateway: Gateway, home: Path, *, rows: int = 2, tables: int = 1) -> None:
        self.gateway = gateway
        self.ledger = Ledger()
        self._home = home
        self._stop = threading.Event()
        self._next = iter(range(10**9))
        self._lock = threading.Lock()
        writers: list[Callable[[], None]] = [self._write_rows] * rows + [self._write_tables] * tables
        self._threads = [threading.Thread(target=each, daemon=True) for each in writers]

    @contextmanager
    def writing(self) -> Iterator[Ledger]:
        """While they write."""
        with self.connected() as connection:
            connection.execute(remote("CREATE TABLE IF NOT EXISTS written (i BIGINT)")).fetchall()
        for thread in self._threads:
            thread.start()
        try:
            yield self.ledger
        finally:
            self._stop.set()
            for thread in self._threads:
                thread.join(120)
        assert not any(thread.is_alive() for thread in self._threads), "a writer hangs"

    @contextmanager
    def connected(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A stock client at the gateway."""
        with duckdb.connect(":memory:") as connection:
            for each in attach_as_r(self.gateway, self._home):
                connection.execute(each)
            yield connection

    def compare(self) -> Damage:
        """What the lake holds against the ledger, as a new client sees it, while the writers go on."""
        with self.connected() as connection:
            # What must be there is noted before what is there is read, and a drop before it is sent.
            must, made = set(self.ledger.acknowledged), set(self.ledger.made)
            counted = connection.execute(remote("SELECT i, count(*) AS n FROM written GROUP BY i")).fetchall()
            names = {str(name) for (name,) in connection.execute(remote("SHOW TABLES")).fetchall()}
            gone = [name for name in made - names if name in self.ledger.made]
            torn = [name for name in names if name.startswith("made_") and not self._whole(connection, name)]
        return Damage(
            lost=len(must - {int(value) for value, _ in counted}) + len(gone),
            doubled=sum(int(count) > 1 for _, count in counted),
            torn=len(torn),
        )

    def _whole(self, connection: duckdb.DuckDBPyConnection, name: str) -> bool:
        try:
            # A count alone is answered from statistics; the sum opens the files.
            found = connection.execute(remote(f"SELECT count(*), sum(i + j) FROM {name}")).fetchall()
        except duckdb.Error as error:
            # Dropped by its writer since; anything else is a table that cannot be read.
            return "does not exist" in str(error) and name not in self.ledger.made
        return found == [(ROWS, 3 * sum(range(ROWS)))]

    def _write_rows(self) -> None:
        for connection in self._connections():
            for turn in range(10**9):
                if self._stop.is_set():
                    return
                with self._lock:
                    value = next(self._next)
                native = f"INSERT INTO r.written VALUES ({value})"
                if not self._did(
                    connection, native if turn % 2 else remote(f"INSERT INTO written VALUES ({value})")
                ):
                    self.ledger.uncertain.add(value)
                    break
                self.ledger.acknowledged.add(value)

    def _write_tables(self) -> None:
        mine: list[str] = []
        for connection in self._connections():
            while not self._stop.is_set():
                with self._lock:
                    name = f"made_{next(self._next)}"
                made = f"CREATE TABLE {name} AS SELECT range AS i, range * 2 AS j FROM range({ROWS})"
                if not self._did(connection, remote(made)):
                    self.ledger.doubtful.add(name)
                    break
                self.ledger.made.add(name)
                mine.append(name)
                if len(mine) > KEPT_TABLES:
                    old = mine.pop(0)
                    # From the moment that it is sent it may be gone.
                    self.ledger.made.discard(old)
                    if not self._did(connection, remote(f"DROP TABLE {old}")):
                        break

    def _did(self, connection: duckdb.DuckDBPyConnection, statement: str) -> bool:
        begun = time.monotonic()
        try:
            connection.execute(statement).fetchall()
        except duckdb.Error as error:
            self.ledger.errors.append(str(error).splitlines()[0])
            return False
        self.ledger.successes.append((begun, time.monotonic()))
        return True

    def _connections(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A new connection whenever the last one failed."""
        while not self._stop.is_set():
            try:
                with self.connected() as connection:
                    yield connection
            except duckdb.Error as error:
                self.ledger.errors.append(str(error).splitlines()[0])
                # The gateway is away; the next try is the condition that is awaited.
                self._stop.wait(RETRY)
