"""A place of a lake is taken away, and the lake is started: never an empty lake in place of a full one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from azquack.catalog import epochs
from azquack.errors import LakeError
from azquack.lake import lake_id
from azquack.node.process import Node
from azquack.replicas import catalog
from azquack.replicas.local import LakeDirectory
from tests.cluster import Shell, TempPair

pytestmark = pytest.mark.timeout(600)
ROUNDS = int(os.environ.get("AZQUACK_TEST_ROUNDS", "100"))


@dataclass
class Kept:
    """A stopped lake with rows, Parquet files and backups, and a copy of it to bring back."""

    root: Path
    copy: Path
    home: Path

    @property
    def directory(self) -> Path:
        return self.root / "lake"

    @property
    def catalog_dir(self) -> Path:
        return self.directory / "catalog"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def env(self) -> dict[str, str]:
        return {"AZQUACK_BACKUP_TO": str(self.root / "backups")}

    def bring_back(self) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(self.copy, self.root)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "azquack", *arguments, "--dir", str(self.directory)],
            capture_output=True, text=True, check=False, timeout=180, cwd=self.root.parent,
            env=dict(self.environment()),
        )  # fmt: skip

    def environment(self) -> dict[str, str]:
        return os.environ | self.env

    def refusal(self) -> str:
        """What the catalog's part of a start says that must not serve; every file must be as it was."""
        before = self.files()
        with pytest.raises(LakeError) as refused:
            self.opened()
        assert self.files() == before, "a refused start changed what it found"
        return str(refused.value)

    def opened(self) -> tuple[int, str]:
        """Take the catalog, open its file and give it back, as a start does it without its processes: epoch, lake."""
        return asyncio.run(self._opened())

    async def _opened(self) -> tuple[int, str]:
        settings = LakeDirectory(self.directory).load({"backup_to": str(self.root / "backups")}).settings
        owned = catalog.ownership(settings, standby=False)
        try:
            assert await owned.take()
            self.home.mkdir(exist_ok=True)
            node = Node(catalog.node_config(settings, "x" * 16, owned.file, owned.places), self.home)
            # Beside the loop, which renews the lease.
            await asyncio.to_thread(node.open)
            await owned.settle(node.lake)
            node.connection.close()
            return epochs.number_of(owned.file), node.lake
        finally:
            await owned.release()

    def really_refused(self) -> str:
        """What `azquack up` says when it will not."""
        finished = self.run("up", "--port", "0")
        assert finished.returncode == 1, finished.stdout + finished.stderr
        assert "Traceback" not in finished.stderr
        return finished.stderr

    def files(self) -> dict[str, bytes]:
        """Every catalog file, data file, mark and backup."""
        kept = (
            *self.catalog_dir.glob("**/catalog.duckdb"),
            *self.data.rglob("*"),
            *self.root.glob("backups/*"),
        )
        return {str(each): each.read_bytes() for each in kept if each.is_file()}

    def serves(self) -> int:
        """Start it, see that every row is there and that it takes more; its epoch."""
        pair = TempPair(self.directory, env=self.env)
        try:
            pair.start()
            shell = Shell(pair, self.home)
            assert (
                shell.rows("FROM r.query('SELECT count(*) AS n, sum(i) AS s FROM kept')")
                == "n,s\n1000,499500"
            )
            shell.run("CREATE TABLE r.more AS SELECT 1 AS i")
            return epochs.number_of(epochs.newest(self.catalog_dir))
        finally:
            pair.destroy()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    base = tmp_path_factory.mktemp("lost")
    kept = Kept(base / "here", base / "copy", base / "home")
    kept.root.mkdir()
    with TempPair(kept.directory, env=kept.env) as pair:
        Shell(pair, kept.home).run("CREATE TABLE r.kept AS SELECT range AS i FROM range(1000)")
        # Its end takes a backup.
        assert pair.stop() == 0
    # So that there is an epoch before.
    assert kept.opened() == (2, lake_of(kept))
    shutil.copytree(kept.root, kept.copy)
    return kept


@pytest.fixture
def kept(made: Kept) -> Kept:
    made.bring_back()
    return made


def lake_of(kept: Kept) -> str:
    return lake_id.lake_in((kept.data / lake_id.MARK).read_text())


def test_without_its_catalog_a_lake_is_refused_and_restored(kept: Kept) -> None:
    lake = lake_of(kept)
    assert lake
    shutil.rmtree(kept.catalog_dir)
    said = kept.really_refused()
    assert "holds no lake, but" in said
    assert f"holds backups of the lake {lake}" in said or "holds backups of a lake" in said
    assert f"the data path {kept.data} holds files of the lake {lake}" in said
    assert "azquack restore" in said
    assert "azquack lake create" in said
    assert kept.run("lake", "create").returncode == 1, "another lake's data path must not be taken"
    restored = kept.run("restore", "--yes")
    assert restored.returncode == 0, restored.stderr
    assert kept.opened()[0] > 2
    assert lake_of(kept) == lake


