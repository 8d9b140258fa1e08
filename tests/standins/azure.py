"""Blob Storage, identity and vault together: what a replica in Container Apps has around it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.standins.authority import Authority
from tests.standins.azurite import ACCOUNT, Azurite
from tests.standins.identity import IdentityEndpoint
from tests.standins.vault import KeyVault

CLIENT_ID = "11111111-2222-3333-4444-555555555555"


class Azure:
    """The three, below `directory`; `outside` is the environment that npm and node get."""

    def __init__(
        self, directory: Path, outside: Mapping[str, str] | None = None, life: float = 3600.0
    ) -> None:
        self.authority = Authority(directory)
        self.identity = IdentityEndpoint(life, CLIENT_ID)
        self.vault = KeyVault(self.authority, self.identity.key)
        blobs = directory / "blobs"
        blobs.mkdir()
        self.blob = Azurite(blobs, self.authority, outside)

    def start(self) -> None:
        """Start what is not yet running."""
        self.blob.start()

    def stop(self) -> None:
        """End all."""
        self.blob.stop()
        self.vault.stop()
        self.identity.stop()

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to find them and to trust them; no setting of AzQuack."""
        bundle = str(self.authority.bundle)
        # CURL_CA_INFO: DuckDB's azure. REQUESTS_CA_BUNDLE: the Python SDKs.
        return {**self.identity.environment, "CURL_CA_INFO": bundle, "REQUESTS_CA_BUNDLE": bundle}

    @property
    def settings(self) -> dict[str, str]:
        """The settings of a replica that uses them; a data path and the secrets' values are the caller's."""
        return {
            "storage_auth": "managed_identity",
            "azure_account": ACCOUNT,
            "azure_client_id": CLIENT_ID,
            "azure_endpoint": self.blob.endpoint,
            "token_source": "keyvault",
            "key_vault_url": self.vault.url,
        }
