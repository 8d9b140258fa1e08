"""Azure Blob Storage: `az://container/prefix/`.

The secret's parameters are DuckDB's: https://duckdb.org/docs/stable/core_extensions/azure
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

from azquack.config.settings import Settings, StorageAuth
from azquack.errors import SettingError
from azquack.sql import Statement, literal, plain
from azquack.storage.secret import StorageSecret, checked_options

# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
_ENDPOINT = re.compile(r"[A-Za-z0-9.-]+(?::\d+)?")
_PROXY = {"HTTP_PROXY", "PROXY_USER_NAME", "PROXY_PASSWORD"}
# What a further parameter may be; its value may be anything.
OPTIONS = {
    StorageAuth.MANAGED_IDENTITY: frozenset({"OBJECT_ID", "RESOURCE_ID", *_PROXY}),
    StorageAuth.CREDENTIAL_CHAIN: frozenset({"CHAIN", *_PROXY}),
    StorageAuth.CONNECTION_STRING: frozenset(_PROXY),
}


@dataclass(frozen=True, slots=True)
class AzureStorage:
    """A container, or a prefix in it."""

    data_path: str
    secret: StorageSecret = field(repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> AzureStorage:
        """From `data_path`, `storage_auth` and the `azure_` settings. Raises `SettingError`."""
        assert settings.data_path is not None
        container, _, prefix = settings.data_path.removeprefix("az://").partition("/")
        if not _CONTAINER.fullmatch(container):
            raise SettingError(
                f"AZQUACK_DATA_PATH is {settings.data_path!r}: write az://CONTAINER/PREFIX/ with a container "
                "of 3 to 63 small letters, digits and single hyphens; the account is AZQUACK_AZURE_ACCOUNT"
            )
        path = f"az://{container}/" + (f"{prefix.strip('/')}/" if prefix.strip("/") else "")
        return cls(path, _secret(settings, f"az://{container}/"))

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB's azure."""
        return ("azure",)

    @property
    def probe(self) -> Statement:
        """One listing of a prefix that holds nothing: fails for a missing container or a refused identity."""
        return plain(f"SELECT count(*) FROM glob({literal(self.data_path + '.azquack*')})")

    def prepare(self) -> None:
        """Nothing: the container belongs to the infrastructure."""

    def statements(self) -> list[Statement]:
        """The transport, for every later session too, and the secret."""
        statements = [self.secret.statement()]
        if sys.platform == "linux":
            # The SDK's default transport looks for certificates where Red Hat keeps them; under curl DuckDB
            # looks in every distribution's place, or takes CURL_CA_INFO (duckdb-azure,
            # azure_storage_account_client.cpp). A plain SET would hold for one Quack session only.
            statements.insert(0, plain("SET GLOBAL azure_transport_option_type = 'curl'"))
        return statements


def _secret(settings: Settings, scope: str) -> StorageSecret:
    auth = _auth(settings)
    options = checked_options(settings.storage_options, OPTIONS[auth], f"an Azure secret with {auth}")
    if auth is StorageAuth.CONNECTION_STRING:
        if settings.azure_connection_string is None:
            raise SettingError("AZQUACK_AZURE_CONNECTION_STRING is not set: storage_auth asks for it")
        connection_string = settings.azure_connection_string.get_secret_value()
        if "AccountName=" not in connection_string:
            raise SettingError(
                "AZQUACK_AZURE_CONNECTION_STRING has no AccountName=: copy it whole from the account's keys"
            )
        hidden = {"CONNECTION_STRING": connection_string}
        return StorageSecret("azure", "config", scope, hidden=hidden, options=options)
    if settings.azure_account is None:
        raise SettingError(
            "AZQUACK_AZURE_ACCOUNT is not set: name the storage account of the az:// data path"
        )
    if settings.azure_endpoint is not None and not _ENDPOINT.fullmatch(settings.azure_endpoint):
        raise SettingError(
            f"AZQUACK_AZURE_ENDPOINT is {settings.azure_endpoint!r}: give the host that follows the "
            "account's name, such as blob.core.windows.net, without https://"
        )
    shown: dict[str, str | bool | None] = {
        "ACCOUNT_NAME": settings.azure_account,
        "ENDPOINT": settings.azure_endpoint,
    }
    if auth is StorageAuth.MANAGED_IDENTITY:
        shown["CLIENT_ID"] = settings.azure_client_id
    return StorageSecret("azure", auth.value, scope, shown=shown, options=options)


def _auth(settings: Settings) -> StorageAuth:
    auth = settings.storage_auth
    if auth is StorageAuth.KEY:
        raise SettingError(
            "AZQUACK_STORAGE_AUTH is 'key', which az:// does not have: "
            "allowed are auto, managed_identity, credential_chain and connection_string"
        )
    if auth is not StorageAuth.AUTO:
        return auth
    if settings.azure_connection_string is not None:
        return StorageAuth.CONNECTION_STRING
    # Without a client id the chain still finds a system-assigned identity, and on a laptop the az login.
    return StorageAuth.MANAGED_IDENTITY if settings.azure_client_id else StorageAuth.CREDENTIAL_CHAIN
