"""Sessions through gateways: many nodes, many gateways, and what becomes of a session when a part of them goes."""

from __future__ import annotations

import base64
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import duckdb
import httpx
import pytest

from azquack.quack import wire
from azquack.quack.lost import UNKNOWN
from tests.cluster import wait_until
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import ANN, BOB, Client, NodeProcess, RoundRobin, client, post, program

BIG = "CREATE TABLE big AS SELECT range AS i, 'row ' || range AS s FROM range(5000000)"


def login(port: int, token: str = ANN) -> str:
    """A raw login; the connection id."""
    answer = post(port, wire.connection_request(wire.ConnectionRequest(token))).content
    return wire.parse_connection_response(answer).connection_id


def refused(port: int, message: bytes) -> str:
    """The sentence with which the gateway refuses `message`."""
    return wire.parse_error(post(port, message).content)


def test_a_client_never_sees_the_id_that_its_node_knows_it_by(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node("n1")
    gateway = start_gateway(node)
    answer = post(gateway.port, wire.connection_request(wire.ConnectionRequest(ANN))).content
    ((inner,),) = known_ids(node)
    sealed = wire.parse_connection_response(answer).connection_id
    decoded = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
    assert all(
        inner.encode() not in bytes_ and bytes.fromhex(inner) not in bytes_ for bytes_ in (answer, decoded)
    )
    assert refused(gateway.port, wire.prepare(inner, "SELECT 42")) == UNKNOWN


def test_a_node_asks_for_nothing_but_its_own_id(start_node: StartNode) -> None:
    """Pins what remains: Quack 1 knows no second factor, so the id must not get out, nor the port be reached."""
    node = start_node("n1")
    inner = login(node.port, node.token)
    assert wire.parse_header(post(node.port, wire.prepare(inner, "SELECT 42")).content).type is (
        wire.MessageType.PREPARE_RESPONSE
    )


@pytest.mark.timeout(300)
def test_two_nodes_behind_two_doors_behind_a_naive_balancer_serve_without_an_error(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    nodes = [start_node(name, BIG, f"CREATE TABLE me AS SELECT '{name}' AS name") for name in ("n1", "n2")]
    gateways = [start_gateway(*nodes), start_gateway(*nodes)]
    balancer = RoundRobin(*(gateway.port for gateway in gateways))
    try:
        queries = "FROM r.query('SELECT 42');\n" * 200
        programs = [program(balancer.port, queries) for _ in range(3)]
        outputs = [each.communicate(timeout=120)[0] for each in programs]
        assert [output.split() for output in outputs] == [["42"] * 200] * 3

        with client(balancer.port) as ann:
            assert ann.rows("SELECT count(*), sum(i) FROM r.query('FROM big')") == [(5000000, 12499997500000)]
            assert ann.rows("SELECT count(s), sum(i) FROM r.big") == [(5000000, 12499997500000)]
            for end, count in (("ROLLBACK", 0), ("COMMIT", 2)):
                ann.there("CREATE TABLE IF NOT EXISTS parts (i INTEGER)")
                for statement in (
                    "BEGIN",
                    "INSERT INTO parts VALUES (1)",
                    "INSERT INTO parts VALUES (2)",
                    end,
                ):
                    ann.there(statement)
                assert ann.there("SELECT count(*) FROM parts") == [(count,)]

        with ThreadPoolExecutor(40) as pool:
            ids = set(pool.map(lambda _: login(balancer.port), range(400)))
        assert len(ids) == 400
        loads = [len(node_sessions(node)) for node in nodes]
        assert min(loads) > 100, f"the logins were spread {loads}"
    finally:
        balancer.close()


def known_ids(node: NodeProcess) -> list[tuple[str]]:
    """The ids of the sessions at a node, but for the one that asks."""
    with client(node.port, node.token) as inside:
        rows: list[tuple[str, str]] = inside.there(
            "SELECT connection_id, query FROM quack_active_connections()"
        )
        return [(each,) for each, query in rows if "quack_active_connections" not in (query or "")]


def node_sessions(node: NodeProcess) -> list[object]:
    """The sessions that a node holds, seen with its own token."""
    with client(node.port, node.token) as inside:
        return inside.there("FROM quack_active_connections()")


def test_a_killed_node_costs_its_own_sessions_only_and_they_are_told_what_to_do(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    nodes = [start_node(name, f"CREATE TABLE me AS SELECT '{name}' AS name") for name in ("n1", "n2")]
    gateway = start_gateway(*nodes)
    with client(gateway.port) as first, client(gateway.port) as second:
        homes = [each.there("FROM me")[0][0] for each in (first, second)]
        assert sorted(homes) == ["n1", "n2"]
        nodes[("n1", "n2").index(homes[0])].kill()
        with pytest.raises(duckdb.Error, match="DETACH it and ATTACH it again"):
            first.there("FROM me")
        for _ in range(20):
            assert second.there("FROM me") == [(homes[1],)]
        first.db.execute("DETACH r")
        first.attach(gateway.port)
        assert first.there("FROM me") == [(homes[1],)]


def test_a_node_that_restarted_on_another_port_ends_its_sessions_with_a_sentence(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node("n1")
    gateway = start_gateway(node)
    with client(gateway.port) as ann:
        assert ann.there("SELECT 1") == [(1,)]
        node.kill()
        again = start_node("n1")
        gateway.order({"nodes": [again.address]})
        with pytest.raises(duckdb.Error, match="DETACH it and ATTACH it again"):
            ann.there("SELECT 1")
        ann.db.execute("DETACH r")
        ann.attach(gateway.port)
        assert ann.there("SELECT 2") == [(2,)]


def test_a_gateway_that_restarts_loses_no_session(start_node: StartNode, start_gateway: StartGateway) -> None:
    node = start_node("n1")
    gateway = start_gateway(node)
    with client(gateway.port) as ann:
        ann.there("CREATE TEMP TABLE mine AS SELECT 7 AS seven")
        gateway.kill()
        start_gateway(node, port=gateway.port)
        assert ann.there("FROM mine") == [(7,)]


def test_nodes_are_drained_and_added_while_the_gateway_is_open(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    first = start_node("n1", "CREATE TABLE me AS SELECT 'n1' AS name")
    gateway = start_gateway(first)
    with client(gateway.port) as early:
        second = start_node("n2", "CREATE TABLE me AS SELECT 'n2' AS name")
        gateway.order({"nodes": [first.address, second.address]})
        gateway.order({"drain": "n1"})
        for _ in range(3):
            with client(gateway.port) as late:
                assert late.there("FROM me") == [("n2",)]
        assert early.there("FROM me") == [("n1",)]


def test_readers_and_writers_are_sent_to_nodes_of_their_own(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    nodes = [
        start_node("r1", "CREATE TABLE me AS SELECT 'r1' AS name", access="read"),
        start_node("w1", "CREATE TABLE me AS SELECT 'w1' AS name"),
    ]
    people = {ANN: ["ann", "reader"], BOB: ["bob", "admin"]}
    gateway = start_gateway(*nodes, principals=people)
    with client(gateway.port, ANN) as ann, client(gateway.port, BOB) as bob:
        assert ann.there("FROM me") == [("r1",)]
        assert bob.there("FROM me") == [("w1",)]


def test_an_inner_id_stolen_from_the_node_is_worthless(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node("n1")
    gateway = start_gateway(node)
    with client(gateway.port) as ann:
        stolen = [row[1] for row in ann.there("FROM quack_active_connections()")]
        stolen += [str(value) for row in ann.there("FROM quack_active_connections()") for value in row]
        for each in stolen:
            assert "not known here" in refused(gateway.port, wire.prepare(each, "SELECT 1"))


def test_a_sealed_id_that_was_tampered_with_is_refused(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"))
    connection_id = login(gateway.port)
    other = connection_id[:-2] + ("A" if connection_id[-2] != "A" else "B") + connection_id[-1]
    assert "not known here" in refused(gateway.port, wire.prepare(other, "SELECT 1"))
    good = post(gateway.port, wire.prepare(connection_id, "SELECT 1")).content
    assert wire.parse_header(good).type is wire.MessageType.PREPARE_RESPONSE


def test_a_revoked_principal_loses_the_open_session_at_once(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"))
    with client(gateway.port, ANN) as ann, client(gateway.port, BOB) as bob:
        gateway.order({"revoke": "ann"})
        with pytest.raises(duckdb.Error, match="revoked"):
            ann.there("SELECT 1")
        assert bob.there("SELECT 1") == [(1,)]


def test_an_expired_token_opens_no_session(start_node: StartNode, start_gateway: StartGateway) -> None:
    gateway = start_gateway(start_node("n1"), principals={ANN: ["ann", "writer", 1.0]})
    with pytest.raises(duckdb.Error, match="has expired"):
        Client(gateway.port)


def test_a_wrong_token_is_refused(start_node: StartNode, start_gateway: StartGateway) -> None:
    gateway = start_gateway(start_node("n1"))
    with pytest.raises(duckdb.Error, match="this token is not known here"):
        Client(gateway.port, "no such token")


def test_a_client_of_another_quack_is_told_which_duckdb_to_use(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"))
    for lowest, highest in ((2, 2), (4, 9)):
        other = wire.connection_request(wire.ConnectionRequest(ANN, "v9.0.0", "linux_amd64", lowest, highest))
        assert "Quack 1 (DuckDB 1.5.3 and later) and Quack 3 (DuckDB 2.x)" in refused(gateway.port, other)


def test_an_error_of_the_node_reaches_the_client_as_it_is(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"))
    with client(gateway.port) as ann, pytest.raises(duckdb.Error, match='syntax error at or near "selectx"'):
        ann.there("selectx")


def test_a_login_waits_for_a_node_that_is_on_its_way(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    node = start_node("n1")
    gateway = start_gateway()
    outcome: list[str] = []
    waiting = threading.Thread(target=lambda: outcome.append(login(gateway.port)))
    waiting.start()
    assert gateway.line("The login did not ask for a node") == "asked write"
    gateway.order({"nodes": [node.address]})
    waiting.join(15)
    assert len(outcome) == 1


def test_a_login_that_waits_for_a_node_is_sent_away_when_its_replica_becomes_a_standby(
    start_gateway: StartGateway,
) -> None:
    gateway = start_gateway(limits={"node_wait_seconds": 60})
    answers: list[httpx.Response] = []
    message = wire.connection_request(wire.ConnectionRequest(ANN, "v1.5.5"))
    waiting = threading.Thread(target=lambda: answers.append(post(gateway.port, message)))
    waiting.start()
    assert gateway.line("The login did not ask for a node") == "asked write"
    gateway.order({"standby": True})
    waiting.join(15)
    assert [each.status_code for each in answers] == [503]
    assert answers[0].headers["connection"] == "close"


def test_a_login_without_any_node_ends_with_a_sentence(start_gateway: StartGateway) -> None:
    gateway = start_gateway(limits={"node_wait_seconds": 0.2})
    with pytest.raises(duckdb.Error, match="No DuckDB node is ready"):
        Client(gateway.port)


def test_a_statement_that_goes_on_without_its_client_is_reported(
    start_node: StartNode, start_gateway: StartGateway, tmp_path: Path
) -> None:
    log = tmp_path / "audit.log"
    gateway = start_gateway(start_node("n1"), audit=str(log), limits={"abandoned_seconds": 0.2})
    running = program(
        gateway.port, "FROM r.query('SELECT count(*) FROM range(100000000000) t(i) WHERE i % 7 = 9');"
    )
    wait_until(lambda: log.exists() and "range(1000" in log.read_text(), "the statement did not begin")
    running.kill()
    running.communicate()
    line = gateway.line("The gateway did not report the abandoned statement")
    assert line.startswith("runaway n1: a statement was stopped 0 s after its client had left, but could not")


def test_a_statement_that_runs_too_long_is_answered_and_reported(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"), limits={"statement_seconds": 1})
    with (
        client(gateway.port) as ann,
        pytest.raises(duckdb.Error, match="ran longer than 1 s and was stopped"),
    ):
        ann.db.execute("FROM r.query('SELECT count(*) FROM range(100000000000) t(i) WHERE i % 7 = 9')")
    assert "ran longer than 1 s" in gateway.line("The gateway did not report the long statement")


def test_the_gateway_shows_whether_it_is_well_and_nothing_else(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    for path, status in (("/healthz", 200), ("/readyz", 200), ("/", 404), ("/metrics", 404), ("/quack", 404)):
        answer = httpx.get(f"http://127.0.0.1:{gateway.port}{path}", trust_env=False)
        assert answer.status_code == status, path
        assert "server" not in answer.headers


def test_a_gateway_without_its_lease_withholds_answers(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1", "CREATE TABLE t (i INTEGER)"))
    with client(gateway.port) as ann:
        gateway.order({"fence": False})
        with pytest.raises(duckdb.Error, match="withheld"):
            ann.there("SELECT 42")
        with pytest.raises(duckdb.Error, match="withheld"):
            ann.rows("INSERT INTO r.t VALUES (1)")
        gateway.order({"fence": True})
        assert ann.there("SELECT 42") == [(42,)]


def test_a_group_of_inserts_is_not_acknowledged_without_the_lease(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(
        start_node("n1", "lake", "CREATE TABLE t (i INTEGER)"), policy=True, group_commit=True
    )
    answers: list[str] = []

    def insert(each: Client) -> None:
        for _ in range(10):
            try:
                each.there("INSERT INTO t VALUES (1)")
                answers.append("acknowledged")
            except duckdb.Error as error:
                answers.append(str(error))

    with ExitStack() as stack:
        crowd = [stack.enter_context(client(gateway.port)) for _ in range(4)]
        gateway.order({"fence": False})
        threads = [threading.Thread(target=insert, args=(each,)) for each in crowd]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
    assert len(answers) == 40
    assert all("withheld" in each for each in answers)
