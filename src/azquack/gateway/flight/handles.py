"""What clients hold between two calls, by handles that only they can use: prepared statements and transactions."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

from azquack.errors import Refusal
from azquack.gateway.ports import Principal

T = TypeVar("T")
UNKNOWN = "There is no {} of yours with this handle: it was closed, or nobody used it for {:.0f} s"
TOO_MANY = "{} has too many open {}s here: close one first"


class Handles(Generic[T]):
    """Things called `what` by random handles: `each` of one principal, for `seconds` without use; `close` ends one."""

    def __init__(self, what: str, each: int, seconds: float, close: Callable[[T], None]) -> None:
        self._what, self._each, self._seconds, self._close = what, each, seconds, close
        self._held: OrderedDict[bytes, tuple[tuple[str, str], float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, principal: Principal, make: Callable[[str], T]) -> tuple[bytes, T]:
        """A new one, made by `make` from its number, and its handle. Raises `Refusal`."""
        self.sweep()
        with self._lock:
            mine = sum(whose == _whose(principal) for whose, _, _ in self._held.values())
        if mine >= self._each:
            raise Refusal("sessions", TOO_MANY.format(principal.name, self._what))
        handle = os.urandom(16).hex()
        made = make(handle)
        with self._lock:
            self._held[handle.encode()] = _whose(principal), time.monotonic(), made
        return handle.encode(), made

    def find(self, principal: Principal, handle: bytes) -> T:
        """That of `handle`. Raises `Refusal` when there is none, or it is somebody else's."""
        self.sweep()
        with self._lock:
            whose, _, found = self._held.get(handle) or ((), 0.0, None)
            if found is None or whose != _whose(principal):
                raise Refusal("handle", UNKNOWN.format(self._what, self._seconds))
            self._held[handle] = _whose(principal), time.monotonic(), found
            self._held.move_to_end(handle)
            return found

    def take(self, principal: Principal, handle: bytes) -> T:
        """The same, and it is known no more; the caller closes it."""
        found = self.find(principal, handle)
        with self._lock:
            self._held.pop(handle, None)
        return found

    def sweep(self) -> None:
        """Closes those that nobody used for too long."""
        oldest = time.monotonic() - self._seconds
        idle = []
        with self._lock:
            while self._held and next(iter(self._held.values()))[1] < oldest:
                idle.append(self._held.popitem(last=False)[1][2])
        for each in idle:
            self._close(each)


def _whose(principal: Principal) -> tuple[str, str]:
    return principal.name, principal.fingerprint
