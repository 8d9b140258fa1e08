"""The one table of settings.

`Settings` is the table: each field's type, default and description drive the code, the flags of the command
line, `azquack config` and `docs/settings.md`. Where the values come from stands in `sources.py`.
"""

from __future__ import annotations

import re
import socket
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr
from pydantic_core import PydanticUndefined

from azquack.errors import SettingError
from azquack.sql import MASK

PREFIX = "AZQUACK_"


class Role(StrEnum):
    """The two things that one image can be."""

    CATALOG = "catalog"
    QUERY = "query"


class StorageAuth(StrEnum):
    """How a node proves to the storage who it is; `auto` takes the first that its settings allow."""

    AUTO = "auto"
    MANAGED_IDENTITY = "managed_identity"
    CREDENTIAL_CHAIN = "credential_chain"
    CONNECTION_STRING = "connection_string"
    KEY = "key"


class PrincipalRole(StrEnum):
    """What a principal may do at most."""

    READER = "reader"
    WRITER = "writer"
    ADMIN = "admin"


class TokenSourceKind(StrEnum):
    """Where the public and the internal token come from."""

    GENERATED = "generated"
    ENVIRONMENT = "environment"
    FILE = "file"
    KEYVAULT = "keyvault"


def _pairs(value: object) -> object:
    """`K=V,K=V` as a mapping; anything else as it is, for pydantic to judge."""
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in value.split(",") if part.strip()]
    if any(not sep or not key.strip() for key, sep, _ in pairs):
        raise ValueError("expected KEY=VALUE pairs with commas between them")
    return {key.strip(): val.strip() for key, _, val in pairs}


# A password in a connection string, where it does not belong but may well have been put.
_PASSWORD = re.compile(r"(?<=:)(?<!:/)[^:@/\s]+(?=@)|(?<=password)\s*=\s*(?:'(?:[^'\\]|\\.)*'|\S+)")

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
Size = Annotated[str, Field(pattern=r"^\d+(\.\d+)? ?([KMGT]i?)?B$")]
Pairs = Annotated[dict[str, str], BeforeValidator(_pairs)]


def _setting(group: str, help: str, default: Any = PydanticUndefined, **more: Any) -> Any:
    return Field(default, description=help, json_schema_extra={"group": group}, **more)


