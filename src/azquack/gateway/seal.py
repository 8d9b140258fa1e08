"""The id that a client holds: the node's own id and what the gateway must know of the session, encrypted.

Every gateway that knows the internal token can open it, so that any number of them share the load and a
restart of one loses nothing. Nobody else can: the node's own id, with which its port could be asked past every
check, cannot be read out of it, and opens nothing by itself.

A sealed id is URL-safe base64 without padding of a random nonce (12 bytes) and the ticket under AES-256-GCM.
There is one spelling of it: what is not exactly as `close` writes it opens nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
from dataclasses import astuple, dataclass
from typing import get_args

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azquack.gateway.ports import RoleName

PURPOSE = b"azquack gateway seal 2"
NONCE_BYTES = 12
# Tickets are filled up to a multiple of this, so that the length tells little of the names in them.
BLOCK = 64


@dataclass(frozen=True, slots=True)
class Ticket:
    """A sealed id says: the session `inner` on `node` is `principal`'s, until `expires` (Unix seconds).

    `client` is the version that the client gave at its login, such as `v1.5.5`; `heartbeat` the seconds after which a
    client of Quack 3 that says nothing is gone, 0 for one of Quack 1. `number` is that of the connection within the
    node's DuckDB, by which its statements are interrupted (0: not known); `since` is when it logged in (Unix seconds).
    """

    inner: str
    node: str
    principal: str
    role: str
    fingerprint: str
    expires: float | None
    client: str = ""
    heartbeat: int = 0
    number: int = 0
    since: float = 0.0


class Seal:
    """Seals and opens tickets with a key drawn from the internal token."""

    __slots__ = ("_cipher",)

    def __init__(self, internal_token: str) -> None:
        self._cipher = AESGCM(hmac.digest(internal_token.encode(), PURPOSE, "sha256"))

    def close(self, ticket: Ticket) -> str:
        """The id to hand to the client."""
        plain = json.dumps(astuple(ticket), separators=(",", ":")).encode()
        nonce = os.urandom(NONCE_BYTES)
        return _text(nonce + self._cipher.encrypt(nonce, plain + b" " * (-len(plain) % BLOCK), PURPOSE))

    def open(self, connection_id: str) -> Ticket | None:
        """The ticket in `connection_id`; None for everything that this key did not seal, letter by letter."""
        try:
            raw = _bytes(connection_id)
            if _text(raw) != connection_id:
                return None
            plain = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], PURPOSE)
        except (ValueError, binascii.Error, InvalidTag):
            return None
        ticket = Ticket(*json.loads(plain))
        return ticket if ticket.role in get_args(RoleName) else None


def label(connection_id: str) -> str:
    """A short name of a session for logs; it tells nothing of the id."""
    return hashlib.sha256(connection_id.encode()).hexdigest()[:12]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    raw = text.encode("ascii")
    return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
