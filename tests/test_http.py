"""The HTTP of the gateway and the link: what comes in pieces, too early, too late, or not as it should."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from azquack.errors import ClientGone, Refusal
from azquack.http import Exchange, HttpServer, Timeouts

Scene = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[Any]]


async def echo(exchange: Exchange) -> None:
    """Answers with the body."""
    await exchange.answer(await exchange.whole(1 << 20))


@asynccontextmanager
async def served(
    handle: Callable[[Exchange], Awaitable[None]] = echo, timeouts: Timeouts | None = None
) -> AsyncIterator[tuple[HttpServer, int]]:
    """A server of `handle`, and its port."""
    server = HttpServer(handle, timeouts)
    listener = await asyncio.get_running_loop().create_server(server.connection, "127.0.0.1", 0)
    yield server, listener.sockets[0].getsockname()[1]
    listener.close()
    await server.stop(1)


async def talk(port: int, *pieces: bytes) -> bytes:
    """All that comes back for `pieces` until the server closes, or has been quiet for a second."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
        # So that it comes in a piece of its own.
        await asyncio.sleep(0.02)
    answer = b""
    try:
        while data := await asyncio.wait_for(reader.read(1 << 16), 1):
            answer += data
    except TimeoutError:
        answer += b"[open]"
    except ConnectionError:
        answer += b"[reset]"
    writer.close()
    return answer


def post(body: bytes, *more: bytes) -> bytes:
    """A request."""
    return b"\r\n".join([b"POST /quack HTTP/1.1", b"Content-Length: %d" % len(body), *more, b"", body])


def bodies(answers: bytes) -> list[bytes]:
    """What stands behind each head."""
    return [each.partition(b"\r\n\r\n")[2] for each in answers.split(b"HTTP/1.1 200 OK")[1:]]


def told(*pieces: bytes, handle: Callable[[Exchange], Awaitable[None]] = echo, **timeouts: float) -> bytes:
    """What a server answers to `pieces`."""

    async def scene() -> bytes:
        async with served(handle, Timeouts(**timeouts)) as (_, port):  # type: ignore[arg-type]
            return await talk(port, *pieces)

    return asyncio.run(scene())


def test_a_request_may_come_in_any_pieces() -> None:
    whole = post(b"hello")
    for cut in range(1, len(whole)):
        assert bodies(told(whole[:cut], whole[cut:] + post(b"", b"Connection: close")))[0] == b"hello"


def test_requests_that_come_at_once_are_answered_in_turn() -> None:
    async def slower_at_first(exchange: Exchange) -> None:
        body = await exchange.whole(100)
        await asyncio.sleep(0.1 if body == b"one" else 0)
        await exchange.answer(body)

    answers = told(post(b"one") + post(b"two") + post(b"three"), handle=slower_at_first)
    assert bodies(answers.removesuffix(b"[open]")) == [b"one", b"two", b"three"]


def test_a_second_request_in_pieces_waits_for_its_rest() -> None:
    second = post(b"two")
    for cut in (3, 30, len(second) - 1):
        answers = told(post(b"one") + second[:cut], second[cut:])
        assert bodies(answers.removesuffix(b"[open]")) == [b"one", b"two"]


