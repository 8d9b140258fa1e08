"""What the gateway takes, and what it does not: sizes, rates, floods, slow clients."""

from __future__ import annotations

import asyncio
import contextlib
import math
import resource
import socket
import threading
import time
from pathlib import Path

import duckdb
import httpx
import psutil
import pytest

from azquack.gateway.limits import Busy, Failures, Rate, Slots
from azquack.policy.parser import Parser
from azquack.policy.shape import SMALL
from azquack.quack import wire
from tests.cluster import wait_until
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import ANN, BOB, Client, client, post, program
from tests.gateway.run_gateway import SLOW

HEAD = b"POST /quack HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n"


def closed(sock: socket.socket) -> bool:
    """Whether the other side has closed `sock`."""
    sock.setblocking(False)
    try:
        while sock.recv(1 << 16):
            pass
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def test_a_rate_gives_a_burst_and_then_its_share_per_second() -> None:
    now = 0.0
    rate = Rate(2.0, lambda: now)
    assert [rate.allow("a") for _ in range(21)] == [True] * 20 + [False]
    assert rate.allow("b")
    now = 0.5
    assert [rate.allow("a"), rate.allow("a")] == [True, False]


def test_a_rate_tells_how_long_those_wait_who_come_too_fast() -> None:
    now = 0.0
    rate = Rate(2.0, lambda: now)
    assert {rate.wait("a", 1.0) for _ in range(20)} == {0.0}
    assert [rate.wait("a", 1.0) for _ in range(3)] == [0.5, 1.0, math.inf]
    now = 0.5
    assert [rate.wait("a", 1.0) for _ in range(2)] == [1.0, math.inf]
    assert rate.wait("b", 1.0) == 0.0


def test_failures_block_an_address_for_a_while() -> None:
    now = 0.0
    failures = Failures(3, 60.0, lambda: now)
    for _ in range(3):
        assert not failures.blocked("a")
        failures.add("a")
    assert failures.blocked("a")
    assert not failures.blocked("b")
    now = 61.0
    assert not failures.blocked("a")


async def queued(slots: Slots) -> None:
    """Returns when a statement waits; a slot has no event for it, and one turn of the loop is enough."""
    await asyncio.sleep(0)
    assert slots.waiting == 1


def test_slots_bound_each_principal_and_all_and_the_queue_waits_its_turn() -> None:
    async def scene() -> None:
        slots = Slots(total=3, each=2, queue=2, seconds=0.05)
        async with contextlib.AsyncExitStack() as held:
            await held.enter_async_context(slots.hold("ann"))
            await held.enter_async_context(slots.hold("ann"))
            with pytest.raises(Busy, match="came free"):
                await held.enter_async_context(slots.hold("ann"))
            async with slots.hold("bob"):
                with pytest.raises(Busy, match="came free"):
                    await held.enter_async_context(slots.hold("cleo"))
            async with slots.hold("cleo"):
                assert slots.running == 3
        assert (slots.running, slots.waiting) == (0, 0)

        slots = Slots(total=1, each=1, queue=1, seconds=5)
        order: list[str] = []

        async def statement(name: str) -> None:
            async with slots.hold(name):
                order.append(name)

        async with slots.hold("ann"):
            waiting = asyncio.create_task(statement("bob"))
            await queued(slots)
            with pytest.raises(Busy, match="Too many statements wait"):
                await statement("cleo")
        await waiting
        assert order == ["bob"]

        async with slots.hold("ann"):
            leaver = asyncio.create_task(statement("bob"))
            await queued(slots)
            leaver.cancel()
            await asyncio.gather(leaver, return_exceptions=True)
            assert slots.waiting == 0
        assert slots.running == 0

    asyncio.run(scene())


def test_a_body_above_the_limit_is_refused_before_it_is_sent(start_gateway: StartGateway) -> None:
    gateway = start_gateway(limits={"body_bytes": 1 << 20})
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        sock.sendall(HEAD % (100 << 20) + b"Expect: 100-continue\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 413")


def test_a_stranger_cannot_send_a_large_body(start_node: StartNode, start_gateway: StartGateway) -> None:
    gateway = start_gateway(start_node("n1"))
    before = psutil.Process(gateway.process.pid).memory_info().rss
    forged = wire.prepare("A" * 40, "SELECT 1")[:-2] + b"x" * (50 << 20)
    large_login = wire.connection_request(wire.ConnectionRequest("x" * (1 << 20)))
    for body in (forged, large_login):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", gateway.port)) as sock:
            sock.sendall(HEAD % len(body) + b"\r\n")
            with contextlib.suppress(OSError):
                sock.sendall(body)
            sock.settimeout(10)
            assert sock.recv(64).startswith((b"HTTP/1.1 413", b"HTTP/1.1 200"))
    assert psutil.Process(gateway.process.pid).memory_info().rss - before < 30 << 20


