"""Where the lake's Parquet files lie.

    local.py     a directory
    azure.py     az://container/prefix/
    s3.py        s3://, r2:// and gs://, which all speak the S3 protocol

`storage_for` picks by the scheme of the data path. A storage is a value: it reads settings, touches nothing
until `prepare`, and hands out the statements that make a DuckDB able to use the place.
"""

from __future__ import annotations

from typing import Protocol

from azquack.config.settings import Settings, required
from azquack.errors import SettingError
from azquack.sql import Statement
from azquack.storage.azure import AzureStorage
from azquack.storage.local import LocalStorage
from azquack.storage.s3 import S3Storage

__all__ = ["Storage", "storage_for"]

_S3_SCHEMES = ("s3", "r2", "gs")


class Storage(Protocol):
    """A place for Parquet files."""

    @property
    def data_path(self) -> str:
        """What DuckLake gets as DATA_PATH; it ends in a slash."""

    @property
    def extensions(self) -> tuple[str, ...]:
        """DuckDB extensions to load, in this order."""

    @property
    def probe(self) -> Statement:
        """One cheap request that fails when the place cannot be used; it works on a locked-down node."""

    def prepare(self) -> None:
        """Make what is missing and can be made. Raises `LakeError` when the place cannot be used."""

    def statements(self) -> list[Statement]:
        """What to run once the extensions are loaded and before any data is touched."""


def storage_for(settings: Settings) -> Storage:
    """The storage that `settings` describe. Raises `SettingError`."""
    path: str = required(settings, "data_path", "say where the Parquet files shall lie")
    scheme, separator, _ = path.partition("://")
    if not separator:
        return LocalStorage.from_settings(settings)
    if scheme == "az":
        return AzureStorage.from_settings(settings)
    if scheme in _S3_SCHEMES:
        return S3Storage.from_settings(settings)
    if scheme in ("abfss", "abfs", "azure"):
        raise SettingError(
            f"AZQUACK_DATA_PATH is {path!r}: DuckDB cannot write through {scheme}://, "
            "use az://CONTAINER/PREFIX/ for the same account"
        )
    raise SettingError(
        f"AZQUACK_DATA_PATH is {path!r}: allowed are a directory, az://, s3://, r2:// and gs://"
    )
