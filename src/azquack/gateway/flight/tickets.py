"""Tickets: a command that its client may have answered once more by showing what it was given, encrypted.

A ticket holds all that is needed to answer it, so the server keeps nothing between GetFlightInfo and DoGet. It is
URL-safe base64 of a nonce (12 bytes) and, under AES-256-GCM, the JSON of whose it is, until when, and the command.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from azquack.errors import Refusal
from azquack.gateway.ports import Principal

PURPOSE = b"azquack flight ticket 1"
NONCE_BYTES = 12
SECONDS = 300.0
"""How long a ticket counts."""
FORGED = "This ticket is none of this server, or none of yours: ask for the flight's information again"
EXPIRED = f"This ticket has expired after {SECONDS:.0f} s: ask for the flight's information again"


@dataclass(frozen=True, slots=True)
class Ticket:
    """The `command` (bytes of an Any) of the flight `number`, until `expires` in Unix seconds."""

    number: str
    command: bytes
    expires: float


class Tickets:
    """Seals tickets with a key drawn from the internal token."""

    def __init__(self, internal_token: str, clock: Callable[[], float] = time.time) -> None:
        self._cipher = AESGCM(hmac.digest(internal_token.encode(), PURPOSE, "sha256"))
        self._clock = clock

    def close(self, principal: Principal, command: bytes) -> bytes:
        """A ticket for `command`, which only `principal` can use."""
        expires = self._clock() + SECONDS
        whose = [principal.name, principal.fingerprint]
        text = base64.b64encode(command).decode()
        plain = json.dumps([os.urandom(8).hex(), *whose, expires, text]).encode()
        nonce = os.urandom(NONCE_BYTES)
        return base64.urlsafe_b64encode(nonce + self._cipher.encrypt(nonce, plain, PURPOSE))

    def open(self, principal: Principal, sealed: bytes) -> Ticket:
        """What `sealed` holds. Raises `Refusal` when it is forged, expired or somebody else's."""
        try:
            raw = base64.b64decode(sealed, altchars=b"-_", validate=True)
            plain = self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], PURPOSE)
        except (ValueError, binascii.Error, InvalidTag):
            raise Refusal("ticket", FORGED) from None
        number, name, fingerprint, expires, command = json.loads(plain)
        if (name, fingerprint) != (principal.name, principal.fingerprint):
            raise Refusal("ticket", FORGED)
        if expires <= self._clock():
            raise Refusal("ticket", EXPIRED)
        return Ticket(number, base64.b64decode(command), expires)
