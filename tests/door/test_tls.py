"""TLS at the door, and client certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

import httpx
import pytest
import trustme

from tests.door.conftest import StartDoor


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


def test_the_door_speaks_tls(start_door: StartDoor, authority: trustme.CA, files: dict[str, str]) -> None:
    door = start_door(tls={name: files[name] for name in ("certificate", "key")})
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert get(door.port, context) == 200
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"http://127.0.0.1:{door.port}/healthz", trust_env=False)


def test_only_a_client_with_a_certificate_is_let_in(
    start_door: StartDoor, authority: trustme.CA, files: dict[str, str]
) -> None:
    door = start_door(tls=files)
    stranger, friend = ssl.create_default_context(), ssl.create_default_context()
    for context in (stranger, friend):
        authority.configure_trust(context)
    authority.issue_cert("ann@example.org").configure_cert(friend)
    assert get(door.port, friend) == 200
    with pytest.raises(httpx.HTTPError):
        get(door.port, stranger)
