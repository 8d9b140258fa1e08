"""Tokens in Azure Key Vault, read by whatever identity this process has."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import DefaultAzureCredential, ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient
from pydantic import SecretStr

from azquack.errors import SettingError, TokenError
from azquack.tokens.source import INTERNAL_NAME, PUBLIC_NAME, TokenSource

_URL = re.compile(r"https://[^/?#@\s]+/?")
# https://learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates
_NAME = re.compile(r"[0-9A-Za-z-]{1,127}")
TIMEOUT = 30.0


class KeyVaultTokens(TokenSource):
    """The secrets of the vault at `url`.

    `client_id` names a user-assigned identity; without it azure-identity's default chain is asked, which
    finds a system-assigned one, or on a laptop the `az login`. A call retries what may pass (429, 5xx, no
    connection) with growing waits for about `timeout` seconds.
    """

    def __init__(
        self,
        url: str,
        public_name: str = PUBLIC_NAME,
        internal_name: str = INTERNAL_NAME,
        *,
        client_id: str | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        super().__init__(public_name, internal_name)
        if not _URL.fullmatch(url):
            raise SettingError(f"AZQUACK_KEY_VAULT_URL is {url!r}: write https://NAME.vault.azure.net")
        self._url = url.rstrip("/")
        # `timeout` bounds all tries of one request together, the others one try (azure-core, RetryPolicy).
        bounds: dict[str, Any] = {
            "timeout": timeout,
            "connection_timeout": min(5.0, timeout),
            "read_timeout": min(10.0, timeout),
            "retry_total": 8,
            "retry_backoff_factor": 0.2,
            "retry_backoff_max": 5,
        }
        credential = (
            ManagedIdentityCredential(client_id=client_id, **bounds)
            if client_id
            else DefaultAzureCredential(**bounds)
        )
        self._client = SecretClient(self._url, credential, **bounds)

    def read(self, name: str) -> SecretStr:
        """The newest version of secret `name`. Raises `TokenError` in one sentence."""
        if not _NAME.fullmatch(name):
            raise TokenError(
                f"{name!r} is no name of a Key Vault secret: letters, digits and hyphens, 1 to 127"
            )
        try:
            value = self._client.get_secret(name).value
        except ResourceNotFoundError:
            raise TokenError(
                f"the Key Vault {self._url} has no secret {name}: make it, or name another"
            ) from None
        except ClientAuthenticationError as error:
            raise TokenError(
                f"the Key Vault {self._url} could not be asked for {name}, since this process has no "
                f"identity that it accepts ({_brief(error)}): "
                "set AZQUACK_AZURE_CLIENT_ID to the identity's client id"
            ) from None
        except HttpResponseError as error:
            forbidden = error.status_code == HTTPStatus.FORBIDDEN
            raise TokenError(self._refusal(name, error), may_pass=forbidden) from None
        except (ServiceRequestError, ServiceResponseError) as error:
            raise TokenError(
                f"the Key Vault {self._url} did not answer ({_brief(error)}): is AZQUACK_KEY_VAULT_URL "
                "right, and may this network reach it?"
            ) from None
        except AzureError as error:
            raise TokenError(
                f"the Key Vault {self._url} could not be asked for {name}: {_brief(error)}"
            ) from None
        if not value:
            raise TokenError(f"the secret {name} in the Key Vault {self._url} is empty")
        return SecretStr(value)

    def _refusal(self, name: str, error: HttpResponseError) -> str:
        if error.status_code == HTTPStatus.FORBIDDEN:
            return (
                f"the Key Vault {self._url} does not let this identity read {name}: give it the role "
                "Key Vault Secrets User, or open the vault's firewall for this network"
            )
        return (
            f"the Key Vault {self._url} answered {error.status_code} when asked for {name}: try again later"
        )


def _brief(error: AzureError) -> str:
    """The first line of the SDK's message, which runs over many."""
    text = str(error.message).strip()
    return text.splitlines()[0].rstrip(".: ") if text else type(error).__name__
