"""What a profile says: where the gateway is, who comes in, and in which schema models are built."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dbt.adapters.contracts.connection import Credentials
from dbt_common.exceptions import DbtRuntimeError

# The gateway's node knows the lake by this name, and a client that attaches it as anything else gets less.
LAKE = "lake"


@dataclass
class AzQuackCredentials(Credentials):
    """A target of `profiles.yml`.

    `tls` is DuckDB's own rule unless it is set: plain HTTP to this machine, TLS to all others. `settings` are
    DuckDB's, set before the lake is attached, in their order (`extension_directory`, `ca_cert_file` …).
    """

    host: str = ""
    port: int = 443
    token: str = ""
    database: str = LAKE
    schema: str = "main"
    tls: bool | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.host:
            raise DbtRuntimeError(
                "profiles.yml: the target has no host: the name of the gateway, as in ATTACH"
            )
        if not self.token:
            raise DbtRuntimeError(
                "profiles.yml: the target has no token: "
                "token: \"{{ env_var('DBT_ENV_SECRET_AZQUACK_TOKEN') }}\", a token or a JWT"
            )
        if self.database != LAKE:
            raise DbtRuntimeError(f"profiles.yml: the database is {LAKE}, the only one that a gateway serves")

    @property
    def type(self) -> str:
        """The adapter's name in a profile."""
        return "azquack"

    @property
    def unique_field(self) -> str:
        """What dbt hashes to tell one installation from another."""
        return f"{self.host}:{self.port}"

    @property
    def uri(self) -> str:
        """As in ATTACH."""
        return f"quack:{self.host}:{self.port}"

    def _connection_keys(self) -> tuple[str, ...]:
        # What `dbt debug` prints: never the token.
        return ("host", "port", "database", "schema", "tls")