class Settings(BaseModel):
    """Every setting of a replica. Build it with `sources.load`, which turns mistakes into `SettingError`."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)

    role: Role | None = _setting("Replica", "What this replica is: catalog or query.", None)
    name: str = _setting("Replica", "The name that whoami() and the logs show.", socket.gethostname())
    host: str = _setting("Replica", "Address that the gateway listens on.", "127.0.0.1")
    port: Port = _setting("Replica", "Port that the gateway listens on; 0 takes a free one.", 9494)
    http_host: str = _setting("Replica", "Address of the sidecar (health and metrics).", "127.0.0.1")
    http_port: Port = _setting("Replica", "Port of the sidecar; 0 takes a free one.", 0)
    start_timeout: Seconds = _setting("Replica", "Seconds that a start may take, waiting for others.", 60.0)
    stop_timeout: Seconds = _setting("Replica", "Seconds that running statements get at a stop.", 20.0)
    memory_limit: Size | None = _setting(
        "Replica",
        "Memory of a node's DuckDB. Default: 60 % of what the container or the machine has, less in a small one.",
        None,
    )
    threads: int | None = _setting("Replica", "Threads of a node's DuckDB. Default: its cores.", None, ge=1)
    spill_limit: Size = _setting("Replica", "Disk that a node may spill to.", "10GB")
    log_level: str = _setting(
        "Replica", "Least level that is logged.", "info", pattern="^(debug|info|warning|error)$"
    )
    query_log: bool = _setting("Replica", "Log every statement that a node runs, as DuckDB sees it.", False)

    catalog: str | None = _setting(
        "Lake",
        "What is behind the lake: quack:HOST:PORT, a DuckDB file, sqlite:FILE or postgres:CONNECTION.",
        None,
    )
    catalog_password: SecretStr | None = _setting("Lake", "Password of a PostgreSQL catalog.", None)
    catalog_tls: bool | None = _setting(
        "Lake", "Speak TLS to the catalog. Default: yes on port 443, no elsewhere.", None
    )
    catalog_dir: Path | None = _setting("Lake", "Directory that holds catalog.duckdb (catalog role).", None)
    lease: str | None = _setting(
        "Lake",
        "Where the lease lies that makes one process the catalog's owner: a directory on a local disk or "
        "az://container/blob. Default: the directory lease beside the catalog.",
        None,
    )
    lease_seconds: float = _setting(
        "Lake",
        "Seconds after which an owner that shows no life loses the catalog; az:// allows 15 to 60.",
        15.0,
        ge=1,
        le=60,
    )
    data_path: str | None = _setting(
        "Lake", "Where the Parquet files lie: a directory, az://, s3://, r2:// or gs:// (query role).", None
    )
    read_only: bool = _setting("Lake", "Refuse every write to the lake.", False)
    encrypted: bool = _setting("Lake", "Encrypt the Parquet files (only when a lake is made).", False)
    inlining_limit: int | None = _setting(
        "Lake", "Rows up to which an insert stays in the catalog. Default: DuckLake's own.", None, ge=0
    )
    target_file_size: Size | None = _setting(
        "Lake", "Size that Parquet files aim at. Default: DuckLake's own.", None
    )
    init_sql: str | None = _setting("Lake", "Statements that a query node runs before it serves.", None)
    init_file: Path | None = _setting("Lake", "A file of such statements; runs after init_sql.", None)

    catalog_hold: Seconds = _setting(
        "Lake", "Seconds for which statements wait for a catalog that is away.", 30.0
    )
    catalog_ca_file: Path | None = _setting(
        "Lake",
        "Authorities (PEM) that a catalog's certificate is checked against. Default: the system's.",
        None,
    )

    query_nodes: int = _setting("Gateway", "DuckDB processes for writers in this replica.", 1, ge=0, le=64)
    node_host: str = _setting(
        "Gateway", "Address that this replica's nodes listen on for other gateways.", "127.0.0.1"
    )
    node_port: Port = _setting(
        "Gateway", "Port of the first node, the next ones follow; 0 takes free ones.", 0
    )
    flight_port: Port | None = _setting(
        "Gateway",
        "Port on which a query replica speaks Arrow Flight SQL as well; 0 takes a free one. Default: it does not.",
        None,
    )
    group_commit: bool = _setting(
        "Gateway",
        "Gather small inserts that come at once into one commit, where no other gateway or peer shares.",
        True,
    )
    peers: Pairs = _setting("Gateway", "Nodes of other replicas: NAME=HOST:PORT,NAME=HOST:PORT.", {})
    public_role: PrincipalRole = _setting(
        "Gateway", "Role of whoever holds the public token.", PrincipalRole.WRITER
    )
    principals_file: Path | None = _setting(
        "Gateway", "File of named principals, as `azquack principal` writes it.", None
    )
    principals: SecretStr | None = _setting("Gateway", "The same as JSON text.", None)
    principals_secret_name: str | None = _setting(
        "Gateway", "Secret or file of the token source that holds that JSON text.", None
    )
    jwt_issuer: str | None = _setting("Gateway", "Issuer of accepted JWTs.", None)
    jwt_audience: str | None = _setting("Gateway", "Audience that a JWT must be for.", None)
    jwt_jwks_url: str | None = _setting("Gateway", "URL of the issuer's keys (RS256).", None)
    jwt_key: SecretStr | None = _setting("Gateway", "Key of the issuer (HS256).", None)
    jwt_role_claim: str = _setting("Gateway", "Claim that holds the role; dots reach into objects.", "roles")
    jwt_name_claim: str = _setting("Gateway", "Claim that names the principal.", "sub")
    jwt_roles: Pairs = _setting(
        "Gateway",
        "What the values of that claim mean: VALUE=reader, VALUE=writer or VALUE=admin, with commas between.",
        {role.value: role.value for role in PrincipalRole},
    )
    audit_log: Path | None = _setting("Gateway", "File of the audit log (JSON lines). Default: none.", None)
    audit_text: bool = _setting("Gateway", "Write the text of statements into the audit log.", False)
    tls_cert: Path | None = _setting(
        "Gateway", "Certificate (PEM) of a gateway that speaks TLS itself.", None
    )
    tls_key: Path | None = _setting("Gateway", "Its key (PEM).", None)
    tls_client_ca: Path | None = _setting(
        "Gateway", "Authority (PEM) that clients need a certificate of.", None
    )
    trusted_proxies: str = _setting(
        "Gateway", "Addresses whose X-Forwarded-For is believed, with commas between; * for all.", ""
    )

    body_limit: int = _setting(
        "Limits", "Bytes that one request of a session may have.", 256 << 20, ge=1 << 16
    )
    statements_limit: int = _setting("Limits", "Statements that run at once; more wait in a queue.", 64, ge=1)
    statements_per_principal: int = _setting("Limits", "The same for one principal.", 32, ge=1)
    results_limit: int = _setting(
        "Limits", "Results that may be open at one node, not fetched to their end.", 64, ge=1
    )
    results_per_principal: int = _setting("Limits", "The same for one principal.", 16, ge=1)
    result_timeout: Seconds = _setting(
        "Limits", "Seconds without a fetch after which an open result is dropped.", 300.0
    )
    queue_limit: int = _setting("Limits", "Statements that may wait.", 500, ge=0)
    queue_timeout: Seconds = _setting("Limits", "Seconds that a statement or request waits at most.", 30.0)
    sessions_limit: int = _setting("Limits", "Sessions that may be open.", 2000, ge=1)
    sessions_per_principal: int = _setting("Limits", "The same for one principal.", 500, ge=1)
    connections_limit: int = _setting("Limits", "Sockets that may be open at the gateway.", 2000, ge=1)
    connections_per_address: int = _setting("Limits", "The same for one address.", 500, ge=1)
    unknown_connections: int = _setting(
        "Limits",
        "Sockets on which nobody has logged in or named a session yet; the oldest gives way.",
        500,
        ge=1,
    )
    login_timeout: Seconds = _setting("Limits", "Seconds that such a socket may take for all it does.", 10.0)
    requests_per_address: float = _setting(
        "Limits", "Requests per second of one address; what comes faster waits.", 2000.0, gt=0
    )
    requests_per_principal: float = _setting("Limits", "The same for one principal.", 2000.0, gt=0)
    failed_logins: int = _setting(
        "Limits", "Failed logins per minute of one address, then it waits.", 20, ge=1
    )
    idle_timeout: Seconds = _setting(
        "Limits", "Seconds without a statement after which a session ends and its transaction goes.", 3600.0
    )
    statement_timeout: Seconds = _setting(
        "Limits",
        "Seconds that one statement may run; then it is interrupted, and its session goes on.",
        900.0,
    )
    abandoned_timeout: Seconds = _setting(
        "Limits", "The same for a statement whose client has left, from then on.", 5.0
    )
    interrupt_timeout: Seconds = _setting(
        "Limits",
        "Seconds that an interrupted statement may take to end; then its node is restarted, with all its sessions.",
        30.0,
    )

    storage_auth: StorageAuth = _setting(
        "Storage", "How AzQuack authenticates to the storage.", StorageAuth.AUTO
    )
    azure_account: str | None = _setting("Storage", "Storage account of an az:// data path.", None)
    azure_client_id: str | None = _setting("Storage", "Client id of the user-assigned identity.", None)
    azure_endpoint: str | None = _setting("Storage", "Blob endpoint, where it is not Azure's own.", None)
    azure_connection_string: SecretStr | None = _setting("Storage", "Connection string of the account.", None)
    s3_key_id: str | None = _setting("Storage", "Key id for s3://, r2:// or gs://.", None)
    s3_secret: SecretStr | None = _setting("Storage", "Secret of that key.", None)
    s3_region: str | None = _setting("Storage", "Region of the bucket.", None)
    s3_endpoint: str | None = _setting("Storage", "Endpoint, where it is not the provider's own.", None)
    s3_url_style: str | None = _setting("Storage", "path or vhost.", None, pattern="^(path|vhost)$")
    s3_use_ssl: bool = _setting("Storage", "Speak TLS to the endpoint.", True)
    r2_account_id: str | None = _setting("Storage", "Cloudflare account of an r2:// data path.", None)
    storage_options: Pairs = _setting("Storage", "Further secret parameters: KEY=VALUE,KEY=VALUE.", {})

    backup_to: str | None = _setting(
        "Care",
        "Where backups of the catalog go: a directory or az://container/prefix. "
        "Default: the directory backups beside catalog.duckdb.",
        None,
    )
    backup_every: float = _setting(
        "Care",
        "Seconds between two checks whether the catalog changed and needs a backup; 0: never.",
        300.0,
        ge=0,
    )
    backup_recent: int = _setting("Care", "How many of the newest backups are kept.", 12, ge=1)
    backup_hourly: int = _setting("Care", "Hours of which the last backup is kept.", 24, ge=0)
    backup_daily: int = _setting("Care", "Days of which the last backup is kept.", 7, ge=0)
    backup_weekly: int = _setting("Care", "Weeks of which the last backup is kept.", 4, ge=0)
    keep_snapshots: Seconds = _setting("Care", "Seconds for which maintain keeps a snapshot.", 7 * 86400.0)
    keep_files: float = _setting(
        "Care", "Seconds for which maintain keeps a file that no snapshot needs.", 86400.0, ge=0
    )
    restore_at: str | None = _setting(
        "Restore",
        "`azquack restore` takes the newest backup that is not younger, such as 2026-01-31T12:00 in UTC; "
        "its `--at` goes before. Default: the newest.",
        None,
    )

    token_source: TokenSourceKind = _setting(
        "Tokens", "Where the tokens come from.", TokenSourceKind.ENVIRONMENT
    )
    public_token: SecretStr | None = _setting("Tokens", "Token of the users (environment source).", None)
    internal_token: SecretStr | None = _setting(
        "Tokens", "Token between query and catalog (environment source).", None
    )
    token_dir: Path | None = _setting("Tokens", "Directory of the token files (file, generated).", None)
    key_vault_url: str | None = _setting("Tokens", "URL of the Key Vault.", None)
    public_token_name: str = _setting("Tokens", "Secret or file that holds the public token.", "public-token")
    internal_token_name: str = _setting(
        "Tokens", "Secret or file that holds the internal token.", "internal-token"
    )


def shown(value: object) -> str:
    """`value` as text for a person, secrets masked."""
    match value:
        case None:
            return ""
        case SecretStr():
            return MASK
        case bool():
            return "true" if value else "false"
        case dict():
            # The extra parameters of a storage secret may well be secrets themselves.
            return ",".join(f"{key}={MASK}" for key in value)
        case _:
            return _PASSWORD.sub(MASK, str(value))


def required(settings: Settings, name: str, purpose: str) -> Any:
    """The value of `name`; `SettingError` when it is not set, saying what it is needed for."""
    value = getattr(settings, name)
    if value is None:
        raise SettingError(f"{PREFIX}{name.upper()} is not set: {purpose}")
    return value


def group_of(name: str) -> str:
    """The heading under which setting `name` is shown."""
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return str(extra["group"])


def as_markdown() -> str:
    """The table of settings as the page docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Written by `make docs` from `src/azquack/config/settings.py`. A value comes from, first match wins: a flag",
        "(`--data-path`), the environment (`AZQUACK_DATA_PATH`), a `.env` file, the default. Secrets have no",
        "flag. `azquack config` shows the effective values and where each came from. A pair (`azquack up`) has its",
        "own defaults for its directories, tokens and public role, and its own catalog: `azquack config --dir`.",
    ]
    group = ""
    for name, field in Settings.model_fields.items():
        if group_of(name) != group:
            group = group_of(name)
            lines += ["", f"## {group}", "", "| variable | default | what it does |", "|---|---|---|"]
        # A default that is read from the machine would make the page differ from machine to machine.
        default = "the host's name" if name == "name" else shown(field.default)
        lines.append(
            f"| `{PREFIX}{name.upper()}` | {f'`{default}`' if default else ''} | {field.description} |"
        )
    return "\n".join(lines) + "\n"
