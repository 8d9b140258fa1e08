"""Attacks on sessions of Quack 3: ids, acknowledgements, heartbeats, cancels and rows of others."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pytest

from azquack.quack import wire
from azquack.quack.wire3 import Kind
from tests.cluster import wait_until
from tests.gateway.parts import ANN, BOB, GatewayProcess, NodeProcess
from tests.quack3 import frames
from tests.quack3.frames import Quack3

STREAM = "INSERT INTO t SELECT * FROM scan_data_from_quack_client('s', NULL::STRUCT(a BIGINT))"


@pytest.fixture(scope="module")
def gateway() -> Iterator[GatewayProcess]:
    node = NodeProcess("n1", "ATTACH ':memory:' AS lake; USE lake; CREATE TABLE t(a BIGINT)")
    each = GatewayProcess(node, native_names=True, only_gateway=True, policy=True)
    yield each
    each.stop()
    node.stop()


@pytest.fixture
def url(gateway: GatewayProcess) -> str:
    return f"http://127.0.0.1:{gateway.port}"


@pytest.fixture
def ann(url: str) -> Iterator[Quack3]:
    each = Quack3(url, ANN)
    yield each
    each.close()


@pytest.fixture
def bob(url: str) -> Iterator[Quack3]:
    each = Quack3(url, BOB)
    yield each
    each.close()


def changed(connection_id: str) -> list[str]:
    """Ids that are near the one of somebody else."""
    other = "A" if connection_id[20] != "A" else "B"
    near = [connection_id[:20] + other + connection_id[21:], connection_id[:-1], connection_id + "A"]
    return [*near, f"{connection_id}/1", "", "1" * 32]


def test_every_message_for_a_session_that_is_not_known_is_refused(ann: Quack3, bob: Quack3) -> None:
    first = ann.run("FROM range(100000)")
    for each in changed(ann.id):
        for message in (
            frames.empty(Kind.HEARTBEAT, each),
            frames.of_query(Kind.CANCEL, each, 0),
            frames.of_query(Kind.ACKNOWLEDGEMENT, each, first.query),
            frames.fetch(each, first.query, 1),
            frames.prepare(each, "SELECT 1", 77),
            frames.batch(each, "s", total=0),
            frames.empty(Kind.DISCONNECT, each),
        ):
            assert "not known here" in bob.ask(message).error
    assert ann.fetch(first.query, 1).rows


def test_query_ids_and_streams_belong_to_their_session(ann: Quack3, bob: Quack3) -> None:
    first = ann.run("FROM range(100000)")
    assert not ann.prepare(STREAM, 50, inline_rows=0).error
    assert "Result has been closed" in bob.fetch(first.query, 1).error
    assert (
        "Result has been closed" in bob.ask(frames.of_query(Kind.ACKNOWLEDGEMENT, bob.id, first.query)).error
    )
    assert "No active data stream" in bob.ask(frames.batch(bob.id, "s", [frames.chunk([666])], 1)).error
    assert "nothing was cancelled" in bob.ask(frames.of_query(Kind.CANCEL, bob.id, 50)).error
    # Nothing of that has touched it.
    assert ann.fetch(first.query, 1).rows
    assert not ann.ask(frames.batch(ann.id, "s", [frames.chunk([1])], 1)).error
    assert not ann.ask(frames.batch(ann.id, "s", total=1)).error
    assert ann.fetch(50, 1).rows == [(1,)]
    assert bob.all("SELECT count(*) FROM t WHERE a = 666") == [(0,)]


def test_a_cancel_of_everything_ends_nothing_of_others(ann: Quack3, bob: Quack3) -> None:
    answers: list[frames.Answer] = []

    def run() -> None:
        with ann.beside() as other:
            answers.append(other.prepare("SELECT sum(i % 7)::BIGINT FROM range(100000000) t(i)", 60))

    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        assert bob.ask(frames.of_query(Kind.CANCEL, bob.id, 0)).kind is Kind.SUCCESS
    assert answers[0].rows == [(299_999_995,)]


def test_a_session_that_was_ended_stays_so(url: str) -> None:
    gone = Quack3(url, ANN)
    gone.run("FROM range(100000)")
    assert gone.ask(frames.empty(Kind.DISCONNECT, gone.id)).kind is Kind.SUCCESS
    for message in (frames.empty(Kind.HEARTBEAT, gone.id), frames.prepare(gone.id, "SELECT 1", 9)):
        assert "was closed by its client" in gone.ask(message).error
    gone.http.close()


def test_messages_of_one_version_do_not_pass_in_a_session_of_the_other(url: str, ann: Quack3) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        login = http.post("/quack", content=wire.connection_request(wire.ConnectionRequest(ANN, "v1.5.5")))
        old = wire.parse_connection_response(login.content).connection_id
        for message in (
            frames.empty(Kind.HEARTBEAT, old),
            frames.of_query(Kind.CANCEL, old, 0),
            frames.fetch(old, 1, 1),
        ):
            assert wire.parse_error(http.post("/quack", content=message).content)
        assert "Quack 3" in ann.ask(wire.prepare(ann.id, "SELECT 1")).error
        assert "Result has been closed" in ann.ask(wire.fetch(ann.id, (1, 2))).error
        ended = http.post("/quack", content=wire.disconnect(old))
        assert ended.content == wire.success()


@pytest.mark.parametrize(
    "call",
    [
        "scan_data_from_quack_client('s')",
        "scan_data_from_quack_client('s', (SELECT 1))",
        "scan_data_from_quack_client('s', NULL::STRUCT(a BIGINT) || error('x'))",
        "scan_data_from_quack_client('s', NULL::STRUCT(a BIGINT), ordered := (SELECT true))",
        "scan_data_from_quack_client('s', NULL::STRUCT(a INT)), scan_data_from_quack_client('t', NULL::STRUCT(a INT))",
        "scan_data_from_quack_client('s', NULL::STRUCT(a BIGINT /* ) */))",
        "scan_data_from_quack_client('s', NULL::STRUCT(a BIGINT) -- \n)",
    ],
)
def test_a_stream_is_named_in_one_form_only(ann: Quack3, call: str) -> None:
    answer = ann.prepare(f"INSERT INTO t SELECT * FROM {call}", inline_rows=0)
    assert answer.error
    assert ann.all("SELECT count(*) FROM duckdb_tables() WHERE table_name = 't'") == [(1,)]


def test_many_streams_and_results_of_one_session_have_a_bound(ann: Quack3) -> None:
    opened = [ann.run("FROM range(100000)") for _ in range(9)]
    assert "at most 9 open results" in ann.prepare("FROM range(100000)").error
    for each in opened:
        assert ann.fetch(each.query, 1).rows
        assert not ann.ask(frames.of_query(Kind.CANCEL, ann.id, each.query)).error
    names = [f"s{at}" for at in range(9)]
    told = [ann.prepare(STREAM.replace("'s'", f"'{name}'"), inline_rows=0).error for name in names]
    assert told[:8] == [""] * 8
    assert "at most 8 inserts" in told[8]
    assert ann.ask(frames.of_query(Kind.CANCEL, ann.id, 0)).kind is Kind.SUCCESS
    wait_until(lambda: not ann.prepare(STREAM, inline_rows=0).error, "A cancelled insert still counts")
