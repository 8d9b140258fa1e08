"""The sidecar: health and metrics over HTTP, for probes and for those who run the replica."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from azquack.process.health import Board


def application(board: Board, registry: CollectorRegistry, status: Callable[[], dict[str, Any]]) -> Starlette:
    """`/healthz`, `/readyz`, `/status` and `/metrics`.

    `status` gives the body of the third, in which `ready` and `standby` say how the replica stands.
    """

    async def healthz(_: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def readyz(_: Request) -> Response:
        now = status()
        ready = now["ready"]
        body = {"ready": ready, "standby": now["standby"], "checks": board.details()}
        return JSONResponse(body, status_code=200 if ready else 503)

    async def show_status(_: Request) -> Response:
        return JSONResponse(status() | {"checks": board.details()})

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    answers = {"/healthz": healthz, "/readyz": readyz, "/status": show_status, "/metrics": metrics}
    return Starlette(routes=[Route(path, answer) for path, answer in answers.items()])


class QuietServer(uvicorn.Server):
    """Uvicorn without its signal handlers: the supervisor says when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class SidecarServer:
    """Runs the sidecar's application on a socket that listens: `start`, then `stop`."""

    def __init__(self, app: Starlette, listener: socket.socket) -> None:
        self._listener = listener
        self._server = QuietServer(
            uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to serve."""
        self._serving = asyncio.create_task(self._server.serve(sockets=[self._listener]))

    async def stop(self) -> None:
        """Stop to serve."""
        self._server.should_exit = True
        if self._serving:
            await self._serving