OFFERS = {
    "java": (b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAEAAEAAAAIAAAAB"),
    "websocket": (b"Connection: Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="),
    "unknown": (b"connection: keep-alive, UPGRADE", b"upgrade: next/7, tls/1.3"),
    "apart": (b"Upgrade: h2c", b"Connection: HTTP2-Settings", b"Connection: Upgrade"),
    "without-connection": (b"Upgrade: h2c",),
    "empty": (b"Connection: Upgrade", b"Upgrade:"),
}


@pytest.mark.parametrize("offer", OFFERS.values(), ids=OFFERS.keys())
def test_an_offer_of_another_protocol_is_ignored_and_the_body_is_read(offer: tuple[bytes, ...]) -> None:
    plain = post(b"two", b"Connection: close")
    for body in (b"", b"hello", b"POST / HTTP/1.1\r\n\r\n"):
        whole = post(body, *offer)
        head = len(whole) - len(body)
        for cut in (20, head - 1, head, head + 1, len(whole)):
            assert bodies(told(whole[:cut], whole[cut:] + plain)) == [body, b"two"]
    last = told(post(b"last", *offer, b"Connection: close"))
    assert bodies(last) == [b"last"]


def test_an_offer_of_another_protocol_gives_a_request_no_other_bounds() -> None:
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\n"

    async def read(exchange: Exchange) -> None:
        try:
            pieces = [await exchange.prefix(), *[each async for each in exchange.rest()]]
            await exchange.answer(b"".join(pieces))
        except Refusal as refusal:
            await exchange.refuse(refusal)

    chunked = b"POST / HTTP/1.1\r\n" + offer + b"Transfer-Encoding: chunked\r\n"
    two = post(b"two", b"Connection: close")
    assert bodies(told(chunked + b"\r\n3\r\nabc\r\n0\r\n\r\n" + two, handle=read)) == [b"abc", b"two"]
    for bounds in (b"Content-Length: 3\r\nContent-Length: 4\r\n", b"Content-Length: x\r\n"):
        assert told(b"POST / HTTP/1.1\r\n" + offer + bounds + b"\r\nabcd", handle=read).startswith(
            b"HTTP/1.1 400"
        )
    both = told(chunked + b"Content-Length: 4\r\n\r\n3\r\nabc\r\n0\r\n\r\n", handle=read)
    assert both.startswith(b"HTTP/1.1 400")


def test_what_is_http_2_from_the_start_or_a_tunnel_is_told_so_and_closed() -> None:
    assert told(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert not told(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\nabc").endswith(b"[open]")


def test_a_client_gets_a_refusal_that_comes_before_its_body_is_read() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.refuse(Refusal("no", "not this one"))

    large = b"x" * 600_000
    answers = told(post(large) + post(b"", b"Connection: close"), handle=refuse)
    assert answers.count(b"not this one") == 2
    assert answers.count(b"HTTP/1.1 200") == 2


def test_a_body_that_nobody_reads_is_not_taken_without_end() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.refuse(Refusal("no", "not this one"))

    answers = told(b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"x" * (3 << 20), handle=refuse)
    assert not answers.endswith(b"[open]")


def test_what_is_not_http_is_told_so_and_closed() -> None:
    assert told(b"hello\r\n\r\n").startswith(b"HTTP/1.1 400")
    broken = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"

    async def read(exchange: Exchange) -> None:
        try:
            await exchange.prefix()
        except Refusal as refusal:
            await exchange.refuse(refusal)

    answer = told(broken, handle=read)
    assert answer.startswith(b"HTTP/1.1 400")
    assert not answer.endswith(b"[open]")


def test_what_came_before_something_broken_is_still_answered() -> None:
    answer = told(post(b"fine") + b"\x00\x01garbage\r\n\r\n")
    assert bodies(answer) == [b"fine"]


def test_a_client_that_asks_first_is_told_to_go_on() -> None:
    answer = told(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n", b"hi")
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_a_client_that_asks_first_and_is_refused_need_not_send() -> None:
    async def refuse(exchange: Exchange) -> None:
        exchange.bound(10)

    async def handle(exchange: Exchange) -> None:
        try:
            await refuse(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)

    answer = told(b"POST / HTTP/1.1\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n", handle=handle)
    assert answer.startswith(b"HTTP/1.1 413")
    assert not answer.endswith(b"[open]")


@pytest.mark.parametrize(
    "begun", [b"", b"POST / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhi", post(b"done")]
)
def test_whoever_does_not_go_on_is_closed(begun: bytes) -> None:
    async def handle(exchange: Exchange) -> None:
        try:
            await echo(exchange)
        except Refusal as refusal:
            await exchange.refuse(refusal)

    answer = told(begun, handle=handle, head=0.3, body=0.3, idle=0.3)
    assert not answer.endswith(b"[open]")


def test_a_client_that_reads_its_answer_by_drops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azquack.http.exchange.SLOWEST", 1 << 40)
    given_up = asyncio.Event()

    async def stream(exchange: Exchange) -> None:
        exchange.begin(1 << 30)
        try:
            while True:
                await exchange.chunk(bytes(1 << 20), more=True)
        except ClientGone:
            given_up.set()
            raise

    async def scene() -> None:
        async with served(stream, Timeouts(read=0.5)) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
            writer.write(post(b""))
            # Fast enough that no single wait is too long: the gateway can write on each time.
            while not given_up.is_set():
                await asyncio.wait_for(reader.read(1 << 19), 5)
                await asyncio.sleep(0.02)
            writer.close()

    asyncio.run(asyncio.wait_for(scene(), 60))


def test_a_fault_of_the_handler_closes_its_socket_alone() -> None:
    async def fail(exchange: Exchange) -> None:
        if await exchange.whole(10) == b"fail":
            raise RuntimeError("ours")
        await exchange.answer(b"fine")

    async def scene() -> list[bytes]:
        async with served(fail) as (_, port):
            return [await talk(port, post(body, b"Connection: close")) for body in (b"fail", b"work")]

    failed, worked = asyncio.run(scene())
    assert failed in (b"", b"[reset]")
    assert worked.endswith(b"fine")


def test_a_server_that_stops_lets_requests_end_and_closes_the_idle() -> None:
    async def scene() -> None:
        begun, go = asyncio.Event(), asyncio.Event()

        async def wait(exchange: Exchange) -> None:
            begun.set()
            await go.wait()
            await echo(exchange)

        async with served(wait) as (server, port):
            idle, writer = await asyncio.open_connection("127.0.0.1", port)
            asking = asyncio.create_task(talk(port, post(b"x" * 100_000)))
            await begun.wait()
            stopping = asyncio.create_task(server.stop(5))
            # The end of the idle one is the sign that the stop has begun.
            assert await asyncio.wait_for(idle.read(), 5) == b"", "the idle socket was left open"
            writer.close()
            go.set()
            assert len(bodies(await asking)[0]) == 100_000
            await stopping

    asyncio.run(scene())


def test_a_stop_does_not_wait_for_ever() -> None:
    async def scene() -> float:
        begun = asyncio.Event()

        async def hang(exchange: Exchange) -> None:
            begun.set()
            await exchange.client_gone()

        async with served(hang) as (server, port):
            asking = asyncio.create_task(talk(port, post(b"")))
            await begun.wait()
            before = time.monotonic()
            await server.stop(0.2)
            assert await asking in (b"", b"[reset]")
            return time.monotonic() - before

    assert asyncio.run(scene()) < 5
