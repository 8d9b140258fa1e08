"""Clients of Quack 3 at a real pair: sessions, results, inserts of their rows, transactions, cancels and heartbeats."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import duckdb
import httpx
import pytest

from azquack.quack.wire3 import Kind
from tests.cluster import Pair, wait_until
from tests.gateway.parts import ANN, GatewayProcess, NodeProcess
from tests.quack3 import frames
from tests.quack3.frames import Quack3

STREAM = "scan_data_from_quack_client('{}', NULL::STRUCT(a BIGINT, b VARCHAR), ordered := true)"


@pytest.fixture
def url(pair: Pair) -> str:
    return f"http://{pair.uri.split(':', 1)[1]}"


@pytest.fixture
def q(pair: Pair, url: str) -> Iterator[Quack3]:
    session = Quack3(url, pair.token)
    yield session
    session.close()


@pytest.fixture
def table(q: Quack3, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty table of a BIGINT and a VARCHAR."""
    name = f"main.q3_{abs(hash(request.node.name)) % 10**8}"
    q.run(f"CREATE TABLE {name}(a BIGINT, b VARCHAR)")
    yield name
    q.prepare(f"DROP TABLE {name}")


def snapshots(q: Quack3) -> int:
    ((count,),) = q.all("SELECT count(*) FROM ducklake_snapshots('lake')")
    return int(count)


def insert(q: Quack3, table: str, stream: str, inline_rows: int | None = 0) -> frames.Answer:
    return q.prepare(f"INSERT INTO {table} SELECT * FROM {STREAM.format(stream)}", inline_rows=inline_rows)


def send(
    q: Quack3, stream: str, index: int | None = None, *chunks: bytes, total: int | None = None
) -> frames.Answer:
    return q.ask(frames.batch(q.id, stream, chunks, index, total))


def test_both_versions_see_the_same_lake(
    q: Quack3, table: str, connection: duckdb.DuckDBPyConnection
) -> None:
    q.run(f"INSERT INTO {table} VALUES (1, 'three')")
    connection.execute(f"FROM r.query('INSERT INTO {table} VALUES (2, ''one'')')").fetchall()
    rows = [(1, "three"), (2, "one")]
    assert q.all(f"FROM {table} ORDER BY a") == rows
    assert connection.execute(f"FROM r.query('FROM {table} ORDER BY a')").fetchall() == rows


def test_the_login_chooses_the_version_and_says_what_there_is(pair: Pair, url: str) -> None:
    def login(lowest: int, highest: int, heartbeat: int = 60) -> frames.Answer:
        body = frames.login(pair.token, lowest, highest, heartbeat)
        response = httpx.post(f"{url}/quack", content=body, trust_env=False)
        assert response.status_code == 200
        return frames.parse(response.content)

    for lowest, highest, heartbeat, told in ((3, 3, 20, 20), (1, 3, 0, 60), (3, 9, 300, 300)):
        answer = login(lowest, highest, heartbeat)
        assert (answer.kind, answer.version, answer.heartbeat) == (Kind.CONNECTION_RESPONSE, 3, told)
        httpx.post(
            f"{url}/quack", content=frames.empty(Kind.DISCONNECT, answer.connection_id), trust_env=False
        )
    for lowest, highest in ((2, 2), (4, 9)):
        assert "Unsupported Quack version: this server speaks Quack 1" in login(lowest, highest).error
    assert "heartbeat_timeout out of range" in login(3, 3, 301).error


def test_a_batch_comes_again_until_it_is_acknowledged(q: Quack3) -> None:
    first = q.run("FROM range(100000)")
    one = q.fetch(first.query, 1)
    two = q.fetch(first.query, 2)
    assert (q.fetch(first.query, 1).raw, q.fetch(first.query, 2).raw) == (one.raw, two.raw)
    three = q.fetch(first.query, 3, 2)
    assert "acknowledged" in q.fetch(first.query, 1).error
    rows = [row for each in (first, one, two, three) for row in each.rows]
    assert rows == [(n,) for n in range(len(rows))]
    assert q.fetch(first.query, 500).error.startswith("This FETCH asks for no batch")
    assert q.ask(frames.of_query(Kind.ACKNOWLEDGEMENT, q.id, first.query)).kind is Kind.SUCCESS


