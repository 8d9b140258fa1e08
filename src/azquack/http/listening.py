"""The socket that a server listens on."""

from __future__ import annotations

import socket

from azquack.errors import StartError


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket. Raises `StartError` when the address cannot be opened."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        raise StartError(
            f"port {port} on {host} cannot be opened: {(error.strerror or '').lower()}"
        ) from None
    return sock
