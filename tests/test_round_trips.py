"""How often each operation asks the catalog: an upgrade that asks once more is noticed here.

Counted at a proxy between a query replica and its catalog, so that whatever the gateway, the node, DuckLake and
the link ask for counts, and what the link answers by itself does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from bench.client import Client, attached, open_client
from bench.contenders import AzQuack
from bench.delay import DelayProxy

REPEATS = 6


@dataclass
class Far:
    """A pair whose replicas speak through `proxy`."""

    pair: AzQuack
    proxy: DelayProxy

    def trips(self, work: Callable[[int], object]) -> int:
        """Round trips of `work`, done over and over: the least, for health probes travel the same way."""
        counts = []
        for number in range(REPEATS):
            before = self.proxy.trips
            work(number)
            counts.append(self.proxy.trips - before)
        return min(counts)


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Far]:
    pair = AzQuack(tmp_path_factory.mktemp("far") / "lake")
    pair.make(
        "CREATE TABLE t AS SELECT range AS i FROM range(1000)",
        "CREATE TABLE trickle (i BIGINT)",
        "CREATE TABLE loaded (i BIGINT, s VARCHAR)",
        *(f"CREATE TABLE other_{number} (i BIGINT)" for number in range(10)),
    )
    try:
        pair.start_catalog()
        proxy = DelayProxy(pair.catalog_port)
        pair.start_query(proxy.port)
        yield Far(pair, proxy)
        proxy.close()
    finally:
        pair.destroy()


@pytest.fixture(scope="module")
def client(far: Far) -> Iterator[Client]:
    opened = open_client(far.pair.address())
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("budget", "sql"),
    [
        pytest.param(0, "SELECT 42", id="SELECT of no table"),
        pytest.param(1, "SELECT sum(i) FROM t", id="SELECT"),
        pytest.param(3, "INSERT INTO trickle VALUES ({n})", id="INSERT of one row"),
        pytest.param(3, "INSERT INTO trickle SELECT range FROM range(100)", id="INSERT of a file"),
        pytest.param(7, "UPDATE t SET i = i WHERE i = {n}", id="UPDATE"),
        pytest.param(6, "DELETE FROM t WHERE i = {n}", id="DELETE"),
        pytest.param(11, "CREATE TABLE made_{n} (i BIGINT)", id="CREATE TABLE"),
        pytest.param(12, "CREATE TABLE filled_{n} AS FROM range(100)", id="CREATE TABLE AS"),
        pytest.param(12, "ALTER TABLE trickle ADD COLUMN c_{n} BIGINT", id="ALTER TABLE"),
    ],
)
def test_a_statement_stays_within_its_round_trips(far: Far, client: Client, budget: int, sql: str) -> None:
    trips = far.trips(lambda number: client.rows(sql.replace("{n}", str(number))))
    assert trips <= budget, f"{sql} asks the catalog {trips} times and not {budget}"


def test_dropping_a_table_stays_within_its_round_trips(far: Far, client: Client) -> None:
    for number in range(REPEATS):
        client.rows(f"CREATE TABLE dropped_{number} (i BIGINT)")
    assert far.trips(lambda number: client.rows(f"DROP TABLE dropped_{number}")) <= 4


def test_a_native_statement_asks_once_more_however_many_tables_there_are(far: Far) -> None:
    with attached(far.pair.address()) as native:

        def insert(rows: int) -> int:
            statement = f"INSERT INTO r.loaded SELECT range, 'x' FROM range({rows})"
            return far.trips(lambda number: native.execute(statement).fetchall())

        assert far.trips(lambda number: native.execute("SELECT sum(i) FROM r.t").fetchall()) <= 2
        # Whether the columns are still those that the client was shown, and then what an INSERT of a file asks.
        assert insert(1) <= 5
        # Three messages, of at most 2,048 rows each.
        assert insert(3 * 2048) <= 3 * 5


def test_a_client_that_attaches_stays_within_its_round_trips(far: Far) -> None:
    trips = far.trips(lambda number: open_client(far.pair.address()).close())
    assert trips <= 3, trips


def test_a_statement_within_a_transaction_stays_within_its_round_trips(far: Far, client: Client) -> None:
    client.rows("BEGIN")
    try:
        # The newest snapshot is not asked for within a transaction, so nothing proves what was read.
        assert far.trips(lambda number: client.rows("SELECT sum(i) FROM t")) <= 4
    finally:
        client.rows("ROLLBACK")


def test_the_proxy_counts_what_is_asked(far: Far, client: Client) -> None:
    # A table of its own each time, of which the link cannot know.
    def work(number: int) -> None:
        client.rows(f"CREATE TABLE fresh_{number} AS FROM range(100)")
        client.rows(f"SELECT count(*) FROM fresh_{number} WHERE range > 5")

    assert far.trips(work) > 3


def test_a_schema_that_grows_asks_no_more(far: Far, client: Client) -> None:
    for number in range(20):
        client.rows(f"CREATE TABLE more_{number} (i BIGINT)")
    assert far.trips(lambda number: client.rows(f"CREATE TABLE many_{number} (i BIGINT)")) <= 11
