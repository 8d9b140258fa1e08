"""How the link behaves when the catalog dies, stands still or is cut off.

Nothing acknowledged is lost, nothing is doubled, and a statement waits for the catalog where it can.
"""

from __future__ import annotations

import os
import random
import signal
import threading

import pytest

from tests.cluster import wait_until
from tests.link.conftest import NodeFactory
from tests.link.processes import CatalogProcess, QueryProcess, TcpProxy
from tests.link.test_link import metadata

# A text that stands in every commit of DuckLake and in nothing else.
COMMIT = b"ducklake_snapshot VALUES"
ROUNDS = int(os.environ.get("AZQUACK_TEST_ROUNDS", "100"))


def count(query: QueryProcess) -> int:
    ((rows,),) = query.rows("SELECT count(*) FROM lake.t")
    return int(rows)


def test_a_restart_of_the_catalog_is_not_noticed(catalog: CatalogProcess, node: NodeFactory) -> None:
    query = node()
    query.rows("CREATE TABLE t (i INTEGER)")
    catalog.kill()
    catalog.start()
    query.rows("INSERT INTO t VALUES (1)")
    assert count(query) == 1
    assert query.counters()["relogins"] == 1


@pytest.mark.parametrize("statement", ["INSERT INTO lake.t VALUES (1)", "SELECT count(*) FROM lake.t"])
def test_a_statement_waits_for_the_catalog(
    catalog: CatalogProcess, line: TcpProxy, node: NodeFactory, statement: str
) -> None:
    query = node()
    query.rows("CREATE TABLE t (i INTEGER)")
    catalog.kill()
    query.begin_threads([[statement]])
    wait_until(lambda: line.refused > 2, "The link did not try again while the catalog was away")
    catalog.start()
    ((result,),) = query.finish_threads()
    assert "rows" in result, result
    assert query.counters()["holds"] >= 1


def test_a_catalog_that_stays_away_is_said_in_a_sentence(
    catalog: CatalogProcess, line: TcpProxy, node: NodeFactory
) -> None:
    query = node(hold=0.5)
    query.rows("CREATE TABLE t (i INTEGER)")
    catalog.kill()
    (result,) = query.results("INSERT INTO t VALUES (1)")
    assert "The catalog did not come back within 0.5 s, so the statement was not run" in result["error"]
    catalog.start()
    query.rows("INSERT INTO t VALUES (2)")
    assert count(query) == 1


@pytest.mark.parametrize("statement", ["INSERT INTO lake.t VALUES (1)", "CREATE TABLE lake.u (i INTEGER)"])
def test_a_commit_whose_answer_is_lost_is_found(
    catalog: CatalogProcess, line: TcpProxy, node: NodeFactory, statement: str
) -> None:
    query = node()
    query.rows("CREATE TABLE t (i INTEGER)")
    before = metadata(query, "SELECT count(*) FROM ducklake_snapshot")
    line.drop_answers(COMMIT)
    query.begin_threads([[statement]])
    wait_until(line.dropped.is_set, "No answer was lost")
    line.restore()
    ((result,),) = query.finish_threads()
    assert "rows" in result, result
    assert query.counters()["recovered"] == 1
    assert metadata(query, "SELECT count(*) FROM ducklake_snapshot") == [[before[0][0] + 1]]  # type: ignore[operator]


def test_a_commit_that_never_arrived_is_run(
    catalog: CatalogProcess, line: TcpProxy, node: NodeFactory
) -> None:
    query = node()
    query.rows("CREATE TABLE t (i INTEGER)")
    line.drop_requests(COMMIT)
    query.begin_threads([["INSERT INTO lake.t VALUES (1)"]])
    wait_until(line.dropped.is_set, "No request was lost")
    line.restore()
    ((result,),) = query.finish_threads()
    assert "rows" in result, result
    assert count(query) == 1


def test_a_catalog_that_dies_with_the_answer_has_one_row(
    catalog: CatalogProcess, line: TcpProxy, node: NodeFactory
) -> None:
    query = node()
    query.rows("CREATE TABLE t (i INTEGER)")
    line.drop_answers(COMMIT)
    query.begin_threads([["INSERT INTO lake.t VALUES (1)"]])
    wait_until(line.dropped.is_set, "No answer was lost")
    catalog.kill()
    line.restore()
    catalog.start()
    ((result,),) = query.finish_threads()
    assert "rows" in result, result
    assert count(query) == 1


def test_an_outcome_that_cannot_be_known_is_said(
    catalog: CatalogProcess, line: TcpProxy, node: NodeFactory
) -> None:
    query = node(hold=0.5)
    query.rows("CREATE TABLE t (i INTEGER)")
    line.drop_answers(COMMIT, then_cut=True)
    query.begin_threads([["INSERT INTO lake.t VALUES (1)"]])
    ((result,),) = query.finish_threads()
    assert "may have been applied or not" in result["error"]
    assert query.counters()["unknown"] == 1
    line.restore()
    assert count(query) == 1


