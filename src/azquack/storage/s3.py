"""The stores that speak the S3 protocol: `s3://`, Cloudflare's `r2://` and Google's `gs://`.

The secrets' parameters are DuckDB's: https://duckdb.org/docs/stable/core_extensions/httpfs/s3api for a key,
https://duckdb.org/docs/stable/core_extensions/aws for the credential chain.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from azquack.config.settings import Settings, StorageAuth
from azquack.errors import SettingError
from azquack.sql import Statement, literal, plain
from azquack.storage.secret import StorageSecret, checked_options

_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,220}[A-Za-z0-9]")
TYPES = {"s3": "s3", "r2": "r2", "gs": "gcs"}
_ANY = {"HTTP_PROXY", "SESSION_TOKEN", "URL_COMPATIBILITY_MODE", "KMS_KEY_ID", "REQUESTER_PAYS", "VERIFY_SSL"}
_CHAIN = {"CHAIN", "PROFILE", "ASSUME_ROLE_ARN", "EXTERNAL_ID", "WEB_IDENTITY_TOKEN_FILE", "VALIDATION"}
_CHAIN |= {"REFRESH", "HTTP_PROXY", "URL_COMPATIBILITY_MODE"}
# What a further parameter may be; its value may be anything.
OPTIONS = {
    ("s3", StorageAuth.KEY): frozenset(_ANY),
    ("r2", StorageAuth.KEY): frozenset(_ANY),
    ("gs", StorageAuth.KEY): frozenset(_ANY | {"BEARER_TOKEN"}),
    **{(scheme, StorageAuth.CREDENTIAL_CHAIN): frozenset(_CHAIN) for scheme in TYPES},
}


@dataclass(frozen=True, slots=True)
class S3Storage:
    """A bucket, or a prefix in it."""

    data_path: str
    secret: StorageSecret = field(repr=False)

    @classmethod
    def from_settings(cls, settings: Settings) -> S3Storage:
        """From `data_path`, `storage_auth` and the `s3_` and `r2_` settings. Raises `SettingError`."""
        assert settings.data_path is not None
        scheme, _, rest = settings.data_path.partition("://")
        bucket, _, prefix = rest.partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise SettingError(
                f"AZQUACK_DATA_PATH is {settings.data_path!r}: write {scheme}://BUCKET/PREFIX/ with a bucket "
                "of 3 or more letters, digits, dots and hyphens"
            )
        path = f"{scheme}://{bucket}/" + (f"{prefix.strip('/')}/" if prefix.strip("/") else "")
        return cls(path, _secret(settings, scheme, f"{scheme}://{bucket}/"))

    @property
    def extensions(self) -> tuple[str, ...]:
        """httpfs, and aws for the credential chain."""
        return ("httpfs", "aws") if self.secret.provider == "credential_chain" else ("httpfs",)

    @property
    def probe(self) -> Statement:
        """One listing of a prefix that holds nothing: fails for a missing bucket or a refused key."""
        return plain(f"SELECT count(*) FROM glob({literal(self.data_path + '.azquack*')})")

    def prepare(self) -> None:
        """Nothing: the bucket belongs to the infrastructure."""

    def statements(self) -> list[Statement]:
        """The secret."""
        return [self.secret.statement()]


def _secret(settings: Settings, scheme: str, scope: str) -> StorageSecret:
    auth = _auth(settings)
    options = checked_options(
        settings.storage_options, OPTIONS[scheme, auth], f"an {TYPES[scheme]} secret with {auth}"
    )
    if scheme == "r2" and settings.r2_account_id is None and settings.s3_endpoint is None:
        raise SettingError(
            "AZQUACK_R2_ACCOUNT_ID is not set: name the Cloudflare account of the r2:// data path"
        )
    shown: dict[str, str | bool | None] = {
        "REGION": settings.s3_region,
        "ENDPOINT": settings.s3_endpoint,
        "URL_STYLE": settings.s3_url_style,
        # Left out when it is true: httpfs knows that itself.
        "USE_SSL": None if settings.s3_use_ssl else False,
        "ACCOUNT_ID": settings.r2_account_id if scheme == "r2" else None,
    }
    if auth is StorageAuth.CREDENTIAL_CHAIN:
        # Keys of a chain expire within hours; with this DuckDB asks the chain again.
        shown["REFRESH"] = "auto"
        return StorageSecret(TYPES[scheme], auth.value, scope, shown=shown, options=options)
    bearer = any(name.upper() == "BEARER_TOKEN" for name in options)
    if not bearer and (settings.s3_key_id is None or settings.s3_secret is None):
        missing = "AZQUACK_S3_KEY_ID" if settings.s3_key_id is None else "AZQUACK_S3_SECRET"
        raise SettingError(f"{missing} is not set: a key for {scheme}:// is an id and its secret")
    shown["KEY_ID"] = settings.s3_key_id
    hidden = {"SECRET": settings.s3_secret.get_secret_value() if settings.s3_secret else None}
    return StorageSecret(TYPES[scheme], "config", scope, shown=shown, hidden=hidden, options=options)


def _auth(settings: Settings) -> StorageAuth:
    auth = settings.storage_auth
    if auth in (StorageAuth.MANAGED_IDENTITY, StorageAuth.CONNECTION_STRING):
        raise SettingError(
            f"AZQUACK_STORAGE_AUTH is {auth.value!r}, which only az:// has: "
            "allowed are auto, key and credential_chain"
        )
    if auth is not StorageAuth.AUTO:
        return auth
    given = settings.s3_key_id or settings.s3_secret
    bearer = any(name.upper() == "BEARER_TOKEN" for name in settings.storage_options)
    return StorageAuth.KEY if given or bearer else StorageAuth.CREDENTIAL_CHAIN
