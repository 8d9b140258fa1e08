"""Calls: who makes one, whether that client is still there, and the statement that runs for it."""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import duckdb
from pyarrow import flight

from azquack.errors import Refusal
from azquack.gateway.sessions import Session

EVERY = 0.25
"""Seconds between looks at whether clients are still there."""
MIDDLEWARE = "azquack"
NOBODY = "Say who you are: a token as the password of basic authentication, or as authorization: Bearer TOKEN"
GONE, LATE, CANCELLED = "gone", "timeout", "cancelled"
_SAID = {
    GONE: "The client has left",
    LATE: "The statement took longer than it may here: ask for less at once",
    CANCELLED: "The statement was cancelled",
}


def token_of(headers: dict[str, list[str]]) -> str:
    """The token that a call's headers show; '' for none."""
    for value in headers.get("authorization", []):
        scheme, _, rest = value.partition(" ")
        if scheme.lower() == "bearer":
            return rest.strip()
        if scheme.lower() == "basic":
            # Go's client leaves the padding out.
            with suppress(binascii.Error, ValueError):
                return (
                    base64.b64decode(rest.rstrip("=") + "=" * (-len(rest.rstrip("=")) % 4))
                    .decode()
                    .partition(":")[2]
                )
    return ""


class Bearer(flight.ServerMiddleware):  # type: ignore[misc]  # pyarrow has no types
    """Gives a client that logs in with a user and a password that very token back, to show it with each call.

    Nothing is checked here, where nobody knows the client's address: each call checks its token.
    """

    def __init__(self, token: str, *, basic: bool) -> None:
        self.token = token
        self._basic = basic

    def sending_headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self._basic and self.token.isascii() else {}


class BearerFactory(flight.ServerMiddlewareFactory):  # type: ignore[misc]
    """Makes one for each call."""

    def start_call(self, info: Any, headers: dict[str, list[str]]) -> Bearer:
        told = headers.get("authorization", [""])[0]
        return Bearer(token_of(headers), basic=told.lower().startswith("basic "))


class Handshake(flight.ServerAuthHandler):  # type: ignore[misc]
    """Lets the call Handshake be made at all: its headers say everything."""

    def authenticate(self, outgoing: Any, incoming: Any) -> None:
        """Nothing more is asked."""

    def is_valid(self, token: bytes) -> bytes:
        """Each call checks its own token."""
        return b""


class Call:
    """One call of a client on its way: a `Client` of the pipeline. `cursor` runs its statement, if it has one.

    `seen` is when its client last took something, `ended` why the statement was interrupted.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self.address = address_of(context.peer())
        self.sent = 0
        self.began = self.seen = time.monotonic()
        self.cursor: duckdb.DuckDBPyConnection | None = None
        self.ended = ""
        self.number = ""
        self.session: Session | None = None
        self.over = False

    @property
    def lost(self) -> bool:
        """Whether the client has left. The context must not be asked once the call is over."""
        return self.ended == GONE or (not self.over and bool(self._context.is_cancelled()))

    def interrupt(self, why: str) -> None:
        """Ends its statement; the call is told `why`."""
        self.ended = self.ended or why
        cursor = self.cursor
        if cursor is not None:
            # It may have ended this very moment.
            with suppress(duckdb.Error):
                cursor.interrupt()

    def check(self) -> None:
        """Raises `Refusal` when it was interrupted."""
        if self.ended:
            raise Refusal(self.ended, _SAID[self.ended])


class Calls:
    """The calls that run. A thread looks after them: a client that left, or a statement past its time, is ended."""

    def __init__(self, statement_seconds: float, result_seconds: float) -> None:
        self._statement_seconds = statement_seconds
        self._result_seconds = result_seconds
        self._calls: set[Call] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._watch, daemon=True, name="calls").start()

    def add(self, call: Call) -> None:
        """From now on `call` is looked after."""
        with self._lock:
            self._calls.add(call)

    def remove(self, call: Call) -> None:
        """It is over: what gRPC holds of it goes with this."""
        with self._lock:
            call.over = True
            self._calls.discard(call)

    def cancel(self, number: str) -> bool:
        """Interrupts the statement of the flight `number`; False when it does not run."""
        with self._lock:
            found = [each for each in self._calls if each.number == number]
            for each in found:
                each.interrupt(CANCELLED)
        return bool(found)

    def stop(self, seconds: float) -> None:
        """Interrupts what still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        while self._calls and time.monotonic() < deadline:
            time.sleep(EVERY / 5)
        self._each(lambda call: call.interrupt(CANCELLED))

    def _watch(self) -> None:
        while True:
            time.sleep(EVERY)
            self._each(self._look)

    def _look(self, call: Call) -> None:
        now = time.monotonic()
        if call.ended:
            # One that came before the statement had begun is forgotten by DuckDB.
            call.interrupt(call.ended)
        elif call.lost:
            call.interrupt(GONE)
        elif now - call.began > self._statement_seconds or now - call.seen > self._result_seconds:
            call.interrupt(LATE)

    def _each(self, do: Callable[[Call], None]) -> None:
        with self._lock:
            for each in list(self._calls):
                do(each)


def address_of(peer: str) -> str:
    """The address of gRPC's `peer`: that of `ipv4:127.0.0.1:1234` and `ipv6:%5B::1%5D:1234` without its port."""
    return unquote(peer.partition(":")[2]).rpartition(":")[0].strip("[]") or peer
