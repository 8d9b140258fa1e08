"""A container of Azure Blob Storage for what DuckDB does not read: backups and the lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azquack.config.settings import Settings
from azquack.errors import SettingError

if TYPE_CHECKING:
    from azure.core.exceptions import AzureError
    from azure.storage.blob import ContainerClient


def container_client(settings: Settings, name: str, **limits: Any) -> ContainerClient:
    """The container `name` of the account that `settings` name. Raises `SettingError` when they name none.

    `limits` are those of the SDK's transport; without them each try ends, and there are few.
    """
    from azure.storage.blob import ContainerClient

    limits = limits or {"retry_total": 3, "connection_timeout": 10, "read_timeout": 60}
    if settings.azure_connection_string is not None:
        return ContainerClient.from_connection_string(
            settings.azure_connection_string.get_secret_value(), name, **limits
        )
    if settings.azure_account is None:
        raise SettingError(f"AZQUACK_AZURE_ACCOUNT is not set: name the storage account of az://{name}")
    from azure.identity import DefaultAzureCredential, ManagedIdentityCredential

    credential = (
        ManagedIdentityCredential(client_id=settings.azure_client_id)
        if settings.azure_client_id
        else DefaultAzureCredential()
    )
    host = settings.azure_endpoint or "blob.core.windows.net"
    return ContainerClient(f"https://{settings.azure_account}.{host}", name, credential, **limits)


def sentence(error: AzureError) -> str:
    """What went wrong: the SDK's message goes on with headers and a trace of the credentials that it tried."""
    return (error.message or type(error).__name__).strip().splitlines()[0]
