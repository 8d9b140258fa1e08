"""A cache between DuckDB and the platform's managed identity endpoint.

DuckDB's azure extension makes a new credential for every statement, so each one that touches Blob Storage
asks the identity endpoint, and a 429 from there fails the statement at once (measured on 1.5.5). The cache
speaks the same protocol on loopback, keeps a token for half of its life, and goes on giving the old one
while the endpoint is busy or silent:
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx

log = logging.getLogger(__name__)

ENDPOINT, HEADER = "IDENTITY_ENDPOINT", "IDENTITY_HEADER"
# How long one statement waits for a first token, and one request for an answer; seconds.
TIMEOUT = 20.0
_TIMEOUT = 5.0
# A token this close to its end is not handed out while a newer one can be had; seconds.
_MARGIN = 30.0


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the endpoint said, and until when (seconds since 1970) it can be repeated."""

    status: int
    body: bytes
    expires: float = 0.0
    refresh: float = 0.0


class IdentityCache:
    """Gives the tokens of `endpoint`, which wants `header`, on a loopback port of its own."""

    def __init__(
        self,
        endpoint: str,
        header: str,
        *,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = httpx.Client(timeout=_TIMEOUT, trust_env=False, headers={"X-IDENTITY-HEADER": header})
        self._endpoint = endpoint
        self._timeout = timeout
        self._clock = clock
        self._kept: dict[tuple[tuple[str, str], ...], _Answer] = {}
        self._lock = threading.Lock()
        self._header = secrets.token_hex(16)
        self._server = _Server(("127.0.0.1", 0), _handler(self._header, self.answer))
        threading.Thread(target=self._server.serve_forever, name="identity", daemon=True).start()

    @classmethod
    def for_platform(cls, environment: Mapping[str, str]) -> IdentityCache | None:
        """The cache of the endpoint that the platform names in `environment`; None where there is none."""
        endpoint, header = environment.get(ENDPOINT), environment.get(HEADER)
        return cls(endpoint, header) if endpoint and header else None

    @property
    def environment(self) -> dict[str, str]:
        """What points an SDK at the cache in place of the platform's endpoint."""
        return {
            ENDPOINT: f"http://127.0.0.1:{self._server.server_address[1]}/msi/token",
            HEADER: self._header,
        }

    def close(self) -> None:
        """Stop to answer."""
        self._server.shutdown()
        self._server.server_close()
        self._client.close()

    def answer(self, query: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body for a request with those parameters, from the cache or from the endpoint."""
        key = tuple(sorted(query.items()))
        # One at a time: when a token runs out, one statement asks and the others wait for its answer.
        with self._lock:
            kept = self._kept.get(key)
            now = self._clock()
            if kept is not None and now < kept.refresh:
                return kept.status, kept.body
            usable = kept is not None and now < kept.expires - _MARGIN
            fresh = self._ask(query, timeout=0.0 if usable else self._timeout)
            if fresh.status == httpx.codes.OK:
                self._kept[key] = fresh
            elif kept is not None and usable:
                log.warning("the identity endpoint answers %s: the old token serves on", fresh.status)
                self._kept[key] = _Answer(kept.status, kept.body, kept.expires, now + _MARGIN)
                return kept.status, kept.body
            return fresh.status, fresh.body

    def _ask(self, query: Mapping[str, str], timeout: float) -> _Answer:
        """The endpoint's answer; what may pass (429, 5xx, silence) is tried again for `timeout` seconds."""
        deadline, pause = time.monotonic() + timeout, 0.2
        while True:
            answer = self._ask_once(query)
            passing = answer.status == httpx.codes.TOO_MANY_REQUESTS or answer.status >= 500
            if not passing or time.monotonic() + pause > deadline:
                return answer
            time.sleep(pause)
            pause = min(pause * 2, 3.0)

    def _ask_once(self, query: Mapping[str, str]) -> _Answer:
        asked = self._clock()
        try:
            response = self._client.get(self._endpoint, params=dict(query))
            if response.status_code != httpx.codes.OK:
                return _Answer(response.status_code, response.content)
            expires = float(response.json()["expires_on"])
        except httpx.HTTPError as error:
            return _refusal(f"the identity endpoint does not answer ({type(error).__name__})")
        except (ValueError, KeyError, TypeError):
            return _refusal("the identity endpoint answers in an unknown form")
        return _Answer(response.status_code, response.content, expires, asked + (expires - asked) / 2)


def _refusal(sentence: str) -> _Answer:
    return _Answer(503, json.dumps({"statusCode": 503, "message": sentence}).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _handler(
    header: str, answer: Callable[[Mapping[str, str]], tuple[int, bytes]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 60

        def do_GET(self) -> None:
            shown = self.headers.get("X-IDENTITY-HEADER", "")
            if secrets.compare_digest(shown.encode(), header.encode()):
                status, body = answer(dict(parse_qsl(urlsplit(self.path).query)))
            else:
                status, body = 401, b'{"statusCode": 401, "message": "X-IDENTITY-HEADER is missing or wrong"}'
            self.send_response(status)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a request names the identity."""

    return Handler
