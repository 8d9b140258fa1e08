"""A catalog and a query replica as a deployment runs them, with every place of their lake at hand to be lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path

from azure.storage.blob import BlobClient

from azquack.catalog import epochs
from azquack.lake import lake_id
from tests.cluster import wait_until
from tests.reliability.places import InBlobs, LeaseOnBlob, OnDisk, Place, newest_backup, read
from tests.reliability.replicas import INTERNAL, PUBLIC, Replica
from tests.standins.azurite import Azurite

# A refusal offers one of these, or names what must be mended by hand.
RESTORE, ADOPT = "azquack restore", "azquack lake adopt"
WAYS_ON = (
    RESTORE,
    ADOPT,
    "name the right place",
    "see that it can be read",
    "remove that file and start again",
)
# The mark of a data path from before there were ids.
_OLD_MARK = "The Parquet files of an AzQuack lake.\n"


class Deployment(ABC):
    """The replicas, started and ended together; what an operator runs gets the settings of both."""

    def __init__(self, directory: Path, of_catalog: dict[str, object], of_query: dict[str, object]) -> None:
        directory.mkdir(exist_ok=True)
        self.directory = directory
        self.catalog_dir = directory / "catalog"
        of_catalog = {"catalog_dir": self.catalog_dir, "backup_every": 1, **of_catalog}
        self.catalog = Replica("catalog", "catalog", directory, of_catalog)
        of_query = {"catalog": f"quack:127.0.0.1:{self.catalog.port}", **of_query}
        self.query = Replica("query", "query", directory, of_query)
        self._begun: list[Replica] = []
        self._settings = of_catalog | of_query | {"internal_token": INTERNAL, "public_token": PUBLIC}

    @abstractmethod
    def remember(self) -> None:
        """Keep a copy of every place as it is now, for those that are lost to an older state. Nothing runs."""

    @abstractmethod
    def places(self, other: OnLocalFiles) -> dict[str, Place]:
        """Every place of this lake as it is now; `other` is a lake that stands still."""

    @abstractmethod
    def backups(self) -> dict[str, bytes]:
        """All files in the place of the backups."""

    @abstractmethod
    def manifests(self) -> list[str]:
        """The names of the manifests of all backups, which begin with their times."""

    @abstractmethod
    def data_files(self) -> set[str]:
        """The names of all files under the data path, without their directories."""

    def start(self) -> str:
        """Start both; '' once they serve, or the refusal of the one that does not."""
        for replica in (self.catalog, self.query):
            before = len(replica.log_text())
            replica.begin()
            self._begun.append(replica)

            def refusal(replica: Replica = replica, before: int = before) -> str:
                return self._standing(replica, before)

            said: str = wait_until(
                refusal, lambda: f"neither served nor refused:\n{self.log_text()}", timeout=150
            )
            if said := said.strip():
                return said
        return ""

    def _standing(self, replica: Replica, before: int) -> str:
        """' ' when it serves, its refusal when it refuses, '' while nobody knows."""
        ended, status = not replica.alive, replica.status()
        if status.get("ready") and not status.get("standby"):
            return " "
        lines = replica.log_text()[before:].splitlines()
        news = [each for each in lines if any(way in each for way in WAYS_ON)]
        assert news or not ended, f"{replica.name} ended without a way on:\n{self.log_text()}"
        return news[-1] if news else ""

    def end(self, *, kill: bool) -> None:
        """End both, by SIGKILL or in order."""
        while self._begun:
            replica = self._begun.pop()
            # One that refused has ended by itself.
            replica.kill() if kill and replica.alive else replica.stop()

    def run(self, *arguments: str, **settings: object) -> subprocess.CompletedProcess[str]:
        """An operator's command; it never ends in a traceback."""
        environment = {
            f"AZQUACK_{name.upper()}": str(value) for name, value in (self._settings | settings).items()
        }
        finished = subprocess.run(
            [sys.executable, "-m", "azquack", *arguments], capture_output=True, text=True, check=False,
            timeout=240, cwd=self.directory, env=os.environ | environment,
        )  # fmt: skip
        assert "Traceback" not in finished.stderr, f"{arguments}: {finished.stderr}"
        return finished

    def log_text(self) -> str:
        """The ends of the logs of both."""
        return "\n".join(each.log_text()[-5000:] for each in (self.catalog, self.query))

    def _catalog_places(self, other: OnLocalFiles) -> dict[str, Place]:
        """The catalog directory, which is one in Azure as well, and the newest file in it."""
        older, directory = self.directory / "older-catalog", self.catalog_dir
        file = epochs.newest(directory)
        return {
            "catalog directory": OnDisk(
                [directory], {directory: other.catalog_dir}, {directory: older}, self._aside, live=True
            ),
            "newest epoch's file": OnDisk(
                [file], {file: epochs.newest(other.catalog_dir)}, {file: epochs.newest(older)},
                self._aside, live=True,
            ),
        }  # fmt: skip

    @property
    def _aside(self) -> Path:
        return self.directory / "aside"


