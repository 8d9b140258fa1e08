"""The stand-ins as pytest fixtures: `pytest_plugins = ["tests.standins.fixtures"]`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.standins import postgres as postgres_module
from tests.standins.azure import Azure
from tests.standins.azurite import Azurite
from tests.standins.postgres import TempPostgres

# The machine's own environment, which npm may need to reach its registry; the tests get it scrubbed.
_OUTSIDE = dict(os.environ)
_SCRUBBED_PREFIXES = ("AWS_", "AZURE_", "IDENTITY_", "MSI_", "IMDS_", "PG", "AZQUACK_")
_SCRUBBED = {
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CURL_CA_INFO", "CURL_CA_PATH",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY",
}  # fmt: skip


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of this machine's certificates, proxies, identities or settings reaches a test."""
    for name in list(os.environ):
        ours = name.startswith(_SCRUBBED_PREFIXES) and not name.startswith(
            ("AZQUACK_TEST_", "AZQUACK_BENCH_")
        )
        if ours or name.upper() in _SCRUBBED:
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """Blob Storage over plain HTTP, by the account's key."""
    server = Azurite(tmp_path_factory.mktemp("azurite"), environment=_OUTSIDE)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def azure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azure]:
    """Blob Storage over TLS with OAuth, the identity endpoint and Key Vault."""
    servers = Azure(tmp_path_factory.mktemp("azure"), _OUTSIDE)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture
def in_azure(azure: Azure, monkeypatch: pytest.MonkeyPatch) -> Azure:
    """`azure`, with this process pointed at it."""
    for name, value in azure.environment.items():
        monkeypatch.setenv(name, value)
    return azure


@pytest.fixture(scope="session")
def postgres() -> Iterator[TempPostgres]:
    """A PostgreSQL cluster. Skips, and says why, where there is none and none can be installed."""
    if why := postgres_module.install():
        pytest.skip(why)
    server = TempPostgres()
    try:
        server.start()
        yield server
    finally:
        server.stop()


@pytest.fixture
def container(azurite: Azurite, tmp_path: Path) -> str:
    """A new container in `azurite`."""
    name = "c" + "".join(filter(str.isalnum, tmp_path.name.lower()))[-40:]
    azurite.make_container(name)
    return name
