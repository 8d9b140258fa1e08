"""The sidecar: health and metrics over HTTP, for probes and for those who run the replica."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from azquack.process.health import Board


def application(board: Board, registry: CollectorRegistry, status: Callable[[], dict[str, Any]]) -> FastAPI:
    """`/healthz`, `/readyz`, `/status` and `/metrics`.

    `status` gives the body of the third, in which `ready` and `standby` say how the replica stands.
    """
    app = FastAPI(title="AzQuack sidecar", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        now = status()
        ready = now["ready"]
        body = {"ready": ready, "standby": now["standby"], "checks": board.details()}
        return JSONResponse(body, status_code=200 if ready else 503)

    @app.get("/status")
    async def show_status() -> dict[str, Any]:
        return status() | {"checks": board.details()}

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return app


class QuietServer(uvicorn.Server):
    """Uvicorn without its signal handlers: the supervisor says when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


class SidecarServer:
    """Runs the sidecar's application on a socket that listens: `start`, then `stop`."""

    def __init__(self, app: FastAPI, listener: socket.socket) -> None:
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
