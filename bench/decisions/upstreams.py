"""Our connections to a Quack server, and the clients of libraries in their place: docs/decisions/upstream-pool.md."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from functools import partial

import aiohttp
import httpx
import uvloop

from azquack.quack.upstream import Upstream
from bench.decisions.http_servers import BODY, served
from bench.decisions.measure import Figures, Table, rounds
from bench.decisions.servers import LARGE

CLIENTS = 16
REQUESTS = 200

Post = Callable[[], Awaitable[None]]
Fetch = Callable[[], Awaitable[int]]


def run(count: int) -> list[Table]:
    """The table of `count` rounds, all against our own server in another process."""
    with served("ours") as (_, port):
        contenders = {
            name: partial(uvloop_run, work, port)
            for name, work in (("ours", ours), ("httpx", with_httpx), ("aiohttp", with_aiohttp))
        }
        return [rounds("Connections to a server", contenders, count)]


def uvloop_run(work: Callable[[int], Awaitable[Figures]], port: int) -> Figures:
    """`work` in a loop of its own."""
    return uvloop.run(work(port))  # type: ignore[arg-type]


async def ours(port: int) -> Figures:
    upstream = Upstream("127.0.0.1", port)

    async def post() -> None:
        async with await upstream.send(BODY) as answer:
            assert len(await answer.body()) == 200

    # The server takes the path from the head, which the upstream fixes to /quack.
    upstream._head = upstream._head.replace(b"/quack", b"/small")
    small = await _small(post)
    upstream._head = upstream._head.replace(b"/small", b"/large")

    async def fetch() -> int:
        seen = 0
        async with await upstream.send(b"") as answer:
            while piece := await answer.read():
                seen += len(piece)
        return seen

    large = await _large(fetch)
    await upstream.close()
    return small | large


async def with_httpx(port: int) -> Figures:
    limits = httpx.Limits(max_connections=96, max_keepalive_connections=96, keepalive_expiry=5)
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}",
        limits=limits,
        trust_env=False,
        verify=ssl.create_default_context(),
    ) as client:

        async def post() -> None:
            assert len((await client.post("/small", content=BODY)).content) == 200

        async def fetch() -> int:
            async with client.stream("POST", "/large") as answer:
                return sum([len(each) async for each in answer.aiter_raw()])

        return await _small(post) | await _large(fetch)


async def with_aiohttp(port: int) -> Figures:
    connector = aiohttp.TCPConnector(limit=96, keepalive_timeout=5)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", connector=connector) as client:

        async def post() -> None:
            async with client.post("/small", data=BODY) as answer:
                assert len(await answer.read()) == 200

        async def fetch() -> int:
            async with client.post("/large") as answer:
                return sum([len(each) async for each in answer.content.iter_any()])

        return await _small(post) | await _large(fetch)


async def _small(post: Post) -> Figures:
    async def client(requests: int) -> None:
        for _ in range(requests):
            await post()

    await asyncio.gather(*(client(10) for _ in range(CLIENTS)))
    before = time.process_time()
    await asyncio.gather(*(client(REQUESTS) for _ in range(CLIENTS)))
    return {"CPU of a small request": time.process_time() - before}


async def _large(fetch: Fetch) -> Figures:
    before = time.process_time()
    assert await fetch() == LARGE
    return {"CPU of a large answer": time.process_time() - before}