def test_a_write_without_a_snapshot_is_never_repeated(
    catalog: CatalogProcess, line: TcpProxy, node: NodeFactory
) -> None:
    query = node()
    line.drop_answers(b'INTO "main".ducklake_metadata VALUES')
    (result,) = query.results("CALL lake.set_option('target_file_size', '10MB')")
    assert "may have been applied or not" in result["error"]
    line.restore()
    assert metadata(query, "SELECT count(*) FROM ducklake_metadata WHERE key = 'target_file_size'") == [[1]]


@pytest.mark.parametrize("stop", [signal.SIGSTOP, None], ids=["catalog stopped", "line frozen"])
def test_a_commit_that_meets_a_standstill_counts_once(
    catalog: CatalogProcess, line: TcpProxy, node: NodeFactory, stop: signal.Signals | None
) -> None:
    query = node(answer=1.0)
    query.rows("CREATE TABLE t (i INTEGER)")
    query.rows("INSERT INTO t VALUES (1)")
    if stop is None:
        line.freeze()
    else:
        catalog.signal(stop)
    query.begin_threads([["INSERT INTO lake.t VALUES (2)"]])
    wait_until(lambda: line.connections > 2, "The link did not give the line up")
    line.restore()
    catalog.signal(signal.SIGCONT)
    ((result,),) = query.finish_threads()
    assert "rows" in result, result
    assert count(query) == 2


def test_a_transaction_that_lost_its_catalog_is_told_so(catalog: CatalogProcess, node: NodeFactory) -> None:
    query = node()
    metadata(query, "BEGIN")
    metadata(query, "CREATE TABLE mine (i INTEGER)")
    catalog.kill()
    catalog.start()
    (lost,) = query.results("FROM quack_query_by_name('__ducklake_metadata_lake', 'FROM mine')")
    assert "of which nothing was kept: roll back and begin it again" in lost["error"]
    query.results("FROM quack_query_by_name('__ducklake_metadata_lake', 'ROLLBACK')")
    query.rows("CREATE TABLE t (i INTEGER)")


def killed_under_load(catalog: CatalogProcess, query: QueryProcess, rounds: int, seed: int) -> None:
    """Kills the catalog `rounds` times while threads insert and create; what was acknowledged is there."""
    chance = random.Random(seed)
    per_thread, patience = 8 * rounds, 90.0 + 15 * rounds
    query.rows("CREATE TABLE t (i INTEGER)")
    inserts = [
        [f"INSERT INTO lake.t VALUES ({thread * 1_000_000 + number})" for number in range(per_thread)]
        for thread in range(3)
    ]
    tables = [
        statement.format(number)
        for number in range(rounds)
        for statement in (
            "CREATE TABLE lake.made_{} AS SELECT range AS i FROM range(5)",
            "ALTER TABLE lake.made_{} ADD COLUMN k INTEGER",
        )
    ]
    query.begin_threads([*inserts, tables])
    finished = threading.Event()
    results: list[list[dict[str, object]]] = []

    def finish() -> None:
        results.extend(query.finish_threads(patience))
        finished.set()

    waiter = threading.Thread(target=finish, daemon=True)
    waiter.start()
    for _ in range(rounds):
        finished.wait(chance.uniform(0.05, 0.8))
        catalog.kill()
        catalog.start()
    waiter.join(patience)
    assert finished.is_set(), f"The statements did not end:\n{query.log_text()}"
    failed = [result["error"] for part in results for result in part if "error" in result]
    assert failed == []
    assert query.rows("SELECT count(*), count(DISTINCT i) FROM lake.t") == [[3 * per_thread, 3 * per_thread]]
    for number in range(rounds):
        assert query.rows(f"SELECT count(*), sum(i), count(k) FROM lake.made_{number}") == [[5, 10, 0]]
    assert_whole(query)


def assert_whole(query: QueryProcess) -> None:
    """No snapshot without its changes, no table without columns, no number given twice."""
    torn = {
        "snapshots without changes": "SELECT count(*) FROM ducklake_snapshot FULL JOIN "
        "ducklake_snapshot_changes USING (snapshot_id) WHERE changes_made IS NULL OR snapshot_time IS NULL",
        "tables without columns": "SELECT count(*) FROM ducklake_table "
        "ANTI JOIN ducklake_column USING (table_id)",
        "tables twice": "SELECT count(*) - count(DISTINCT table_id) FROM ducklake_table "
        "WHERE end_snapshot IS NULL",
        "gaps": "SELECT max(snapshot_id) + 1 - count(*) FROM ducklake_snapshot",
    }
    assert {name: metadata(query, sql) for name, sql in torn.items()} == {name: [[0]] for name in torn}


def test_a_catalog_killed_under_load_loses_nothing(catalog: CatalogProcess, node: NodeFactory) -> None:
    killed_under_load(catalog, node(hold=120.0), rounds=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_catalog_killed_a_hundred_times_loses_nothing(catalog: CatalogProcess, node: NodeFactory) -> None:
    # A machine that is busy starts a catalog slowly, and the next kill comes all the same.
    query = node(hold=300.0)
    for batch in range(ROUNDS // 10):
        query.results("DROP TABLE IF EXISTS t", *(f"DROP TABLE IF EXISTS made_{each}" for each in range(10)))
        killed_under_load(catalog, query, rounds=10, seed=batch)
