"""Malformed bodies and HTTP oddities: no crash, no hang, bounded memory, a good client beside unharmed.

`AZQUACK_TEST_FUZZ_ROUNDS` sets how many are sent; the slow form sends 100,000.
"""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from azquack.quack import wire
from tests.gateway.conftest import StartGateway, StartNode
from tests.gateway.parts import ANN, client, post
from tests.wire import recorded

RECORDED = [value for value in vars(recorded).values() if isinstance(value, bytes)]
HEAD = b"POST /quack HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
ODDITIES = [
    b"\r\n\r\n\r\n",
    b"GET /quack HTTP/1.1\r\n\r\n",
    b"POST /quack HTTP/1.1\r\n\r\n",
    b"POST /quack HTTP/9.9\r\n\r\n",
    b"POST /quack HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"POST /quack HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    b"POST /quack HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n",
    b"POST /quack HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /quack HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"POST /../../quack HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"POST http://[::1/quack HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"POST /%zz HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"POST /quack HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"POST /quack HTTP/1.1\r\nX: \x00\xff\r\nContent-Length: 0\r\n\r\n",
    HEAD % 10 + b"abc",
]


class Mutator:
    """Makes requests out of recorded ones, one sequence per seed. `own` is a session that it may break."""

    def __init__(self, seed: int, own: str) -> None:
        self._random = random.Random(seed)
        self._own = own

    def request(self) -> bytes:
        """The bytes of one request, or of what looks like one."""
        chance = self._random.random()
        if chance < 0.1:
            return self._random.choice(ODDITIES)
        if chance < 0.2:
            return self._random.randbytes(self._random.randrange(200))
        body = self._body()
        return HEAD % len(body) + body

    def _body(self) -> bytes:
        message = self._random.choice(RECORDED)
        if self._random.random() < 0.5:
            message = wire.with_connection_id(message, wire.parse_header(message), self._own)
        changes: list[Callable[[bytearray], None]] = [self._flip, self._cut, self._insert, self._repeat]
        data = bytearray(message)
        for _ in range(self._random.randrange(1, 5)):
            self._random.choice(changes)(data)
        return bytes(data)

    def _at(self, data: bytearray) -> int:
        return self._random.randrange(len(data) + 1)

    def _flip(self, data: bytearray) -> None:
        if data:
            data[self._at(data) % len(data)] = self._random.randrange(256)

    def _cut(self, data: bytearray) -> None:
        del data[self._at(data) :]

    def _insert(self, data: bytearray) -> None:
        at = self._at(data)
        data[at:at] = self._random.choice([b"\xff" * 10, b"\x00" * 40, self._random.randbytes(8)])

    def _repeat(self, data: bytearray) -> None:
        data.extend(data[: self._at(data)])


def attack(port: int, mutator: Mutator, rounds: int) -> None:
    """Sends `rounds` requests; each is answered or its socket closed, within 20 seconds."""
    for _ in range(rounds):
        with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
            try:
                sock.sendall(mutator.request())
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 16):
                    pass
            except ConnectionError:
                continue


@pytest.mark.parametrize(
    "rounds",
    [
        pytest.param(int(os.environ.get("AZQUACK_TEST_FUZZ_ROUNDS", "2000")), id="quick"),
        pytest.param(100_000, id="full", marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_malformed_requests_harm_nobody(
    start_node: StartNode, start_gateway: StartGateway, rounds: int
) -> None:
    gateway = start_gateway(start_node("n1"), limits={"requests_per_address": 1e6, "failed_logins": 10**9})
    login = post(gateway.port, wire.connection_request(wire.ConnectionRequest(ANN))).content
    own = wire.parse_connection_response(login).connection_id
    process = psutil.Process(gateway.process.pid)
    with client(gateway.port) as good:
        attack(gateway.port, Mutator(0, own), 200)
        before = process.memory_info().rss
        began = time.monotonic()
        attackers = [
            threading.Thread(target=attack, args=(gateway.port, Mutator(seed, own), rounds // 4))
            for seed in range(1, 5)
        ]
        for each in attackers:
            each.start()
        while any(each.is_alive() for each in attackers):
            assert good.there("SELECT 42") == [(42,)]
        assert good.there("SELECT 43") == [(43,)]
    assert process.is_running()
    after = process.memory_info().rss
    print(
        f"{rounds} rounds in {time.monotonic() - began:.0f} s: {before / 1e6:.0f} MB before, {after / 1e6:.0f} after"
    )
    assert after - before < 30 << 20