def test_the_end_of_a_result_tells_how_many_batches_there_were(q: Quack3) -> None:
    first = q.run("FROM range(60000)")
    rows, index = list(first.rows), 0
    while (part := q.fetch(first.query, index + 1, index)).index is not None:
        index += 1
        rows += part.rows
    assert (part.total, rows) == (index, [(n,) for n in range(60_000)])
    assert q.fetch(first.query, index + 1, index).raw == part.raw


@pytest.mark.parametrize(("inline", "least"), [(0, 0), (1, 1), (3000, 3000), (None, 10_000)])
def test_the_answer_brings_as_many_rows_as_the_client_wants(
    q: Quack3, inline: int | None, least: int
) -> None:
    answer = q.prepare("FROM range(10000)", inline_rows=inline)
    assert least <= len(answer.rows) <= least + 2048
    rows = list(answer.rows)
    if answer.more:
        rows += q.fetch(answer.query, 1).rows
    assert rows == [(n,) for n in range(10_000)]


def test_several_results_of_one_session_are_open_at_once(q: Quack3) -> None:
    opened = [q.run(f"SELECT range + {10**6 * at} FROM range(80000)") for at in range(4)]
    rows = [list(each.rows) for each in opened]
    for index in range(1, 4):
        for at, each in enumerate(opened):
            rows[at] += q.fetch(each.query, index, index - 1).rows
    for at, found in enumerate(rows):
        assert found == [(n + 10**6 * at,) for n in range(80_000)]


def test_results_within_a_transaction_see_it_and_each_other(q: Quack3, table: str) -> None:
    assert not q.prepare("BEGIN TRANSACTION", 0).error
    q.run(f"INSERT INTO {table} SELECT range, 'x' FROM range(60000)")
    one, two = q.run(f"SELECT a FROM {table} ORDER BY a"), q.run(f"SELECT -a FROM {table} ORDER BY a")
    assert (one.more, two.more) == (True, True)
    second = two.rows + q.fetch(two.query, 1).rows
    first = one.rows + q.fetch(one.query, 1).rows
    assert first == [(n,) for n in range(len(first))]
    assert second == [(-n,) for n in range(len(second))]
    assert not q.prepare("ROLLBACK", 0).error
    assert q.all(f"SELECT count(*) FROM {table}") == [(0,)]


def test_a_question_about_the_catalog_is_answered_in_one_round_trip(q: Quack3) -> None:
    answer = q.prepare("SELECT range, 'x' FROM range(70000)", 0)
    assert (len(answer.rows), answer.more) == (70_000, False)
    assert "too large for one answer" in q.prepare("SELECT repeat('x', 1000) FROM range(100000)", 0).error
    assert q.all("SELECT 1") == [(1,)]


TREE = """
WITH RECURSIVE schema_tree AS (
	SELECT oid, database_name, [schema_name] AS schema_path
	FROM duckdb_schemas()
	WHERE parent_schema_oid IS NULL
	UNION ALL
	SELECT nested.oid, nested.database_name, list_append(parent.schema_path, nested.schema_name)
	FROM duckdb_schemas() nested
	JOIN schema_tree parent ON nested.parent_schema_oid = parent.oid
)
SELECT oid, database_name, schema_path, current_database()
FROM schema_tree
WHERE database_name NOT IN ('system', 'temp')
ORDER BY (database_name = current_database()) DESC, database_name, length(schema_path), schema_path
	"""
TABLES = """
SELECT schema_oid, sql, 'table'
FROM duckdb_tables()
UNION ALL
SELECT schema_oid, view_name, 'view'
FROM duckdb_views()
	"""
OLDER = (
    "SELECT catalog_name, schema_name FROM information_schema.schemata "
    "WHERE catalog_name NOT IN ('system', 'temp') ORDER BY ALL"
)


