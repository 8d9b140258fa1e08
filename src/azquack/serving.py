"""What the door and the sidecar share: uvicorn as a guest in a process of ours."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from azquack.errors import StartError


class QuietServer(uvicorn.Server):
    """Uvicorn without its signal handlers: the supervisor says when to stop."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `StartError` when the address cannot be had."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise StartError(f"port {port} on {host} cannot be had: {(error.strerror or '').lower()}") from None
    return sock
