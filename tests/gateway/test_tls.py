"""TLS at the gateway, and client certificates."""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from tests.cluster import wait_until
from tests.gateway.conftest import StartGateway
from tests.gateway.test_limits import closed


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(authority: trustme.CA, tmp_path: Path) -> dict[str, str]:
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    names = {name: tmp_path / f"{name}.pem" for name in ("certificate", "key", "client_ca")}
    names["certificate"].write_bytes(b"".join(pem.bytes() for pem in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(names["key"]))
    authority.cert_pem.write_to_path(str(names["client_ca"]))
    return {name: str(path) for name, path in names.items()}


def get(port: int, context: ssl.SSLContext) -> int:
    with httpx.Client(verify=context, trust_env=False) as http:
        return http.get(f"https://127.0.0.1:{port}/healthz").status_code


def test_the_gateway_speaks_tls(
    start_gateway: StartGateway, authority: trustme.CA, files: dict[str, str]
) -> None:
    gateway = start_gateway(tls={name: files[name] for name in ("certificate", "key")})
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert get(gateway.port, context) == 200
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{gateway.port}/healthz", trust_env=False)


def test_handshakes_count_among_the_open_sockets_and_do_not_last(
    start_gateway: StartGateway, authority: trustme.CA, files: dict[str, str]
) -> None:
    limits = {"connections_per_address": 20, "head_seconds": 2.0}
    gateway = start_gateway(tls={name: files[name] for name in ("certificate", "key")}, limits=limits)
    with contextlib.ExitStack() as stack:
        flood = [
            stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port))) for _ in range(50)
        ]
        wait_until(lambda: sum(closed(sock) for sock in flood) == 30, "the flood was let in")
        wait_until(lambda: all(closed(sock) for sock in flood), "a handshake without end was left open")
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert get(gateway.port, context) == 200


def test_a_request_right_behind_the_handshake_is_answered(
    start_gateway: StartGateway, authority: trustme.CA, files: dict[str, str]
) -> None:
    gateway = start_gateway(tls={name: files[name] for name in ("certificate", "key")})
    context = ssl.create_default_context()
    authority.configure_trust(context)
    inbound, outbound = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(inbound, outbound, server_hostname="localhost")
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as sock:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                sock.sendall(outbound.read())
                inbound.write(sock.recv(1 << 16))
        # The end of the handshake and the request leave in one packet.
        tls.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        sock.sendall(outbound.read())
        answer = b""
        while b"ok\n" not in answer:
            received = sock.recv(1 << 16)
            assert received, f"the gateway closed after {answer!r}"
            inbound.write(received)
            with contextlib.suppress(ssl.SSLWantReadError):
                while record := tls.read():
                    answer += record
        assert answer.startswith(b"HTTP/1.1 200")


def test_only_a_client_with_a_certificate_is_let_in(
    start_gateway: StartGateway, authority: trustme.CA, files: dict[str, str]
) -> None:
    gateway = start_gateway(tls=files)
    stranger, friend = ssl.create_default_context(), ssl.create_default_context()
    for context in (stranger, friend):
        authority.configure_trust(context)
    authority.issue_cert("ann@example.org").configure_cert(friend)
    assert get(gateway.port, friend) == 200
    with pytest.raises(httpx.HTTPError):
        get(gateway.port, stranger)
