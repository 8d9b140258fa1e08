"""What answers the probes while a replica starts: alive, not ready, and what it waits for.

The sidecar comes with the gateway, which starts last. A start may take minutes, waiting for another owner, a large
file or a role in Azure, and a platform ends what does not answer meanwhile.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from azquack.errors import StartError

# Seconds for one request: nobody but a probe has business here.
SOCKET_TIMEOUT = 5.0


class StartingSidecar:
    """Answers on `host` and `port` from `open` until `close`; a port of 0, which no probe knows, stays closed."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._server: ThreadingHTTPServer | None = None
        self._reason = "the replica's processes"

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self) -> None:
        """Begin to answer, unless it does. Raises `StartError` when the port cannot be opened."""
        if self._server is not None or not self._address[1]:
            return
        sidecar = self

        class Handler(BaseHTTPRequestHandler):
            timeout = SOCKET_TIMEOUT

            def do_GET(self) -> None:
                status, body = sidecar.answer(self.path)
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Probes are no news."""

        try:
            self._server = ThreadingHTTPServer(self._address, Handler)
        except OSError as error:
            host, port = self._address
            raise StartError(
                f"port {port} on {host} cannot be opened: {(error.strerror or '').lower()}"
            ) from None
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        """Give the port to the gateway's process."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def waits_for(self, reason: str) -> None:
        """What the start waits for now, in a sentence's words."""
        self._reason = reason

    def answer(self, path: str) -> tuple[int, bytes]:
        """(status, body) for a GET of `path`, as the sidecar has them once the replica serves."""
        body: dict[str, Any]
        match path.partition("?")[0]:
            case "/healthz":
                status, body = 200, {"status": "starting", "waits_for": self._reason}
            case "/readyz" | "/status":
                status, body = 503, {"ready": False, "standby": False, "waits_for": self._reason}
            case _:
                status, body = 404, {"detail": "Not Found"}
        return status, json.dumps(body).encode()
