"""The lake that an operator's command means: a pair on this machine, or the one that the settings describe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from azquack.catalog import epochs
from azquack.catalog.backup.backups import Backups
from azquack.catalog.backup.copy import session
from azquack.catalog.backup.places import place_for
from azquack.catalog.backup.retention import Retention
from azquack.config.settings import Settings, required
from azquack.config.sources import load
from azquack.errors import AzQuackError, LakeError, SettingError
from azquack.lake import lake_id
from azquack.lake.client import Target
from azquack.replicas.local import LakeDirectory
from azquack.tokens.configured import token_source_for
from azquack.tokens.source import TokenSource


@dataclass(frozen=True)
class Site:
    """A lake, as those who care for it see it.

    `settings` tell where its data, its catalog file and its backups lie; `directory` is None for a lake that
    only the settings describe.
    """

    settings: Settings
    directory: LakeDirectory | None

    @property
    def backups(self) -> Backups:
        """The backups of its catalog. Raises `SettingError`."""
        return Backups(place_for(self.settings), Retention.from_settings(self.settings))

    def identity(self) -> str:
        """The id of the lake, as its data path, its running catalog or its catalog's file says; '' when none does."""
        path = self.settings.data_path
        if path and "://" not in path:
            with suppress(OSError, UnicodeDecodeError):
                if found := lake_id.lake_in((Path(path).expanduser() / lake_id.MARK).read_text()):
                    return found
        if self.directory is None and self.settings.catalog:
            with suppress(AzQuackError), session(self.catalog) as opened:
                return opened.identity().lake
        return _identity_in(epochs.newest(self.settings.catalog_dir)) if self.settings.catalog_dir else ""

    @property
    def tokens(self) -> TokenSource:
        """Its tokens. Raises `SettingError`, `TokenError`."""
        return token_source_for(self.settings)

    @property
    def catalog_uri(self) -> str:
        """Where its catalog listens. Raises `LakeError` when it is not up, `SettingError` when nobody knows."""
        if self.directory is None:
            return str(
                required(self.settings, "catalog", "say where the catalog listens, as quack:HOST:PORT")
            )
        running = self.directory.running()
        if running is None:
            raise LakeError(
                f"no pair is up in {self.directory.path}: start it with azquack up --dir {self.directory.path}"
            )
        return running.catalog_uri

    @property
    def catalog(self) -> Target:
        """Its catalog, with the internal token. Raises `LakeError`, `SettingError`, `TokenError`."""
        uri = self.catalog_uri
        if not uri.startswith("quack:"):
            raise SettingError(f"AZQUACK_CATALOG is {uri!r}: this command works with a quack: catalog only")
        tls = self.settings.catalog_tls
        return Target(uri, self.tokens.internal(), tls=uri.endswith(":443") if tls is None else tls)

    @property
    def catalog_dir(self) -> Path:
        """Where its catalog's file lies on this machine. Raises `SettingError` when it lies elsewhere."""
        directory: Path = required(self.settings, "catalog_dir", "it is where catalog.duckdb lies")
        return directory

    @contextmanager
    def owned(self) -> Iterator[None]:
        """Hold the lake, so that nothing serves it meanwhile. Raises `LakeError` when something does."""
        if self.directory is None:
            yield
            return
        with self.directory.owned():
            yield


def site(directory: Path | None, flags: Mapping[str, Any]) -> Site:
    """The lake that `described` names, which is there. Raises `SettingError`, `LakeError`."""
    lake = described(directory, flags)
    if lake.directory is not None and not lake.directory.path.is_dir():
        raise LakeError(
            f"there is no lake in {lake.directory.path}: give --dir, or set AZQUACK_CATALOG to one that is elsewhere"
        )
    return lake


def described(directory: Path | None, flags: Mapping[str, Any]) -> Site:
    """The pair in `directory` (the default is ./lake), or what the settings say when they name a catalog.

    Whether or not there is one. Raises `SettingError`.
    """
    settings = load(flags).settings
    if directory is None and (settings.catalog or settings.catalog_dir):
        return Site(settings, None)
    lake = LakeDirectory((directory or Path("lake")).resolve())
    return Site(lake.load(flags).settings, lake)


def _identity_in(catalog: Path) -> str:
    """The lake of the file `catalog`; '' when that is not there, is being served or cannot be read."""
    try:
        with duckdb.connect(str(catalog), read_only=True) as connection:
            return lake_id.read(
                connection, connection.execute("SELECT current_database()").fetchall()[0][0]
            ).lake
    except duckdb.Error:
        return ""