def test_what_duckdb_2_asks_at_attach_tells_the_lake_and_nothing_behind_it(q: Quack3, table: str) -> None:
    schemas = q.prepare(TREE, 0)
    assert {row[1] for row in schemas.rows} == {"lake"}
    numbers = {path[0]: oid for oid, _, path, _ in schemas.rows}
    tables = q.prepare(TABLES, 0)
    name = table.split(".")[1]
    assert [row[0] for row in tables.rows if name in row[1]] == [numbers["main"]]
    assert not any("ducklake_" in row[1] for row in tables.rows)
    older = q.prepare(OLDER, 0)
    assert {row[0] for row in older.rows} == {"lake"}


def test_schemas_views_and_tables_are_made_natively(q: Quack3) -> None:
    for sql in ("BEGIN TRANSACTION", "CREATE SCHEMA IF NOT EXISTS q3_made", "COMMIT", "BEGIN TRANSACTION",
                "CREATE VIEW q3_made.v AS SELECT 42 AS x", "COMMIT"):  # fmt: skip
        assert not q.prepare(sql, 0).error
    assert q.all("FROM q3_made.v") == [(42,)]
    for sql in ("DROP VIEW q3_made.v", "DROP SCHEMA q3_made"):
        assert not q.prepare(sql, 0).error


def test_an_insert_of_a_stream_is_one_statement_and_one_commit(q: Quack3, table: str) -> None:
    before = snapshots(q)
    answer = insert(q, table, "one")
    assert (answer.names, answer.more, answer.rows) == (["Count"], True, [])
    expected = []
    for index in range(1, 6):
        numbers = range(index * 10_000, index * 10_000 + 2048)
        assert (
            send(q, "one", index, frames.chunk(numbers, map(str, numbers), joined=True)).kind
            is Kind.SEND_DATA_RESPONSE
        )
        expected += [(n, str(n)) for n in numbers]
    assert q.all(f"SELECT count(*) FROM {table}") == [(0,)]
    assert send(q, "one", total=5).kind is Kind.SEND_DATA_RESPONSE
    assert q.fetch(answer.query, 1).rows == [(5 * 2048,)]
    assert q.fetch(answer.query, 2, 1).total == 1
    assert q.all(f"FROM {table} ORDER BY a") == expected
    assert snapshots(q) == before + 1


def test_an_insert_may_wait_for_its_rows(q: Quack3, table: str) -> None:
    answers: list[frames.Answer] = []

    def run() -> None:
        with q.beside() as other:
            answers.append(other.prepare(f"INSERT INTO {table} SELECT * FROM {STREAM.format('w')}", 4711))

    waiting = threading.Thread(target=run)
    waiting.start()
    chunk = frames.chunk([1, 2], ["a", None])
    # As clients do: until the statement has opened its stream, its rows are refused and come again.
    wait_until(
        lambda: not (sent := send(q, "w", 1, chunk)).error or "No active data stream 'w'" not in sent.error,
        "No stream",
    )
    assert not send(q, "w", total=1).error
    waiting.join()
    assert (answers[0].rows, answers[0].more, answers[0].query) == ([(2,)], False, 4711)
    assert q.all(f"FROM {table} ORDER BY a") == [(1, "a"), (2, None)]


def test_rows_for_a_table_are_one_commit_at_their_finalize(q: Quack3, table: str) -> None:
    schema, name = table.split(".")
    before, query = snapshots(q), 1 << 90
    for at in range(3):
        assert not q.ask(frames.rows(q.id, schema, name, frames.chunk([at], ["x"]), query)).error
    assert q.ask(frames.of_query(Kind.FINALIZE, q.id, query)).kind is Kind.SUCCESS
    assert q.all(f"FROM {table} ORDER BY a") == [(0, "x"), (1, "x"), (2, "x")]
    assert snapshots(q) == before + 1
    assert q.ask(frames.of_query(Kind.FINALIZE, q.id, 1 << 91)).kind is Kind.SUCCESS