class OnLocalFiles(Deployment):
    """Everything on this machine's disk."""

    def __init__(self, directory: Path) -> None:
        self.data, self.backup_place = directory / "data", directory / "backups"
        shared: dict[str, object] = {"data_path": self.data, "lease_seconds": 2}
        super().__init__(directory, shared | {"backup_to": self.backup_place}, shared)

    def remember(self) -> None:
        for path in (self.catalog_dir, self.backup_place):
            older = self.directory / f"older-{path.name}"
            shutil.rmtree(older, ignore_errors=True)
            shutil.copytree(path, older)
        (self.directory / "older-mark").write_text(_OLD_MARK)

    def places(self, other: OnLocalFiles) -> dict[str, Place]:
        lease, mark = self.catalog_dir / "lease", self.data / lake_id.MARK
        place, older = self.backup_place, self.directory / "older-backups"
        newest = [place / name for name in newest_backup(self.backups())]
        others = newest_backup(other.backups())
        olds = newest_backup({each.name: each.read_bytes() for each in older.iterdir()})
        return self._catalog_places(other) | {
            "lease": OnDisk(
                [lease], {lease: other.catalog_dir / "lease"},
                {lease: self.directory / "older-catalog" / "lease"}, self._aside,
            ),
            "data path's mark": OnDisk(
                [mark], {mark: other.data / lake_id.MARK}, {mark: self.directory / "older-mark"}, self._aside
            ),
            "newest backup": OnDisk(
                newest, {place / name: other.backup_place / name for name in others},
                {to: older / name for to, name in zip(newest, olds, strict=True)}, self._aside,
            ),
            "backup place": OnDisk([place], {place: other.backup_place}, {place: older}, self._aside),
        }  # fmt: skip

    def backups(self) -> dict[str, bytes]:
        if not self.backup_place.is_dir():
            return {}
        found = [each for each in self.backup_place.iterdir() if each.is_file() and each.name[0] != "."]
        return {each.name: each.read_bytes() for each in found}

    def manifests(self) -> list[str]:
        return [each.name for each in self.backup_place.glob("2*.json")]

    def data_files(self) -> set[str]:
        return {each.name for each in self.data.rglob("*") if each.is_file()}


class OnAzurite(Deployment):
    """Lease, data and backups in Blob Storage; the catalog in a directory."""

    def __init__(self, directory: Path, storage: Azurite, container: str) -> None:
        account: dict[str, object] = {"azure_connection_string": storage.connection_string}
        of_catalog = {
            "lease": f"az://{container}/lease/catalog", "lease_seconds": 15,
            "backup_to": f"az://{container}/backups",
        }  # fmt: skip
        super().__init__(directory, account | of_catalog, account | {"data_path": f"az://{container}/lake/"})
        self._blobs = storage.client().get_container_client(container)
        self._older: dict[str, bytes] = {}
        self._older_lease: dict[str, str] = {}

    def remember(self) -> None:
        older = self.directory / "older-catalog"
        shutil.rmtree(older, ignore_errors=True)
        shutil.copytree(self.catalog_dir, older)
        self._older = read(self._blobs, self._names("backups/"))
        self._older_lease = dict(self._lease.get_blob_properties().metadata or {})

    def places(self, other: OnLocalFiles) -> dict[str, Place]:
        mark, blobs = f"lake/{lake_id.MARK}", self._blobs
        others = {f"backups/{name}": content for name, content in other.backups().items()}
        newest, olds = newest_backup(read(blobs, self._names("backups/"))), newest_backup(self._older)
        lake = lake_id.lake_in((other.data / lake_id.MARK).read_text())
        return self._catalog_places(other) | {
            "lease": LeaseOnBlob(self._lease, lake, self._older_lease),
            "data path's mark": InBlobs(
                blobs, lambda: self._names(mark), {mark: lake_id.mark_text(lake).encode()},
                {mark: _OLD_MARK.encode()},
            ),
            "newest backup": InBlobs(
                blobs, lambda: newest, {name: others[name] for name in newest_backup(others)},
                {to: self._older[name] for to, name in zip(newest, olds, strict=True)},
            ),
            "backup place": InBlobs(blobs, lambda: self._names("backups/"), others, self._older),
        }  # fmt: skip

    def backups(self) -> dict[str, bytes]:
        found = read(self._blobs, self._names("backups/"))
        return {name.removeprefix("backups/"): content for name, content in found.items()}

    def manifests(self) -> list[str]:
        return [name.rpartition("/")[2] for name in self._names("backups/2") if name.endswith(".json")]

    def data_files(self) -> set[str]:
        return {name.rpartition("/")[2] for name in self._names("lake/")}

    @property
    def _lease(self) -> BlobClient:
        return self._blobs.get_blob_client("lease/catalog")

    def _names(self, prefix: str) -> list[str]:
        return list(self._blobs.list_blob_names(name_starts_with=prefix))
