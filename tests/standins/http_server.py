"""A small HTTP server on a thread, for the stand-ins that are ours."""

from __future__ import annotations

import json
import math
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

# Longer than any client under test waits.
_SILENCE = 120.0


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asked; header names are in small letters."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What it is told; `body` goes out as JSON."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class HttpServer:
    """Answers GET requests with `answer` on `port` of 127.0.0.1, over TLS when given a `context`.

    `requests` holds what was asked, in order. `failing` and `silent` make it a bad server for a while.
    """

    def __init__(self, answer: Callable[[Request], Answer], context: ssl.SSLContext | None = None) -> None:
        self.requests: list[Request] = []
        self._answer = answer
        self._failure: Answer | None = None
        self._failures: float = 0
        self._stopped = False
        self._speaks = threading.Event()
        self._speaks.set()
        self._server = _Server(("127.0.0.1", 0), self._handler())
        if context is not None:
            # The handshake is left to the thread of the connection, so that one bad client blocks nobody.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port = int(self._server.server_address[1])
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no further request, let the silent ones go."""
        self._stopped = True
        self._speaks.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @contextmanager
    def failing(self, status: int, times: float = math.inf) -> Iterator[None]:
        """Answer `times` requests, or all, with `status`."""
        self._failure, self._failures = Answer(status, {"error": {"code": str(status)}}), times
        try:
            yield
        finally:
            self._failures = 0

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Take requests and answer none of them; afterwards their connections are closed."""
        self._speaks.clear()
        try:
            yield
        finally:
            self._speaks.set()

    def _respond(self, request: Request) -> Answer | None:
        self.requests.append(request)
        if not self._speaks.is_set():
            self._speaks.wait(_SILENCE)
            return None
        if self._stopped:
            return None
        if self._failure is not None and self._failures > 0:
            self._failures -= 1
            return self._failure
        return self._answer(request)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        respond = self._respond

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def do_GET(self) -> None:
                url = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = respond(Request(url.path, dict(parse_qsl(url.query)), headers))
                if answer is None:
                    self.close_connection = True
                    return
                body = json.dumps(answer.body).encode()
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves, or trusts another authority, is no fault of the server."""
