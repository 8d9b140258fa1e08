"""Certificates of a server: whether they can be used, and when they end."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from azquack.errors import StartError


def load(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """A server's context with them. Raises `StartError` when they cannot be read or do not belong together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise StartError(f"the gateway's TLS files cannot be used: {error.strerror or error}") from None
    return context


def end_of(certificate: Path) -> datetime:
    """When the first certificate of the PEM file ends. Raises `StartError` when it holds none, `OSError`."""
    try:
        return end_of_pem(certificate.read_text())
    except ValueError:
        raise StartError(f"{certificate} holds no certificate in PEM") from None


def end_of_pem(text: str) -> datetime:
    """When the first certificate in `text` ends. Raises `ValueError`."""
    # A slow import, of which a gateway without TLS has no need.
    from cryptography import x509

    return x509.load_pem_x509_certificate(text.encode()).not_valid_after_utc.astimezone(UTC)
