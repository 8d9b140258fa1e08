"""Group commit: inserts that come at once share a commit, and nobody can tell but by the clock."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import duckdb
import httpx
import psutil
import pytest

from tests.cluster import TempPair, attached, remote, wait_until
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import ANN, BOB, Client, RoundRobin, client, pump

CLIENTS = 12
EACH = 10

Connection = duckdb.DuckDBPyConnection


@pytest.fixture(scope="module")
def grouping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TempPair]:
    """A pair whose gateway gathers inserts."""
    with TempPair(tmp_path_factory.mktemp("grouping") / "lake") as pair:
        yield pair


def crowd(
    pair: TempPair, home: Path, work: Callable[[int, Connection], None], clients: int = CLIENTS
) -> None:
    """Runs `work(number, connection)` in as many clients at once; raises what one of them raised."""
    errors: list[BaseException] = []
    with ExitStack() as stack:
        connections = [stack.enter_context(attached(pair, home)) for _ in range(clients)]
        start = threading.Barrier(clients)

        def run(number: int) -> None:
            start.wait()
            try:
                work(number, connections[number])
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(number,)) for number in range(clients)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(120)
    if errors:
        raise errors[0]


def snapshots(pair: TempPair, home: Path) -> int:
    with attached(pair, home) as connection:
        return one(connection, "SELECT count(*) FROM lake.snapshots()")


def one(connection: Connection, sql: str) -> int:
    """The number that `sql` gives on the node."""
    row = connection.execute(remote(sql)).fetchone()
    assert row is not None
    return int(row[0])


def made(pair: TempPair, home: Path, *statements: str) -> int:
    """Runs `statements`; the snapshots after them."""
    with attached(pair, home) as connection:
        for sql in statements:
            connection.execute(remote(sql)).fetchall()
    return snapshots(pair, home)


def test_inserts_at_once_share_commits_and_each_gets_its_own_answer(grouping: TempPair, home: Path) -> None:
    before = made(grouping, home, "CREATE TABLE shared (client INTEGER, n INTEGER)")

    def work(number: int, connection: Connection) -> None:
        rows = 1 + number % 3
        for n in range(EACH):
            values = ", ".join([f"({number}, {n})"] * rows)
            answer = connection.execute(remote(f"INSERT INTO shared VALUES {values}")).fetchall()
            assert answer == [(rows,)]
            # Whoever has the answer sees the rows.
            mine = f"SELECT count(*) FROM shared WHERE client = {number}"
            assert one(connection, mine) == rows * (n + 1)

    crowd(grouping, home, work)
    assert snapshots(grouping, home) - before < CLIENTS * EACH / 2
    with attached(grouping, home) as connection:
        per_client = connection.execute(
            remote("SELECT client, count(*), count(DISTINCT n) FROM shared GROUP BY ALL ORDER BY ALL")
        ).fetchall()
    assert per_client == [(number, (1 + number % 3) * EACH, EACH) for number in range(CLIENTS)]
    # Small inserts stay in the catalog, however many share a commit.
    assert not list((grouping.directory / "data").rglob("shared/*"))
    assert (
        "azquack_gateway_group_inserts_count"
        in httpx.get(f"{grouping.http_url}/metrics", trust_env=False).text
    )


def test_native_inserts_at_once_share_commits(grouping: TempPair, home: Path) -> None:
    before = made(grouping, home, "CREATE TABLE appended (client INTEGER, n INTEGER)")

    def work(number: int, connection: Connection) -> None:
        for n in range(EACH):
            connection.execute(f"INSERT INTO r.appended VALUES ({number}, {n})")

    crowd(grouping, home, work)
    assert snapshots(grouping, home) - before < CLIENTS * EACH / 2
    with attached(grouping, home) as connection:
        assert one(connection, "SELECT count(*) FROM appended") == CLIENTS * EACH
        assert one(connection, "SELECT count(*) FROM (FROM appended GROUP BY ALL)") == CLIENTS * EACH


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("INSERT INTO strict VALUES ('no number')", "Could not convert"),
        ("INSERT INTO strict VALUES (NULL)", "NOT NULL"),
        ("INSERT INTO nowhere VALUES (1)", "nowhere"),
    ],
)
def test_an_insert_with_a_mistake_fails_alone(
    grouping: TempPair, home: Path, wrong: str, sentence: str
) -> None:
    made(grouping, home, "DROP TABLE IF EXISTS strict", "CREATE TABLE strict (n INTEGER NOT NULL)")

    def work(number: int, connection: Connection) -> None:
        for n in range(EACH):
            if number % 4 == 0:
                with pytest.raises(duckdb.Error, match=sentence):
                    connection.execute(remote(wrong)).fetchall()
            else:
                connection.execute(remote(f"INSERT INTO strict VALUES ({number * EACH + n})")).fetchall()

    crowd(grouping, home, work)
    good = sum(1 for number in range(CLIENTS) if number % 4) * EACH
    with attached(grouping, home) as connection:
        assert one(connection, "SELECT count(*) FROM strict") == good
        assert one(connection, "SELECT count(DISTINCT n) FROM strict") == good


def test_a_session_that_is_not_plain_keeps_its_inserts_to_itself(grouping: TempPair, home: Path) -> None:
    made(
        grouping,
        home,
        "CREATE SCHEMA other",
        "CREATE TABLE place (n INTEGER)",
        "CREATE TABLE other.place (n INTEGER)",
    )
    insert = "INSERT INTO place VALUES ({})"

    def work(number: int, connection: Connection) -> None:
        # Each third of them differs in what a bare name or an insert means.
        begin = ("BEGIN", "USE lake.other", "CREATE TEMP TABLE place (n INTEGER)", "SELECT 1")[number % 4]
        connection.execute(remote(begin)).fetchall()
        for n in range(EACH):
            connection.execute(remote(insert.format(number * EACH + n))).fetchall()
        if begin == "BEGIN":
            assert one(connection, "SELECT count(*) FROM place WHERE n < 10") == (EACH if number == 0 else 0)
            connection.execute(remote("ROLLBACK")).fetchall()
        elif begin.startswith("CREATE"):
            assert one(connection, "SELECT count(*) FROM temp.place") == EACH

    crowd(grouping, home, work)
    with attached(grouping, home) as connection:
        rows = connection.execute(remote("SELECT DISTINCT n // 10 % 4 FROM lake.main.place")).fetchall()
        assert rows == [(3,)]
        assert one(connection, "SELECT count(*) FROM lake.main.place") == CLIENTS // 4 * EACH
        assert one(connection, "SELECT count(*) FROM lake.other.place") == CLIENTS // 4 * EACH


@pytest.mark.parametrize(
    "env", [{"AZQUACK_GROUP_COMMIT": "false"}, {"AZQUACK_PEERS": "other=127.0.0.1:1"}], ids=["off", "peers"]
)
def test_every_insert_has_its_own_commit_where_it_is_off_or_doors_share_nodes(
    env: dict[str, str], tmp_path: Path, home: Path
) -> None:
    with TempPair(tmp_path / "lake", env=env) as pair:
        before = made(pair, home, "CREATE TABLE t (n INTEGER)")

        def work(number: int, connection: Connection) -> None:
            for _ in range(3):
                connection.execute(remote(f"INSERT INTO t VALUES ({number})")).fetchall()

        crowd(pair, home, work, clients=3)
        assert snapshots(pair, home) - before == 9


def test_what_was_acknowledged_outlives_a_killed_node(tmp_path: Path, home: Path) -> None:
    with TempPair(tmp_path / "lake") as pair:
        made(pair, home, "CREATE TABLE t (n INTEGER)")
        acknowledged: list[int] = []
        enough = threading.Event()

        def work(number: int, connection: Connection) -> None:
            for n in range(10_000):
                value = number * 10_000 + n
                try:
                    connection.execute(remote(f"INSERT INTO t VALUES ({value})")).fetchall()
                except duckdb.Error:
                    return
                acknowledged.append(value)
                if len(acknowledged) > 5 * CLIENTS:
                    enough.set()

        def kill() -> None:
            assert enough.wait(60), "the inserts did not get going"
            status = httpx.get(f"{pair.http_url}/status", timeout=5, trust_env=False).json()
            (node,) = (each["pid"] for each in status["processes"] if each["name"] == "query-node-1")
            psutil.Process(node).kill()

        killer = threading.Thread(target=kill)
        killer.start()
        crowd(pair, home, work)
        killer.join()
        wait_until(lambda: lives(pair, home), "the node did not come back")
        with attached(pair, home) as connection:
            kept = [n for (n,) in connection.execute(remote("SELECT n FROM t")).fetchall()]
        assert len(kept) == len(set(kept)), "a row came twice"
        assert set(acknowledged) <= set(kept), "an acknowledged row is gone"
        # A client has one insert under way at most.
        assert len(kept) - len(acknowledged) <= CLIENTS


def lives(pair: TempPair, home: Path) -> bool:
    try:
        with attached(pair, home) as connection:
            return one(connection, "SELECT count(*) FROM t") >= 0
    except duckdb.Error:
        return False


class Way(RoundRobin):
    """A way to the node at `port`. `at_commit` is asked before a COMMIT passes whether its answer may come back."""

    def __init__(self, port: int, at_commit: Callable[[], bool]) -> None:
        super().__init__(port)
        self.at_commit = at_commit

    def carry(self, inbound: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", self.ports[0])) as outbound:
            back = threading.Thread(target=pump, args=(outbound, inbound), daemon=True)
            back.start()
            with suppress(OSError):
                while data := inbound.recv(1 << 18):
                    lost = data.endswith(b"\x06COMMIT\xff\xff") and not self.at_commit()
                    outbound.sendall(data)
                    if lost:
                        inbound.shutdown(socket.SHUT_RDWR)
                        break
                outbound.shutdown(socket.SHUT_WR)
            back.join()


def insert_at_once(port: int, clients: int, each: int) -> list[str]:
    """So many clients insert so many rows each; the errors with which they stopped."""
    ready = threading.Barrier(clients)
    errors: list[str] = []

    def insert(number: int) -> None:
        with client(port) as mine:
            ready.wait()
            try:
                for n in range(each):
                    mine.there(f"INSERT INTO t VALUES ({number * each + n})")
            except duckdb.Error as error:
                errors.append(str(error))

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_a_group_that_lost_to_another_commit_is_tried_again(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node("n1", "lake", "CREATE TABLE t (n INTEGER)", "INSERT INTO t VALUES (-1)")
    rivals: list[str] = []

    def delete_first() -> bool:
        if not rivals:
            rivals.append("one")
            with client(node.port, node.token) as rival:
                rival.there("DELETE FROM t WHERE n = -1")
        return True

    way = Way(node.port, delete_first)
    try:
        gateway = start_gateway(nodes=[{**node.address, "port": way.port}], policy=True, group_commit=True)
        assert insert_at_once(gateway.port, clients=6, each=10) == []
    finally:
        way.close()
    assert rivals, "no group was formed"
    with client(node.port, node.token) as ann:
        assert ann.there("SELECT count(*), count(DISTINCT n), min(n) FROM t") == [(60, 60, 0)]


def test_a_commit_whose_end_is_unknown_is_told_and_not_tried_again(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node("n1", "lake", "CREATE TABLE t (n INTEGER)")
    way = Way(node.port, lambda: False)
    try:
        gateway = start_gateway(nodes=[{**node.address, "port": way.port}], policy=True, group_commit=True)
        errors = insert_at_once(gateway.port, clients=6, each=20)
    finally:
        way.close()
    assert errors, "no group was formed"
    assert all("whether this statement took effect is not known" in each for each in errors)
    with client(node.port, node.token) as ann:
        assert ann.there("SELECT count(*) = count(DISTINCT n) FROM t") == [(True,)]


def test_each_principal_has_transactions_of_its_own(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node(
        "n1", "lake", "SET GLOBAL ducklake_max_retry_count = 1000", "CREATE TABLE t (n INTEGER)"
    )
    gateway = start_gateway(node, policy=True, group_commit=True)
    with client(gateway.port, ANN) as ann, client(gateway.port, BOB) as bob:
        before = ann.there("SELECT count(*) FROM lake.snapshots()")[0][0]

        def insert(each: Client) -> None:
            for _ in range(20):
                each.there("INSERT INTO t VALUES (1)")

        threads = [threading.Thread(target=insert, args=(each,)) for each in (ann, bob)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert ann.there("SELECT count(*) FROM t") == [(40,)]
        assert ann.there("SELECT count(*) FROM lake.snapshots()") == [(before + 40,)]
