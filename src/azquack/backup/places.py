"""Where backups lie. A place holds files by name, nothing more.

DIRECTORY                a directory, best on another disk than the catalog
az://CONTAINER[/PREFIX]  Azure Blob Storage, with the account and the identity of the storage settings
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from azquack.errors import BackupError, SettingError
from azquack.settings import Settings
from azquack.storage.container import container_client, sentence

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

DIRECTORY = "backups"
_AZURE = re.compile(r"az://(?P<container>[a-z0-9-]{3,63})(?:/(?P<prefix>.*))?")


class Place(Protocol):
    """A place for backups; every method raises `BackupError` when the place fails."""

    def names(self) -> list[str]:
        """The names of all files, sorted."""

    def get(self, name: str, to: Path) -> None:
        """Write the file `name` to `to`."""

    def put(self, name: str, source: Path) -> None:
        """Keep `source` as `name`: whole or not at all."""

    def delete(self, name: str) -> None:
        """Remove the file `name`; nothing happens when it is not there."""


def place_for(settings: Settings) -> Place:
    """The place that `settings` name. Raises `SettingError` when they name none."""
    if settings.backup_to is None:
        if settings.catalog_dir is None:
            raise SettingError("AZQUACK_BACKUP_TO is not set: say where the backups lie")
        return DirectoryPlace(settings.catalog_dir / DIRECTORY)
    if match := _AZURE.fullmatch(settings.backup_to):
        prefix = (match["prefix"] or "").strip("/")
        return BlobPlace(container_client(settings, match["container"]), f"{prefix}/" if prefix else "")
    if "://" in settings.backup_to:
        raise SettingError(
            f"AZQUACK_BACKUP_TO is {settings.backup_to!r}: allowed are a directory and az://CONTAINER/PREFIX"
        )
    return DirectoryPlace(Path(settings.backup_to))


@dataclass(frozen=True, slots=True)
class DirectoryPlace:
    """A directory, made when it is first written to."""

    path: Path

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        with self._failing("listed"):
            if not self.path.exists():
                return []
            return sorted(each.name for each in self.path.iterdir() if each.is_file())

    def get(self, name: str, to: Path) -> None:
        """Write the file `name` to `to`."""
        with self._failing("read"):
            shutil.copyfile(self.path / name, to)

    def put(self, name: str, source: Path) -> None:
        """Keep `source` as `name`: whole or not at all."""
        draft = self.path / f".{name}"
        with self._failing("written"):
            # Whoever holds a backup reads the encryption keys in it.
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with source.open("rb") as data, draft.open("wb") as out:
                shutil.copyfileobj(data, out)
                out.flush()
                os.fsync(out.fileno())
            draft.replace(self.path / name)

    def delete(self, name: str) -> None:
        """Remove the file `name`; nothing happens when it is not there."""
        with self._failing("written"):
            (self.path / name).unlink(missing_ok=True)

    @contextmanager
    def _failing(self, done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BackupError(
                f"the backup place {self.path} cannot be {done}: {(error.strerror or '').lower()}"
            ) from None


@dataclass(frozen=True, slots=True)
class BlobPlace:
    """A prefix in a blob container."""

    container: ContainerClient
    prefix: str

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        with self._failing("listed"):
            found = self.container.list_blob_names(name_starts_with=self.prefix)
            names = [str(each).removeprefix(self.prefix) for each in found]
        return sorted(each for each in names if "/" not in each)

    def get(self, name: str, to: Path) -> None:
        """Write the file `name` to `to`."""
        with self._failing("read"), to.open("wb") as out:
            self.container.download_blob(self.prefix + name).readinto(out)

    def put(self, name: str, source: Path) -> None:
        """Keep `source` as `name`: whole or not at all, since a blob shows once it is committed."""
        with self._failing("written"), source.open("rb") as data:
            self.container.upload_blob(self.prefix + name, data, overwrite=True)

    def delete(self, name: str) -> None:
        """Remove the file `name`; nothing happens when it is not there."""
        from azure.core.exceptions import ResourceNotFoundError

        with self._failing("written"):
            try:
                self.container.delete_blob(self.prefix + name)
            except ResourceNotFoundError:
                return

    @contextmanager
    def _failing(self, done: str) -> Iterator[None]:
        from azure.core.exceptions import AzureError

        try:
            yield
        except AzureError as error:
            place = f"az://{self.container.container_name}/{self.prefix}"
            raise BackupError(f"the backup place {place} cannot be {done}: {sentence(error)}") from None