def test_batches_out_of_order_and_sent_again_are_inserted_once(
    q: Quack3, pair: Pair, url: str, table: str
) -> None:
    answer = insert(q, table, "shuffled")
    parts = {at: frames.chunk([at], [f"b{at}"]) for at in range(1, 7)}

    def post(at: int) -> None:
        with q.beside() as other:
            assert not send(other, "shuffled", at, parts[at]).error

    threads = [threading.Thread(target=post, args=(at,)) for at in (3, 2, 6, 1, 5, 4, 2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not send(q, "shuffled", total=6).error
    assert q.fetch(answer.query, 1).rows == [(6,)]
    assert q.all(f"FROM {table}") == [(at, f"b{at}") for at in range(1, 7)]


@pytest.mark.parametrize("how", ["missing", "wrong", "cancel", "truncated"])
def test_an_insert_that_fails_keeps_nothing(q: Quack3, table: str, how: str) -> None:
    before, answer = snapshots(q), insert(q, table, "bad")
    assert not send(q, "bad", 1, frames.chunk([1], ["a"])).error
    match how:
        case "missing":
            assert "some are missing, so nothing was inserted" in send(q, "bad", total=3).error
        case "wrong":
            assert send(q, "bad", 2, frames.chunk([1])).error
        case "cancel":
            assert q.ask(frames.of_query(Kind.CANCEL, q.id, answer.query)).kind is Kind.SUCCESS
        case "truncated":
            body = frames.batch(q.id, "bad", [frames.chunk([2], ["b"])], 2)
            assert "cut off: nothing of it was run" in q.ask(body[:-9]).error
            assert "some are missing" in send(q, "bad", total=2).error
    assert q.fetch(answer.query, 1).error
    assert (q.all(f"FROM {table}"), snapshots(q)) == ([], before)
    assert "No active data stream" in send(q, "bad", total=1).error
    assert q.all("SELECT count(*) FROM duckdb_tables() WHERE table_name LIKE 'azquack_rows%'") == [(0,)]


def test_an_insert_into_a_table_that_is_not_there_fails_before_its_rows_or_at_their_end(q: Quack3) -> None:
    answer = insert(q, "main.q3_nowhere", "lost")
    if not answer.error:
        send(q, "lost", total=0)
        answer = q.fetch(answer.query, 1)
    assert "q3_nowhere" in answer.error
    assert answer.exception == "Catalog"


def test_an_insert_of_a_transaction_is_rolled_back_with_it(q: Quack3, table: str) -> None:
    for end, count in (("ROLLBACK", 0), ("COMMIT", 1)):
        assert not q.prepare("BEGIN TRANSACTION", 0).error
        answer = insert(q, table, "in a transaction")
        assert not send(q, "in a transaction", 1, frames.chunk([1], ["a"])).error
        assert not send(q, "in a transaction", total=1).error
        assert q.fetch(answer.query, 1).rows == [(1,)]
        assert not q.prepare(end, 0).error
        assert q.all(f"SELECT count(*) FROM {table}") == [(count,)]


def running(q: Quack3, query: int) -> tuple[threading.Thread, list[frames.Answer]]:
    """An endless statement of the session on its way, and what it is answered."""
    answers: list[frames.Answer] = []

    def run() -> None:
        with q.beside() as other:
            answers.append(other.prepare("SELECT sum(i * i % 7) FROM range(1000000000000) t(i)", query))

    thread = threading.Thread(target=run)
    thread.start()
    return thread, answers


@pytest.mark.parametrize("whole", [False, True], ids=["one", "all"])
def test_a_cancel_ends_the_statement_and_the_session_goes_on(q: Quack3, whole: bool) -> None:
    query = q.number()
    thread, answers = running(q, query)

    def cancelled() -> bool:
        # One that comes before the statement finds nothing.
        q.ask(frames.of_query(Kind.CANCEL, q.id, 0 if whole else query))
        thread.join(0.1)
        return not thread.is_alive()

    wait_until(cancelled, "The statement went on after its CANCEL")
    assert ("cancelled by its client" in answers[0].error, answers[0].exception) == (True, "INTERRUPT")
    assert q.all("SELECT 1") == [(1,)]


def test_a_cancelled_result_says_so_and_an_unknown_one_too(q: Quack3) -> None:
    first = q.run("FROM range(200000)")
    assert q.ask(frames.of_query(Kind.CANCEL, q.id, first.query)).kind is Kind.SUCCESS
    assert "cancelled" in q.fetch(first.query, 1).error
    assert "no statement with that query id" in q.ask(frames.of_query(Kind.CANCEL, q.id, 999)).error
    assert q.ask(frames.of_query(Kind.CANCEL, q.id, 0)).kind is Kind.SUCCESS


def test_a_session_whose_heartbeats_stop_is_gone_with_its_transaction(
    pair: Pair, url: str, q: Quack3, table: str
) -> None:
    silent, alive = Quack3(url, pair.token, heartbeat=1), Quack3(url, pair.token, heartbeat=1)
    assert not silent.prepare("BEGIN TRANSACTION", 0).error
    silent.run(f"INSERT INTO {table} VALUES (1, 'gone')")
    thread, answers = running(silent, 8)
    until = time.monotonic() + 3
    while time.monotonic() < until:
        assert alive.ask(frames.empty(Kind.HEARTBEAT, alive.id)).kind is Kind.SUCCESS
        time.sleep(0.2)
    thread.join(20)
    assert answers[0].error
    told = silent.ask(frames.empty(Kind.HEARTBEAT, silent.id)).error
    assert told == "This session has ended, for no heartbeat came for 1 s: DETACH it and ATTACH it again"
    assert alive.all("SELECT 1") == [(1,)]
    assert q.all(f"SELECT count(*) FROM {table}") == [(0,)]
    alive.close()
    silent.http.close()


def test_a_query_id_is_taken_once(q: Quack3) -> None:
    first = q.run("FROM range(100000)")
    assert "take a new one" in q.prepare("SELECT 1", first.query).error
    assert q.fetch(first.query, 1).rows


def explain(q: Quack3, sql: str) -> tuple[str, str]:
    answer = q.prepare(sql)
    return answer.exception, answer.error.split("\n", 1)[0]


def test_errors_have_their_type(q: Quack3) -> None:
    assert explain(q, "FROM q3_nope")[0] == "Catalog"
    assert explain(q, "selectx") == ("Parser", 'syntax error at or near "selectx"')
    assert explain(q, "SELECT nope FROM range(1)")[0] == "Binder"
    assert explain(q, "SELECT 'a'::INT")[0] == "Conversion"
    assert explain(q, "COPY (SELECT 1) TO '/tmp/x'")[0] == "Permission"


def test_the_crates_form_of_a_result_stays(q: Quack3) -> None:
    answer: Any = q.run("SELECT 42::BIGINT AS a, ['x'] AS b")
    assert (answer.names, answer.rows) == (["a", "b"], [(42, ["x"])])


@pytest.mark.slow
def test_batches_that_are_never_acknowledged_are_held_back_and_nothing_is_kept() -> None:
    node = NodeProcess("n1", "ATTACH ':memory:' AS lake; USE lake")
    gateway = GatewayProcess(node, native_names=True, only_gateway=True, limits={"result_seconds": 4.0})
    q = Quack3(f"http://127.0.0.1:{gateway.port}", ANN)
    try:
        first = q.run("SELECT repeat('x', 1000) FROM range(200000)")
        index, rows = 1, len(first.rows)
        while not (part := q.fetch(first.query, index)).error:
            rows, index = rows + len(part.rows), index + 1
        assert "not acknowledged" in part.error
        held = index
        # All of it goes on with an acknowledgement.
        while (part := q.fetch(first.query, index, index - 1)).index is not None:
            rows, index = rows + len(part.rows), index + 1
        assert (rows, held < index, part.error) == (200_000, True, "")
        forgotten = q.run("SELECT repeat('x', 1000) FROM range(200000)")
        wait_until(
            lambda: "was dropped" in q.fetch(forgotten.query, 999).error,
            "A result that nobody fetches is kept",
        )
    finally:
        q.close()
        gateway.stop()
        node.stop()
