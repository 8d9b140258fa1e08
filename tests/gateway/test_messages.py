"""Messages of results that are made at once fit into a node's memory, and come back to full size."""

from __future__ import annotations

import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from azquack.gateway.messages import LEAST, MOST, UNKNOWN, Messages
from azquack.gateway.routing import Node
from azquack.node.address import NodeAddress
from azquack.policy.policy import Policy
from azquack.principals import Principal, Role
from azquack.quack import wire
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import client, post
from tests.gateway.test_limits import raw_login

# Rows of 4 kB and of 8 bytes, of many vectors each.
WIDE = "SELECT repeat('x', 4096) AS a FROM range(30000)"
NARROW = "SELECT i FROM range(100000) t(i)"
ROW = 4096


def answered(port: int, sql: str) -> int:
    """The bytes of the first message of `sql` in a session of its own."""
    body = post(port, wire.prepare(raw_login(port), sql)).content
    assert wire.parse_header(body).type is wire.MessageType.PREPARE_RESPONSE
    return len(body)


def chunks(port: int) -> int:
    with client(port) as someone:
        ((value,),) = someone.there("SELECT current_setting('quack_fetch_batch_chunks')")
    return int(value)


@pytest.mark.parametrize(
    ("budget", "need", "expected"),
    [
        (64 << 20, UNKNOWN, 8),
        (64 << 20, 2 * UNKNOWN, 4),
        (64 << 20, 100 * UNKNOWN, LEAST),
        (64 << 20, 1, MOST),
        (1 << 20, UNKNOWN, LEAST),
    ],
)
def test_what_all_ask_for_at_once_says_how_much_goes_into_one_message(
    budget: int, need: float, expected: int
) -> None:
    assert Messages(budget).chunks(need) == expected


def test_many_wide_results_at_once_get_small_messages(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    limits = {"messages_bytes": 100 << 20}
    gateway = start_gateway(start_node("n1"), limits=limits, only_gateway=True)
    assert answered(gateway.port, WIDE) > 10 * 2048 * ROW, "one alone gets full messages"
    with ThreadPoolExecutor(16) as pool:
        sizes = list(pool.map(lambda _: answered(gateway.port, WIDE), range(16)))
    # Those that came while nobody else was there may still be full.
    assert sorted(sizes)[8] <= 3 * 2048 * ROW, sizes


def test_messages_are_full_again_when_rows_are_narrow(
    start_node: StartNode, start_gateway: StartGateway
) -> None:
    gateway = start_gateway(start_node("n1"), limits={"messages_bytes": 16 << 20}, only_gateway=True)
    assert answered(gateway.port, WIDE) < 3 * 2048 * ROW
    assert chunks(gateway.port) < MOST
    with client(gateway.port) as someone:
        for _ in range(4):
            (row,) = someone.rows(f"SELECT count(*), sum(i) FROM r.query('{NARROW}')")
            assert row == (100_000, 4_999_950_000)
    assert chunks(gateway.port) == MOST


@pytest.mark.parametrize("role", list(Role))
def test_a_user_does_not_set_the_size(role: Role) -> None:
    policy = Policy()
    for sql in ("SET {} = 4096", "SET GLOBAL {} = 1", "set session {} to 1", "RESET {}", "RESET GLOBAL {}"):
        assert not policy.check(
            Principal("adam", role, "f"), sql.format("quack_fetch_batch_chunks")
        ).allowed, sql
    policy.close()


def test_who_has_no_more_patience_with_a_node_does_not_wait_for_it_again(start_node: StartNode) -> None:
    """A node that froze within the gateway's own statement does not answer the end of its session either."""
    server = start_node("n1")
    node = Node(NodeAddress("n1", "127.0.0.1", server.port, server.token))

    async def ask() -> None:
        async with asyncio.timeout(0.5), node.own_session() as session:
            server.process.send_signal(signal.SIGSTOP)
            await session.run("SELECT 1")

    async def ask_and_leave() -> None:
        try:
            async with asyncio.timeout(30) as all_of_it:
                with pytest.raises(TimeoutError):
                    await ask()
            assert not all_of_it.expired()
        finally:
            server.process.send_signal(signal.SIGCONT)
            await node.upstream.close()

    asyncio.run(ask_and_leave())
