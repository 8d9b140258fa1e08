"""Connections to a Quack server: a real one, and one that misbehaves."""

from __future__ import annotations

import asyncio
import select
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack

import psutil
import pytest

from azquack.errors import StatementError, UpstreamError
from azquack.quack import wire
from azquack.quack.upstream import Session, Upstream
from azquack.quack.upstream.pool import ACCEPT_SECONDS, OPENED
from tests.cluster import wait_until
from tests.gateway.parts import NodeProcess


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    each = NodeProcess("n1")
    yield each
    each.stop()


def run(scene: Callable[[Upstream], Awaitable[None]], node: NodeProcess) -> None:
    """Runs `scene` with connections to `node`."""

    async def main() -> None:
        upstream = Upstream("127.0.0.1", node.port)
        await scene(upstream)
        await upstream.close()

    asyncio.run(main())


def test_a_session_logs_in_runs_statements_and_ends(node: NodeProcess) -> None:
    async def scene(upstream: Upstream) -> None:
        session = await Session.login(upstream, node.token)
        assert await session.text("SELECT 'é' || 42") == "é42"
        await session.run("SET VARIABLE x = 'kept'")
        assert await session.text("SELECT getvariable('x')") == "kept"
        with pytest.raises(StatementError, match='syntax error at or near "selectx"'):
            await session.run("selectx")
        await session.close()
        with pytest.raises(StatementError, match="Invalid connection id"):
            await session.run("SELECT 1")

    run(scene, node)


def test_a_wrong_token_gives_the_servers_sentence(node: NodeProcess) -> None:
    async def scene(upstream: Upstream) -> None:
        with pytest.raises(StatementError, match="Authentication failed"):
            await Session.login(upstream, "wrong")

    run(scene, node)


def test_more_requests_than_the_server_takes_per_connection_all_pass(node: NodeProcess) -> None:
    async def scene(upstream: Upstream) -> None:
        session = await Session.login(upstream, node.token)
        for number in range(300):
            assert await session.text(f"SELECT '{number}'") == str(number)

    run(scene, node)


def test_requests_above_the_limit_of_connections_wait_their_turn(node: NodeProcess) -> None:
    async def main() -> None:
        upstream = Upstream("127.0.0.1", node.port, limit=4)
        sessions = await asyncio.gather(*(Session.login(upstream, node.token) for _ in range(30)))
        assert len({session.connection_id for session in sessions}) == 30
        await upstream.close()

    asyncio.run(main())


def test_a_node_has_room_for_five_sockets_that_wait_to_be_accepted(node: NodeProcess) -> None:
    # Linux holds one more than it was told to. Where there is more room, `OPENED` can grow.
    process = psutil.Process(node.process.pid)
    threads = [psutil.Process(each.id) for each in process.threads()]
    process.suspend()
    try:
        # Until its listener has stopped too, the node would take one of the sockets out of the queue.
        wait_until(
            lambda: all(each.status() == psutil.STATUS_STOPPED for each in threads), "the node does not stop"
        )
        with ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(20)]
            for each in sockets:
                each.setblocking(False)
                each.connect_ex(("127.0.0.1", node.port))
            connected = select.select([], sockets, [], 0.5)[1]
            assert len(connected) == 5 + 1 > OPENED
    finally:
        process.resume()


def test_sockets_are_opened_no_faster_than_a_node_accepts_them() -> None:
    opened: list[float] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(time.monotonic())
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        writer.close()

    async def ask(upstream: Upstream) -> bytes:
        async with await upstream.send(b"") as response:
            return await response.body()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = Upstream("127.0.0.1", server.sockets[0].getsockname()[1])
        assert await asyncio.gather(*(ask(upstream) for _ in range(40))) == [b"x"] * 40
        await upstream.close()
        server.close()

    asyncio.run(main())
    assert len(opened) == 40
    # No socket is used twice here: all 40 wait to be opened before the first answer is there.
    assert opened[-1] - opened[0] >= (40 // OPENED - 1) * ACCEPT_SECONDS * 0.9


def test_a_body_in_pieces_arrives_whole(node: NodeProcess) -> None:
    async def scene(upstream: Upstream) -> None:
        session = await Session.login(upstream, node.token)
        message = wire.prepare(session.connection_id, "SELECT '" + "x" * 3_000_000 + "'")

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(message), 100_000):
                yield message[at : at + 100_000]

        async with await upstream.send(pieces(), length=len(message)) as response:
            answer = await response.body()
        assert len(wire.parse_text(answer)) == 3_000_000

    run(scene, node)


def test_a_server_that_is_not_there_is_named_and_nothing_was_sent() -> None:
    async def main() -> None:
        with pytest.raises(UpstreamError, match=r"127\.0\.0\.1:1 cannot be reached") as caught:
            await Upstream("127.0.0.1", 1).send(b"x")
        assert not caught.value.sent

    asyncio.run(main())


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\ntoo much",
        b"not HTTP at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000,
    ],
)
def test_a_broken_answer_is_an_error_and_the_request_is_sent_once(answer: bytes) -> None:
    async def main() -> None:
        requests = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal requests
            await reader.readuntil(b"\r\n\r\n")
            requests += 1
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = Upstream("127.0.0.1", server.sockets[0].getsockname()[1])
        with pytest.raises(UpstreamError) as caught:
            async with await upstream.send(b"INSERT") as response:
                await response.body()
        assert caught.value.sent
        assert requests == 1
        server.close()

    asyncio.run(main())


def test_a_chunked_answer_is_read_to_its_end() -> None:
    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            writer.write(b"2\r\nde\r\n0\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        upstream = Upstream("127.0.0.1", server.sockets[0].getsockname()[1])
        async with await upstream.send(b"") as response:
            assert await response.body() == b"abcde"
        server.close()

    asyncio.run(main())