def test_a_large_insert_of_a_session_passes(start_node: StartNode, start_gateway: StartGateway) -> None:
    gateway = start_gateway(start_node("n1", "CREATE TABLE t (s VARCHAR)"))
    with client(gateway.port) as ann:
        ann.rows("INSERT INTO r.t SELECT repeat('x', 2000) FROM range(2048)")
        assert ann.there("SELECT count(*), sum(length(s)) FROM t") == [(2048, 4096000)]


def test_failed_logins_block_their_address_for_a_while(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"), limits={"failed_logins": 3, "failed_login_seconds": 60})
    for _ in range(3):
        with pytest.raises(duckdb.Error, match="not known here"):
            Client(gateway.port, "wrong")
    with pytest.raises(duckdb.Error, match="Too many failed logins"):
        Client(gateway.port, ANN)


def test_a_principal_holds_so_many_sessions_and_no_more(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"), limits={"sessions_per_principal": 2})
    with client(gateway.port), client(gateway.port) as second:
        with pytest.raises(duckdb.Error, match="too many open sessions"):
            Client(gateway.port)
        second.db.execute("DETACH r")
        with client(gateway.port) as third:
            assert third.there("SELECT 1") == [(1,)]


def test_statements_above_the_limit_wait_and_then_are_told_to_try_again(
    start_node: StartNode, start_gateway: StartGateway, tmp_path: Path
) -> None:
    limits = {"statements_per_principal": 1, "queue_seconds": 0.3}
    log = tmp_path / "audit.jsonl"
    gateway = start_gateway(start_node("n1"), limits=limits, audit=str(log))
    with client(gateway.port) as second:
        endless = program(
            gateway.port, "FROM r.query('SELECT count(*) FROM range(100000000000) t(i) WHERE i % 7 = 9');"
        )
        try:
            wait_until(
                lambda: "range(100000000000)" in log.read_text(), "the first statement did not begin", 60
            )
            with pytest.raises(duckdb.Error, match="try again"):
                second.there("SELECT 1")
        finally:
            endless.kill()
            endless.communicate()


def test_idle_and_half_sent_requests_are_closed_while_a_good_client_works(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    limits = {"head_seconds": 1.0, "body_seconds": 1.0, "idle_seconds": 1.0}
    gateway = start_gateway(start_node("n1"), limits=limits)
    partial = [b"", b"POST /quack HT", HEAD % 100, HEAD % 100 + b"\r\n\x01\x00\x03"]
    with contextlib.ExitStack() as stack, client(gateway.port) as ann:
        flood = []
        for number in range(300):
            sock = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
            sock.sendall(partial[number % len(partial)])
            flood.append(sock)
        assert ann.there("SELECT 42") == [(42,)]
        wait_until(lambda: all(closed(sock) for sock in flood), "slow sockets were left open")
        assert ann.there("SELECT 42") == [(42,)]


def opened(gateway: int, count: int, stack: contextlib.ExitStack, sends: bytes) -> list[socket.socket]:
    """`count` sockets from six addresses, on each of which `sends` was sent."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (8192, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    sockets = []
    for number in range(count):
        sock = stack.enter_context(socket.socket())
        sock.bind((f"127.0.0.{2 + number % 6}", 0))
        sock.connect(("127.0.0.1", gateway))
        with contextlib.suppress(OSError):
            sock.sendall(sends)
        sockets.append(sock)
    return sockets


@pytest.mark.parametrize(
    "sends",
    [
        HEAD % (256 << 20) + b"\r\n",
        HEAD % (256 << 20) + b"Expect: 100-continue\r\n\r\n",
        b"",
        b"GET /readyz HTTP/1.1\r\n\r\n",
    ],
    ids=["a large body that does not come", "one that waits to be asked for", "nothing", "a probe"],
)
def test_2500_strangers_do_not_close_the_gateway_to_one_who_is_known(
    start_node: StartNode, start_gateway: StartGateway, sends: bytes
) -> None:
    gateway = start_gateway(start_node("n1"), limits={"login_seconds": 4.0, "requests_per_address": 1e6})
    with contextlib.ExitStack() as stack, client(gateway.port) as early:
        flood = opened(gateway.port, 2500, stack, sends)
        assert early.there("SELECT 42") == [(42,)]
        with client(gateway.port) as late:
            assert late.there("SELECT 43") == [(43,)]
        assert sum(not closed(sock) for sock in flood) <= 500
        wait_until(lambda: all(closed(sock) for sock in flood), "strangers were left open", 20)
        assert early.there("SELECT 44") == [(44,)]


def test_a_known_socket_stays_when_strangers_come(start_node: StartNode, start_gateway: StartGateway) -> None:
    limits = {"unknown_connections": 20, "login_seconds": 1.0, "connections": 40}
    gateway = start_gateway(start_node("n1"), limits=limits)
    with httpx.Client(trust_env=False, base_url=f"http://127.0.0.1:{gateway.port}") as known:
        login = known.post("/quack", content=wire.connection_request(wire.ConnectionRequest(ANN))).content
        connection_id = wire.parse_connection_response(login).connection_id
        with contextlib.ExitStack() as stack:
            flood = opened(gateway.port, 100, stack, b"")
            wait_until(lambda: all(closed(sock) for sock in flood), "strangers were left open")
            answer = known.post("/quack", content=wire.prepare(connection_id, "SELECT 42"))
        assert wire.parse_header(answer.content).type is wire.MessageType.PREPARE_RESPONSE


def test_large_requests_of_one_principal_wait_for_each_other() -> None:
    async def both() -> None:
        slots = Slots(total=100, each=60, queue=10, seconds=0.1)
        async with slots.hold("ann", 50):
            with pytest.raises(Busy):
                async with slots.hold("ann", 20):
                    pass
            async with slots.hold("bob", 50):
                with pytest.raises(Busy):
                    async with slots.hold("eve", 1):
                        pass
        async with slots.hold("ann", 60):
            assert slots.running == 60

    asyncio.run(both())


def test_a_client_that_drips_its_head_is_closed(start_node: StartNode, start_gateway: StartGateway) -> None:
    gateway = start_gateway(start_node("n1"), limits={"head_seconds": 1.0})
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        sock.sendall(b"POST /quack HTTP/1.1\r\n")

        def drip_until_closed() -> bool:
            with contextlib.suppress(OSError):
                sock.setblocking(True)
                sock.sendall(b"X-A: 1\r\n")
            return closed(sock)

        wait_until(drip_until_closed, "a dripping client was left open")


def test_a_head_without_end_is_closed(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        with contextlib.suppress(OSError):
            sock.sendall(b"POST /quack HTTP/1.1\r\n" + b"X-A: " + b"x" * (1 << 20))
        wait_until(lambda: closed(sock), "a head without end was taken")


def test_one_address_opens_so_many_sockets_and_no_more(start_gateway: StartGateway) -> None:
    gateway = start_gateway(limits={"connections_per_address": 20})
    with contextlib.ExitStack() as stack:
        flood = [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(50)
        ]
        wait_until(lambda: sum(closed(sock) for sock in flood) == 30, "the flood was let in")


def test_too_many_requests_of_an_address_are_told_to_wait(start_gateway: StartGateway) -> None:
    gateway = start_gateway(limits={"requests_per_address": 0.1, "queue_seconds": 1})
    sentences = [wire.parse_error(post(gateway.port, b"x").content) for _ in range(3)]
    assert "Quack 1" in sentences[0]
    assert "Too many requests" in sentences[1]


def test_a_principal_who_asks_too_fast_is_slowed_and_not_refused(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"), limits={"requests_per_principal": 20})
    with client(gateway.port) as ann:
        # 200 at once, and 20 a second from then on.
        began = time.monotonic()
        for i in range(240):
            assert ann.there(f"SELECT {i}") == [(i,)]
        assert time.monotonic() - began > 1.5


def test_a_request_without_a_length_is_refused(start_gateway: StartGateway) -> None:
    gateway = start_gateway()
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock:
        sock.sendall(
            b"POST /quack HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n"
        )
        sock.settimeout(10)
        assert sock.recv(64).startswith(b"HTTP/1.1 411")


def test_a_client_that_does_not_read_its_answer_is_closed(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"), limits={"read_seconds": 0.5, "statements_per_principal": 1})
    login = post(gateway.port, wire.connection_request(wire.ConnectionRequest(ANN))).content
    connection_id = wire.parse_connection_response(login).connection_id
    statement = wire.prepare(connection_id, "SELECT repeat('x', 1000000) FROM range(64)")
    with socket.create_connection(("127.0.0.1", gateway.port)) as sock, client(gateway.port) as good:
        sock.sendall(HEAD % len(statement) + b"\r\n" + statement)
        wait_until(lambda: sock.recv(1, socket.MSG_PEEK), "the answer did not come")
        # The one slot of this principal comes free only when the gateway gives the silent reader up.
        assert good.there("SELECT 1") == [(1,)]


WIDE = "SELECT " + ", ".join(f"i + {at} AS c{at}" for at in range(20)) + " FROM range(1000000) _(i)"


def raw_login(port: int, token: str = ANN) -> str:
    """The id of a new session."""
    answer = post(port, wire.connection_request(wire.ConnectionRequest(token))).content
    return wire.parse_connection_response(answer).connection_id


def asked(port: int, connection_id: str, sql: str) -> str:
    """The sentence with which `sql` is refused, empty when it is not."""
    answer = post(port, wire.prepare(connection_id, sql)).content
    return wire.parse_error(answer) if wire.parse_header(answer).type is wire.MessageType.ERROR else ""


def test_results_that_nobody_fetches_count_against_their_principal_and_are_dropped(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    limits = {"results_per_principal": 3, "result_seconds": 3.0}
    gateway = start_gateway(start_node("n1"), limits=limits, only_gateway=True)
    ids = [raw_login(gateway.port) for _ in range(5)]
    assert [asked(gateway.port, each, WIDE) for each in ids[:3]] == ["", "", ""]
    assert "Too many results" in asked(gateway.port, ids[3], WIDE)
    # Another principal has results of its own, and a new statement of a session ends that session's result.
    assert asked(gateway.port, raw_login(gateway.port, BOB), WIDE) == ""
    assert asked(gateway.port, ids[0], "SELECT 1") == ""
    assert asked(gateway.port, ids[3], WIDE) == ""

    def refused() -> bool:
        answer = post(gateway.port, wire.fetch(ids[1], (1, 2))).content
        return "was dropped" in wire.parse_error(answer)

    wait_until(refused, "a result that nobody fetched was kept")
    assert asked(gateway.port, ids[1], "SELECT 1") == "", "the session does not live on"
    assert "has been closed" in wire.parse_error(post(gateway.port, wire.fetch(ids[1], (1, 2))).content)


def test_a_result_that_is_fetched_is_not_dropped(start_node: StartNode, start_gateway: StartGateway) -> None:
    limits = {"results_per_principal": 1, "result_seconds": 1.0}
    gateway = start_gateway(start_node("n1"), limits=limits, only_gateway=True)
    with client(gateway.port) as ann:
        for _ in range(3):
            assert ann.rows("SELECT count(*), sum(c1) FROM r.query('" + WIDE + "')") == [
                (10**6, 500000500000)
            ]


def test_a_login_that_waits_for_its_issuer_holds_nobody_up(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"))
    answers: list[bytes] = []

    def log_in_slowly() -> None:
        login = wire.connection_request(wire.ConnectionRequest(SLOW))
        answers.append(post(gateway.port, login).content)

    with client(gateway.port) as ann:
        slow = threading.Thread(target=log_in_slowly)
        slow.start()
        assert gateway.line("The slow login did not arrive") == "slow login"
        assert ann.there("SELECT 42") == [(42,)]
        assert not answers, "the statement waited for the login"
        slow.join(30)
    assert "not known here" in wire.parse_error(answers[0])


def test_long_texts_do_not_hold_up_short_ones_at_the_parser() -> None:
    parser = Parser()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with parser._connection("x" * (SMALL + 1)):
            held.set()
            done.wait(20)

    holder = threading.Thread(target=hold)
    holder.start()
    assert held.wait(10)
    try:
        assert parser.statements("SELECT 1")[0].kind == "SELECT"
    finally:
        done.set()
        holder.join()
        parser.close()


def login_from(port: int, forwarded: str, token: str) -> str:
    """The sentence that answers a login with X-Forwarded-For; empty when it was let in."""
    answer = httpx.post(
        f"http://127.0.0.1:{port}/quack",
        content=wire.connection_request(wire.ConnectionRequest(token)),
        headers={"x-forwarded-for": forwarded},
        trust_env=False,
        timeout=20,
    ).content
    failed = wire.parse_header(answer).type is wire.MessageType.ERROR
    return wire.parse_error(answer) if failed else ""


@pytest.mark.parametrize("trusted", ["127.0.0.1", "127.0.0.0/8", "*"])
def test_a_trusted_proxy_is_believed_whom_it_speaks_for(
    start_node: StartNode, start_gateway: StartGateway, trusted: str
) -> None:
    gateway = start_gateway(start_node("n1"), trusted_proxies=trusted, limits={"failed_logins": 2})
    for _ in range(2):
        assert "not known here" in login_from(gateway.port, "192.0.2.1", "wrong")
    assert "Too many failed logins" in login_from(gateway.port, "192.0.2.1", ANN)
    assert login_from(gateway.port, "192.0.2.2", ANN) == ""


@pytest.mark.parametrize("trusted", ["", "192.0.2.9"])
def test_nobody_else_is_believed_whom_they_speak_for(
    start_node: StartNode, start_gateway: StartGateway, trusted: str
) -> None:
    gateway = start_gateway(start_node("n1"), trusted_proxies=trusted, limits={"failed_logins": 2})
    for number in range(2):
        assert "not known here" in login_from(gateway.port, f"192.0.2.{number}", "wrong")
    assert "Too many failed logins" in login_from(gateway.port, "192.0.2.99", ANN)
