"""Blob Storage: Microsoft's emulator Azurite, from npm, as `azurite/package-lock.json` pins it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from azure.core.credentials import AzureNamedKeyCredential
from azure.storage.blob import BlobServiceClient

from tests.cluster import wait_until
from tests.standins import npm
from tests.standins.authority import Authority

ACCOUNT = "devstoreaccount1"
# Azurite's own, printed in its README: it guards nothing.
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_HERE = Path(__file__).parent / "azurite"
_LISTENS = re.compile(r"listens on https?://[^:]+:(\d+)")


def install(environment: Mapping[str, str]) -> Path:
    """Azurite's program."""
    return npm.install(_HERE, environment) / "azurite" / "dist" / "src" / "blob" / "main.js"


class Azurite:
    """One Azurite that keeps its blobs in `directory`. With an `authority` it speaks TLS and asks for OAuth.

    `environment` is what npm and node get: that of the machine, not the scrubbed one of a test.
    """

    def __init__(
        self,
        directory: Path,
        authority: Authority | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._directory = directory
        self._authority = authority
        self._environment = environment or os.environ
        self._log = directory / "azurite.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """Where the account answers."""
        return f"{'https' if self._authority else 'http'}://127.0.0.1:{self.port}/{ACCOUNT}"

    @property
    def endpoint(self) -> str:
        """The setting `azure_endpoint`; curl, and so DuckDB, knows that *.localhost is this machine."""
        return f"blob.localhost:{self.port}"

    @property
    def connection_string(self) -> str:
        """The account's, with its key."""
        scheme = "https" if self._authority else "http"
        account = f"AccountName={ACCOUNT};AccountKey={KEY}"
        return f"DefaultEndpointsProtocol={scheme};{account};BlobEndpoint={self.url};"

    def connection_string_by(self, port: int) -> str:
        """The same by way of `port`, where a proxy stands before it."""
        return self.connection_string.replace(f":{self.port}/", f":{port}/")

    def start(self) -> None:
        """Start it (again, on the same port and blobs) and wait until it listens."""
        program = install(self._environment)
        command = [
            npm.NODE, "--require", str(_HERE / "durable.js"), str(program), "--location", str(self._directory),
            "--blobHost", "127.0.0.1", "--blobPort", str(self.port), "--silent", "--skipApiVersionCheck",
            "--disableTelemetry",
        ]  # fmt: skip
        if self._authority is not None:
            chain, key = self._authority.issue(f"{ACCOUNT}.blob.localhost", "127.0.0.1")
            command += ["--oauth", "basic", "--cert", str(chain), "--key", str(key)]
        self._log.write_bytes(b"")
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                env=dict(self._environment),
            )
        self.port = wait_until(
            self._listening, lambda: f"Azurite did not listen:\n{self.log_text()}", timeout=60
        )

    def _listening(self) -> int:
        assert self._process is not None
        assert self._process.poll() is None, f"Azurite ended:\n{self.log_text()}"
        found = _LISTENS.search(self.log_text())
        return int(found[1]) if found else 0

    def stop(self) -> None:
        """End it; its blobs stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it with kill -9."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process is None:
            return
        self._process.send_signal(number)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(10)
        self._process = None

    def client(self) -> BlobServiceClient:
        """The real SDK's client, by the account's key."""
        return BlobServiceClient(
            self.url,
            AzureNamedKeyCredential(ACCOUNT, KEY),
            connection_verify=str(self._authority.bundle) if self._authority else True,
        )

    def make_container(self, name: str) -> None:
        """Make container `name`."""
        with self.client() as client:
            client.create_container(name)

    def blobs(self, container: str) -> list[str]:
        """The names of the blobs in `container`."""
        with self.client() as client:
            return sorted(client.get_container_client(container).list_blob_names())

    def log_text(self) -> str:
        """What it wrote, for the report of a failed test."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""
