"""The managed identity endpoint, as App Service and Container Apps have it.

`GET $IDENTITY_ENDPOINT?api-version=2019-08-01&resource=…[&client_id=…]` with `X-IDENTITY-HEADER`:
https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference
"""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable

import jwt

from tests.standins.http_server import Answer, HttpServer, Request

_ISSUER = f"https://sts.windows.net/{uuid.UUID(int=1)}/"


class IdentityEndpoint(HttpServer):
    """Gives tokens that live for `life` seconds to who shows `header`; to `client_id` only, when it is set.

    Tokens are JWTs signed with `key`. Azurite judges their issuer, audience and dates; the vault their
    signature too.
    """

    def __init__(
        self, life: float = 3600.0, client_id: str | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.life = life
        self.clock = clock
        self.client_id = client_id
        self.header = secrets.token_hex(8)
        self.key = secrets.token_bytes(32)
        super().__init__(self._token)

    @property
    def environment(self) -> dict[str, str]:
        """What points a process at it."""
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.port}/msi/token",
            "IDENTITY_HEADER": self.header,
        }

    def sign(self, resource: str, life: float) -> str:
        """A token for `resource` that expires in `life` seconds (or did, when it is negative)."""
        now = self.clock()
        claims = {
            "aud": resource, "iss": _ISSUER, "oid": str(uuid.uuid4()),
            "iat": int(now - 60), "nbf": int(now - 60), "exp": int(now + life),
        }  # fmt: skip
        return jwt.encode(claims, self.key, algorithm="HS256")

    def _token(self, request: Request) -> Answer:
        if request.headers.get("x-identity-header") != self.header:
            return Answer(401, {"statusCode": 401, "message": "X-IDENTITY-HEADER is missing or wrong"})
        resource = request.query.get("resource")
        if request.query.get("api-version") != "2019-08-01" or not resource:
            return Answer(400, {"statusCode": 400, "message": "api-version and resource are required"})
        if self.client_id is not None and request.query.get("client_id") != self.client_id:
            return Answer(400, {"statusCode": 400, "message": "no such identity is assigned"})
        return Answer(
            200,
            {
                "access_token": self.sign(resource, self.life),
                "expires_on": str(int(self.clock() + self.life)),
                "resource": resource,
                "token_type": "Bearer",
                "client_id": request.query.get("client_id", ""),
            },
        )
