"""The id that a client holds: the node's own id and what the door must know of the session, sealed.

Every door that knows the internal token can open it, so that any number of them share the load and a
restart of one loses nothing. A node's own id, stolen from `quack_active_connections()`, opens nothing
without the seal.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import astuple, dataclass
from typing import get_args

from azquack.door.ports import RoleName

PURPOSE = b"azquack door seal 1"
MAC_BYTES = 32


@dataclass(frozen=True, slots=True)
class Ticket:
    """A sealed id says: the session `inner` on `node` is `principal`'s, until `expires` (Unix seconds)."""

    inner: str
    node: str
    principal: str
    role: str
    fingerprint: str
    expires: float | None


class Seal:
    """Seals and opens tickets with a key drawn from the internal token."""

    __slots__ = ("_key",)

    def __init__(self, internal_token: str) -> None:
        self._key = hmac.digest(internal_token.encode(), PURPOSE, "sha256")

    def close(self, ticket: Ticket) -> str:
        """The id to hand to the client."""
        payload = json.dumps(astuple(ticket), separators=(",", ":")).encode()
        return _text(payload) + "." + _text(self._mac(payload))

    def open(self, connection_id: str) -> Ticket | None:
        """The ticket in `connection_id`; None for everything that this key did not seal."""
        payload, dot, mac = connection_id.partition(".")
        try:
            raw = _bytes(payload)
            sealed = hmac.compare_digest(_bytes(mac), self._mac(raw))
        except (ValueError, binascii.Error):
            return None
        if not dot or not sealed or _text(raw) != payload:
            return None
        ticket = Ticket(*json.loads(raw))
        return ticket if ticket.role in get_args(RoleName) else None

    def _mac(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")[:MAC_BYTES]


def label(connection_id: str) -> str:
    """A short name of a session for logs; it tells nothing of the id."""
    return hashlib.sha256(connection_id.encode()).hexdigest()[:12]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    raw = text.encode("ascii")
    return base64.b64decode(raw + b"=" * (-len(raw) % 4), altchars=b"-_", validate=True)