def test_without_its_lease_a_lake_is_served_under_a_higher_number(kept: Kept) -> None:
    shutil.rmtree(kept.catalog_dir / "lease")
    assert kept.opened() == (3, lake_of(kept))
    # And where another one is named, its old number notwithstanding.
    (kept.catalog_dir / "lease").rename(kept.root / "old")
    assert kept.opened() == (4, lake_of(kept))


def test_a_damaged_newest_file_takes_none_before_it_along(kept: Kept) -> None:
    newest = epochs.newest(kept.catalog_dir)
    newest.write_bytes(b"")
    assert "has no bytes" in kept.refusal()
    newest.unlink()
    said = kept.refusal()
    assert "the file of epoch 2 is gone" in said
    assert "azquack lake adopt" in said
    adopted = kept.run("lake", "adopt")
    assert adopted.returncode == 0, adopted.stderr
    assert f"adopted the lake {lake_of(kept)}" in adopted.stdout
    shown = kept.run("lake", "show")
    assert shown.returncode == 0, shown.stdout
    assert "a start would serve it" in shown.stdout
    assert kept.opened()[0] > 3


def test_an_empty_data_path_is_refused_and_not_marked_anew(kept: Kept) -> None:
    lake = lake_of(kept)
    shutil.rmtree(kept.data)
    for _ in range(2):
        assert f"the catalog is that of the lake {lake}, but the data path {kept.data} has lost its mark" in (
            kept.refusal()
        )
    assert not (kept.data / lake_id.MARK).exists()


def test_a_catalog_older_than_its_newest_backup_is_refused(kept: Kept) -> None:
    """A disk snapshot is brought back, lease and all: its backups know of a later commit."""
    newest = max((kept.root / "backups").glob("*.json"))
    values = json.loads(newest.read_text())
    later = {"lake": lake_of(kept), "epoch": 2, "snapshot": values["snapshot"] + 1}
    newest.write_text(json.dumps(values | later))
    assert "is older (epoch 2, snapshot" in kept.refusal()


@pytest.mark.slow
def test_two_lakes_do_not_share_a_data_path(kept: Kept, tmp_path: Path) -> None:
    other = TempPair(tmp_path / "other", env={"AZQUACK_DATA_PATH": str(kept.data)})
    try:
        with pytest.raises(AssertionError):
            other.start()
        assert f"the data path {kept.data} holds files of the lake {lake_of(kept)}" in other.log_text()
    finally:
        other.destroy()
    assert kept.serves() == 3


@pytest.mark.slow
def test_a_lake_of_the_version_before_is_adopted_when_it_agrees(kept: Kept) -> None:
    """No id anywhere: not in the catalog, the mark, the lease, the manifests."""
    newest = epochs.newest(kept.catalog_dir)
    with duckdb.connect(str(newest)) as connection:
        connection.execute(f"DROP TABLE {lake_id.TABLE}")
    (kept.data / lake_id.MARK).write_text("The Parquet files of an AzQuack lake.\n")
    (kept.catalog_dir / "lease" / "2").write_text('{"released": true}')
    manifests = list((kept.root / "backups").glob("*.json"))
    assert manifests
    for each in manifests:
        values = json.loads(each.read_text())
        each.write_text(
            json.dumps({key: value for key, value in values.items() if key not in ("lake", "epoch")})
        )
    assert kept.serves() == 3
    assert lake_of(kept)


@pytest.mark.slow
def test_a_lake_of_the_version_before_that_does_not_agree_is_refused(kept: Kept) -> None:
    with duckdb.connect(str(epochs.newest(kept.catalog_dir))) as connection:
        connection.execute(f"DROP TABLE {lake_id.TABLE}")
    (kept.data / lake_id.MARK).unlink()
    for each in kept.data.rglob("*.parquet"):
        each.unlink()
    shutil.rmtree(kept.catalog_dir / "lease")
    shutil.rmtree(kept.root / "backups")
    assert "none of its files lie in the data path" in kept.refusal()


@pytest.mark.slow
def test_a_restore_that_is_killed_at_any_moment_is_repeated(kept: Kept) -> None:
    rounds, lake = max(1, ROUNDS // 10), lake_of(kept)
    began = time.monotonic()
    assert kept.run("restore", "--yes").returncode == 0
    whole = time.monotonic() - began
    dice = random.Random(4711)
    for number in range(rounds):
        with subprocess.Popen(
            [sys.executable, "-m", "azquack", "restore", "--yes", "--dir", str(kept.directory)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=kept.root.parent, env=kept.environment(),
        ) as killed:  # fmt: skip
            # Its end may come first; that is a moment like any other.
            with contextlib.suppress(subprocess.TimeoutExpired):
                killed.wait(whole * dice.random())
            killed.kill()
        repeated = kept.run("restore", "--yes")
        assert repeated.returncode == 0, f"round {number}: {repeated.stderr}"
        assert kept.opened()[1] == lake
        assert not list(kept.catalog_dir.glob(".restoring-*"))
    assert kept.serves() > rounds
