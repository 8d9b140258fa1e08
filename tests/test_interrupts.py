"""One statement of a DuckDB process is interrupted, and nothing else: the wheel's functions, and a node's proof."""

from __future__ import annotations

import ctypes
import gc
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import _duckdb
import duckdb
import httpx
import pytest

from azquack.errors import StartError
from azquack.node import interrupts
from azquack.node.interrupts import DELETE, SYMBOLS, Interrupts, proven
from tests.cluster import Pair, TempPair, wait_until

ENDLESS = "SELECT count(*) FROM range(1000000000000000) t(i) WHERE i % 2 = 5"


class Running:
    """A statement on a cursor, in a thread."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection, sql: str = ENDLESS) -> None:
        self.ended: Any = None
        self.thread = threading.Thread(target=self._run, args=(cursor, sql), daemon=True)
        self.thread.start()

    def _run(self, cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
        try:
            self.ended = cursor.execute(sql).fetchall()
        except duckdb.Error as error:
            self.ended = error


@pytest.fixture
def node() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        yield connection


def number_of(cursor: duckdb.DuckDBPyConnection) -> int:
    row = cursor.execute("SELECT current_connection_id()").fetchone()
    assert row is not None
    return int(row[0])


def interrupted(way: Interrupts, number: int, running: Running) -> bool:
    """Whether the statement has ended; it is interrupted until then, as one that had not begun forgets it."""
    way.interrupt(number)
    running.thread.join(0.01)
    return not running.thread.is_alive()


@pytest.mark.parametrize("symbol", SYMBOLS.values(), ids=SYMBOLS)
def test_the_wheel_exports(symbol: str) -> None:
    assert hasattr(ctypes.CDLL(_duckdb.__file__), symbol)


def test_the_memory_of_a_list_is_given_back_by_the_library_that_made_it() -> None:
    assert hasattr(ctypes.CDLL("libstdc++.so.6"), DELETE)


def test_connections_are_listed_by_the_numbers_that_they_give_themselves(
    node: duckdb.DuckDBPyConnection,
) -> None:
    way = Interrupts(node)
    cursors = [node.cursor() for _ in range(20)]
    expected = {number_of(each) for each in (node, *cursors)}
    assert expected <= set(way.numbers())
    with duckdb.connect() as elsewhere:
        # A database has its own list.
        assert len(Interrupts(elsewhere).numbers()) < 20
        assert set(way.numbers()) == expected


def test_one_statement_is_interrupted_and_its_neighbour_and_its_session_go_on(
    node: duckdb.DuckDBPyConnection,
) -> None:
    way = proven(node)
    one, other = node.cursor(), node.cursor()
    one.execute("CREATE TEMP TABLE kept AS SELECT 42 AS a")
    numbers = number_of(one), number_of(other)
    neighbour, running = Running(other), Running(one)
    wait_until(lambda: interrupted(way, numbers[0], running), "the statement was not interrupted")
    assert isinstance(running.ended, duckdb.InterruptException)
    assert one.execute("FROM kept").fetchall() == [(42,)]
    assert number_of(one) == numbers[0]
    assert neighbour.thread.is_alive()
    wait_until(lambda: interrupted(way, numbers[1], neighbour), "the neighbour was not interrupted")


def test_a_number_that_no_connection_has_interrupts_nobody(node: duckdb.DuckDBPyConnection) -> None:
    way, cursor = Interrupts(node), node.cursor()
    number = number_of(cursor)
    running = Running(cursor, "SELECT count(*) FROM range(50000000) t(i) WHERE i % 2 = 5")
    assert not way.interrupt(number + 1000)
    assert not way.interrupt(0)
    wait_until(lambda: not running.thread.is_alive(), "the statement did not end")
    assert running.ended == [(0,)]
    cursor.close()
    gc.collect()
    assert not way.interrupt(number)


def test_a_result_that_is_being_read_ends_in_the_middle(node: duckdb.DuckDBPyConnection) -> None:
    way, cursor = Interrupts(node), node.cursor()
    number = number_of(cursor)
    reader = cursor.execute("SELECT i FROM range(100000000) t(i)").to_arrow_reader(2048)
    reader.read_next_batch()
    assert way.interrupt(number)
    with pytest.raises(OSError, match="INTERRUPT"):
        reader.read_all()
    assert number_of(cursor) == number


def test_listings_leave_nothing_behind(node: duckdb.DuckDBPyConnection) -> None:
    node.execute("CREATE TABLE t (i INTEGER); INSERT INTO t VALUES (1)")
    way = Interrupts(node)
    before = way.numbers()
    for _ in range(300):
        with node.cursor() as cursor:
            cursor.execute("BEGIN; UPDATE t SET i = i + 1")
            assert way.interrupt(number_of(cursor))
    assert way.numbers() == before
    # A context that is kept keeps its transaction, which would conflict with this one.
    assert node.execute("UPDATE t SET i = i + 1").fetchall() == [(1,)]


def test_listings_beside_connections_that_come_and_go(node: duckdb.DuckDBPyConnection) -> None:
    way, over = Interrupts(node), threading.Event()

    def come_and_go() -> None:
        while not over.is_set():
            with node.cursor() as cursor:
                cursor.execute("SELECT 1").fetchall()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for each in threads:
        each.start()
    deadline = time.monotonic() + 0.5
    while time.monotonic() < deadline:
        for number in way.numbers()[:2]:
            way.interrupt(-number & (2**64 - 1))
    over.set()
    for each in threads:
        each.join()
    assert way.numbers() == [number_of(node)]


def test_progress_is_told_of_statements_of_which_duckdb_knows_it(node: duckdb.DuckDBPyConnection) -> None:
    node.execute("CREATE TABLE t AS SELECT i, hash(i) h FROM range(5000000) t(i)")
    way, cursor = Interrupts(node), node.cursor()
    cursor.execute("PRAGMA enable_progress_bar; PRAGMA disable_print_progress_bar")
    number = number_of(cursor)
    assert way.progress([number]) == {}
    running = Running(cursor, "SELECT count(*) FROM t WHERE md5(h::VARCHAR) || md5(i::VARCHAR) = 'a'")
    wait_until(lambda: way.progress([number]).get(number, (0, 0, 0))[1] > 0, "no progress was told")
    wait_until(lambda: interrupted(way, number, running), "the statement was not interrupted")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (lambda self, number: False, "a running statement was not interrupted"),
        (
            lambda self, number: [self._each(lambda n, context: self._functions["interrupt"](context))],
            "an interrupt of one statement ended another",
        ),
    ],
    ids=["nobody", "everybody"],
)
def test_a_way_that_does_not_work_is_not_proven(
    node: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, broken: Any, reason: str
) -> None:
    monkeypatch.setattr(interrupts, "PROOF_SECONDS", 0.3)
    monkeypatch.setattr(Interrupts, "interrupt", broken)
    with pytest.raises(StartError, match=reason):
        proven(node)
    assert node.execute("SELECT 1").fetchall() == [(1,)]


def test_a_build_without_the_functions_has_no_way(
    node: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SYMBOLS, "interrupt", "_ZN6duckdb13ClientContext5StopAEv")
    with pytest.raises(StartError, match="not as others are"):
        proven(node)


def test_the_nodes_of_a_pair_have_proven_it(pair: Pair) -> None:
    for url, process in ((pair.http_url, "query-node"), (catalog_of(pair), "catalog-node")):
        told = httpx.get(f"{url}/metrics", trust_env=False).text
        assert re.search(rf'azquack_interrupts_proven{{process="{process}[^"]*"}} 1.0', told)


def catalog_of(pair: Pair) -> str:
    if not isinstance(pair, TempPair):
        pytest.skip("where the catalog of this pair shows its metrics is not known")
    return str(pair.info["catalog_http_url"])
