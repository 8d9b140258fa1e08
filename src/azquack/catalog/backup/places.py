"""Where backups lie. A place holds files by name, nothing more.

DIRECTORY                a directory, best on another disk than the catalog
az://CONTAINER[/PREFIX]  Azure Blob Storage, with the account and the identity of the storage settings
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from azquack.config.settings import Settings
from azquack.errors import BackupError, SettingError
from azquack.process import drafts
from azquack.storage.container import container_client, sentence

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

DIRECTORY = "backups"
# What AzQuack before there were locks on drafts left behind.
_OLD_DRAFT = re.compile(r"\.(?:\d{8}T\d{6}\.\d{6}Z\.(?:json|duckdb\.gz)|restored-[\dT.]+Z\.note)")
_AZURE = re.compile(r"az://(?P<container>[a-z0-9-]{3,63})(?:/(?P<prefix>.*))?")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in a place: its size in bytes, and when it was written, by the clock of the place."""

    size: int
    modified: datetime


class Place(Protocol):
    """A place for backups; every method raises `BackupError` when the place fails."""

    @property
    def uri(self) -> str:
        """The place as the setting AZQUACK_BACKUP_TO names it, from any directory."""

    def entries(self) -> dict[str, Entry]:
        """All files by their names, without what is still being written."""

    def names(self) -> list[str]:
        """The names of all files, sorted."""

    def sweep(self) -> None:
        """Remove what killed processes were writing."""

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

    @property
    def uri(self) -> str:
        """The directory, absolute."""
        return str(self.path.absolute())

    def entries(self) -> dict[str, Entry]:
        """All files by their names; those of which the name begins with a dot are drafts, or nobody's business."""
        found = {}
        with self._failing("listed"):
            if not self.path.exists():
                return {}
            for each in self.path.iterdir():
                # What another process deletes meanwhile is not there.
                with suppress(FileNotFoundError):
                    if each.is_file() and not each.name.startswith("."):
                        state = each.stat()
                        found[each.name] = Entry(state.st_size, _time(state.st_mtime))
        return found

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        return sorted(self.entries())

    def sweep(self) -> None:
        """Remove the drafts of killed processes."""
        drafts.sweep_files(self.path, also=_OLD_DRAFT)

    def get(self, name: str, to: Path) -> None:
        """Write the file `name` to `to`."""
        with self._failing("read"):
            shutil.copyfile(self.path / name, to)

    def put(self, name: str, source: Path) -> None:
        """Keep `source` as `name`: whole or not at all."""
        with self._failing("written"):
            # Whoever holds a backup reads the encryption keys in it.
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            with source.open("rb") as data, drafts.file(self.path / name) as out:
                shutil.copyfileobj(data, out)

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

    @property
    def uri(self) -> str:
        """az://CONTAINER/PREFIX/."""
        return f"az://{self.container.container_name}/{self.prefix}"

    def entries(self) -> dict[str, Entry]:
        """All blobs by their names."""
        with self._failing("listed"):
            found = {
                str(each.name).removeprefix(self.prefix): Entry(int(each.size), each.last_modified)
                for each in self.container.list_blobs(name_starts_with=self.prefix)
            }
        return {name: entry for name, entry in found.items() if "/" not in name}

    def names(self) -> list[str]:
        """The names of all files, sorted."""
        return sorted(self.entries())

    def sweep(self) -> None:
        """Nothing: a blob that was cut short shows nowhere, and the service removes its blocks."""

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
            raise BackupError(f"the backup place {self.uri} cannot be {done}: {sentence(error)}") from None


def _time(seconds: float) -> datetime:
    """What no calendar holds is long ago."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.fromtimestamp(0, UTC)
