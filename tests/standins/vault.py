"""Key Vault's way to read a secret: 401 with a challenge, a token for its resource, then the value.

https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret/get-secret
https://learn.microsoft.com/azure/key-vault/general/authentication-requests-and-responses
"""

from __future__ import annotations

import jwt

from tests.standins.authority import Authority
from tests.standins.http_server import Answer, HttpServer, Request

# The SDK holds the challenge's resource against the vault's own host and port, of which it must be the end
# after a dot (vault.azure.net for NAME.vault.azure.net). 0.0.1 is that for 127.0.0.1, so the check is passed
# with no name that a machine would have to resolve, and with no switch in the code under test.
_RESOURCE_HOST = "0.0.1"


class KeyVault(HttpServer):
    """Holds `secrets`, gives them for tokens signed with `key`; names in `forbidden` answer 403."""

    def __init__(self, authority: Authority, key: bytes) -> None:
        self.secrets: dict[str, str] = {}
        self.forbidden: set[str] = set()
        self._key = key
        super().__init__(self._secret, authority.server_context("127.0.0.1"))
        self.url = f"https://127.0.0.1:{self.port}"
        self.resource = f"https://{_RESOURCE_HOST}:{self.port}"

    def _secret(self, request: Request) -> Answer:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        try:
            jwt.decode(token, self._key, algorithms=["HS256"], audience=self.resource)
        except jwt.InvalidTokenError:
            challenge = (
                f'Bearer authorization="https://login.microsoftonline.com/t", resource="{self.resource}"'
            )
            return _error(401, "Unauthorized", {"WWW-Authenticate": challenge})
        parts = request.path.strip("/").split("/")
        if len(parts) not in (2, 3) or parts[0] != "secrets" or "api-version" not in request.query:
            return _error(400, "BadParameter")
        if parts[1] in self.forbidden:
            return _error(403, "Forbidden")
        if parts[1] not in self.secrets:
            return _error(404, "SecretNotFound")
        return Answer(
            200,
            {
                "value": self.secrets[parts[1]],
                "id": f"{self.url}/secrets/{parts[1]}/0123456789abcdef0123456789abcdef",
                "attributes": {"enabled": True, "created": 1767225600, "updated": 1767225600},
            },
        )


def _error(status: int, code: str, headers: dict[str, str] | None = None) -> Answer:
    return Answer(
        status, {"error": {"code": code, "message": f"{code}: told by the stand-in"}}, headers or {}
    )
