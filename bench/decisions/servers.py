"""One HTTP server with the same little application: `python -m bench.decisions.servers NAME`, which prints its port.

`POST /small` answers 200 bytes once the body has been read, `POST /deaf` never reads its body, and `GET /large` answers
`LARGE` bytes in pieces.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import Any

import uvloop

PIECE = b"x" * (64 << 10)
PIECES = 2048
LARGE = len(PIECE) * PIECES
SMALL = b"y" * 200
HEAD_SECONDS = 2


def ours() -> None:
    from azquack.http import Exchange, HttpServer, Timeouts

    async def handle(exchange: Exchange) -> None:
        if exchange.path == b"/deaf":
            await asyncio.sleep(3600)
        if exchange.path == b"/large":
            exchange.begin(LARGE)
            for number in range(PIECES):
                await exchange.chunk(PIECE, more=number + 1 < PIECES)
            return
        await exchange.prefix()
        async for _ in exchange.rest():
            pass
        await exchange.answer(SMALL)

    async def main() -> None:
        server = HttpServer(handle, Timeouts(head=HEAD_SECONDS, idle=60.0))
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(server.connection, "127.0.0.1", 0)
        print(listener.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())


async def asgi(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The application for uvicorn."""
    if scope["path"] == "/deaf":
        await asyncio.sleep(3600)
    if scope["path"] == "/large":
        head = [(b"content-length", b"%d" % LARGE), (b"content-type", b"application/vnd.duckdb")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for number in range(PIECES):
            await send({"type": "http.response.body", "body": PIECE, "more_body": number + 1 < PIECES})
        return
    while (await receive()).get("more_body"):
        pass
    head = [(b"content-length", b"%d" % len(SMALL)), (b"content-type", b"application/vnd.duckdb")]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": SMALL})


def uvicorn() -> None:
    import uvicorn as library

    listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
    print(listener.getsockname()[1], flush=True)
    config = library.Config(
        asgi, http="httptools", loop="uvloop", lifespan="off", log_level="error", access_log=False,
        timeout_keep_alive=60, server_header=False, date_header=False,
    )  # fmt: skip
    library.Server(config).run(sockets=[listener])


async def rsgi(scope: Any, protocol: Any) -> None:
    """The application for granian."""
    if scope.path == "/deaf":
        await asyncio.sleep(3600)
    if scope.path == "/large":
        head = [("content-length", str(LARGE)), ("content-type", "application/vnd.duckdb")]
        transport = protocol.response_stream(200, head)
        for _ in range(PIECES):
            await transport.send_bytes(PIECE)
        return
    async for _ in protocol:
        pass
    protocol.response_bytes(200, [("content-type", "application/vnd.duckdb")], SMALL)


def granian() -> None:
    from granian import Granian
    from granian.constants import HTTPModes, Interfaces, Loops
    from granian.http import HTTP1Settings

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    print(port, flush=True)
    Granian(
        "bench.decisions.servers:rsgi", address="127.0.0.1", port=port, interface=Interfaces.RSGI, workers=1,
        loop=Loops.uvloop, http=HTTPModes.http1, log_enabled=False,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
    ).serve()  # fmt: skip


def aiohttp() -> None:
    from aiohttp import web

    async def handle(request: Any) -> Any:
        if request.path == "/deaf":
            await asyncio.sleep(3600)
        if request.path == "/large":
            answer = web.StreamResponse(headers={"Content-Type": "application/vnd.duckdb"})
            answer.content_length = LARGE
            await answer.prepare(request)
            for _ in range(PIECES):
                await answer.write(PIECE)
            await answer.write_eof()
            return answer
        async for _ in request.content.iter_any():
            pass
        return web.Response(body=SMALL, content_type="application/vnd.duckdb")

    async def main() -> None:
        server = web.Server(handle, access_log=None, keepalive_timeout=60)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        print(listener.sockets[0].getsockname()[1], flush=True)
        await asyncio.Event().wait()

    uvloop.run(main())


SERVERS = {"ours": ours, "uvicorn": uvicorn, "granian": granian, "aiohttp": aiohttp}

if __name__ == "__main__":
    SERVERS[sys.argv[1]]()
