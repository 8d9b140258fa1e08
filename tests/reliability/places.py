"""The places of a lake, and the ways in which one is lost: it is gone, emptied, another lake's, older, cut short."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from azure.storage.blob import BlobClient, BlobLeaseClient, ContainerClient


class Way(StrEnum):
    """What becomes of a place."""

    MISSING = "missing"
    EMPTIED = "emptied"
    OTHER = "another lake's"
    OLDER = "older"
    TRUNCATED = "truncated"


class Place(Protocol):
    """One place of a lake, that is lost and brought back."""

    def lose(self, way: Way) -> None:
        """Have it lost; what is there now is kept aside."""

    def bring_back(self) -> bool:
        """Have it as it was when it was lost; False when nobody could."""


@dataclass
class OnDisk:
    """Files or directories. `other` and `older` say what lies at each path instead, '' for nothing.

    One that is in use (`live`) is cut short where it lies, as nobody has a copy of it.
    """

    paths: list[Path]
    other: dict[Path, Path]
    older: dict[Path, Path]
    aside: Path
    live: bool = False
    _gone: bool = False

    def lose(self, way: Way) -> None:
        self._gone = way is Way.TRUNCATED and self.live
        shutil.rmtree(self.aside, ignore_errors=True)
        self.aside.mkdir()
        for number, path in enumerate(self.paths):
            if self._gone:
                _truncate(path)
                continue
            kept, directory = self.aside / str(number), path.is_dir()
            path.rename(kept)
            if way is Way.EMPTIED:
                path.mkdir() if directory else path.write_bytes(b"")
            if way is Way.TRUNCATED:
                _copy(kept, path)
                _truncate(path)
        for target, source in {Way.OTHER: self.other, Way.OLDER: self.older}.get(way, {}).items():
            _copy(source, target)

    def bring_back(self) -> bool:
        if self._gone:
            return False
        for number, path in enumerate(self.paths):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
            (self.aside / str(number)).rename(path)
        for target in self.other:
            if target not in self.paths:
                target.unlink(missing_ok=True)
        return True


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target) if source.is_dir() else shutil.copyfile(source, target)


def _truncate(path: Path) -> None:
    for each in [path, *path.rglob("*")]:
        if each.is_file():
            with each.open("r+b") as file:
                file.truncate(each.stat().st_size // 2)


@dataclass
class InBlobs:
    """Blobs of one container, of which `names` tells the present ones; `other` and `older` are contents by name."""

    container: ContainerClient
    names: Callable[[], Iterable[str]]
    other: dict[str, bytes]
    older: dict[str, bytes]
    _kept: dict[str, bytes] = field(default_factory=dict)

    def lose(self, way: Way) -> None:
        self._kept = read(self.container, self.names())
        self._remove(self._kept)
        instead = {
            Way.EMPTIED: dict.fromkeys(self._kept, b""),
            Way.OTHER: self.other,
            Way.OLDER: self.older,
            Way.TRUNCATED: {name: content[: len(content) // 2] for name, content in self._kept.items()},
        }
        self._write(instead.get(way, {}))

    def bring_back(self) -> bool:
        self._remove([*self.names(), *self.other])
        self._write(self._kept)
        return True

    def _write(self, contents: dict[str, bytes]) -> None:
        for name, content in contents.items():
            self.container.upload_blob(name, content, overwrite=True)

    def _remove(self, names: Iterable[str]) -> None:
        for name in names:
            with contextlib.suppress(ResourceNotFoundError):
                self.container.delete_blob(name)


def read(container: ContainerClient, names: Iterable[str]) -> dict[str, bytes]:
    """The contents of the blobs `names`, without those that somebody removes meanwhile."""
    found = {}
    for name in list(names):
        with contextlib.suppress(ResourceNotFoundError):
            found[name] = container.download_blob(name).readall()
    return found


@dataclass
class LeaseOnBlob:
    """The lease on `blob`; `older` is its metadata as it was, `other` the id of another lake."""

    blob: BlobClient
    other: str
    older: dict[str, str]
    _kept: dict[str, str] = field(default_factory=dict)

    def lose(self, way: Way) -> None:
        self._kept = dict(self.blob.get_blob_properties().metadata or {})
        instead = {
            Way.OTHER: self._kept | {"lake": self.other},
            Way.OLDER: self.older,
            Way.TRUNCATED: {name: value for name, value in self._kept.items() if name == "epoch"},
        }
        self._write(instead.get(way, {}), there=way is not Way.MISSING)

    def bring_back(self) -> bool:
        self._write(self._kept, there=True)
        return True

    def _write(self, metadata: dict[str, str], *, there: bool) -> None:
        """Nobody holds what somebody else put there."""
        with contextlib.suppress(ResourceNotFoundError, HttpResponseError):
            BlobLeaseClient(self.blob).break_lease(0)
        with contextlib.suppress(ResourceNotFoundError):
            self.blob.delete_blob()
        if there:
            self.blob.upload_blob(b"", metadata=metadata)


def newest_backup(manifests: dict[str, bytes]) -> list[str]:
    """The names of the two files of the newest of these `manifests`, of those that are whole."""
    found = []
    for name in manifests:
        with contextlib.suppress(ValueError, KeyError):
            if name.endswith(".json"):
                values = json.loads(manifests[name])
                found.append((values["epoch"], values["snapshot"], name))
    *_, name = max(found)
    return [name.removesuffix(".json") + suffix for suffix in (".duckdb.gz", ".json")]
