"""A data file that was damaged when it was first read is brought back: the node reads what is there now."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from azquack.config.sources import load
from azquack.lake.metadata import Metadata
from azquack.storage import storage_for
from azquack.storage.local import LocalStorage
from tests.cluster import Pair, TempPair, remote
from tests.lakes import open_lake
from tests.standins.azurite import Azurite

SUM = "SELECT count(*), sum(i), sum(h::DOUBLE) FROM {table}"


def flipped(good: bytes) -> bytes:
    """A quarter of the pages hold something else."""
    start, length = len(good) // 4, len(good) // 4
    bad = bytes(byte ^ 0x5A for byte in good[start : start + length])
    return good[:start] + bad + good[start + length :]


def cut(good: bytes) -> bytes:
    return good[: len(good) // 2]


def zeroed(good: bytes) -> bytes:
    return bytes(len(good))


@pytest.mark.parametrize(
    ("damage", "same_time"), [(flipped, True), (cut, True), (zeroed, True), (zeroed, False)]
)
def test_a_file_that_is_whole_again_is_read_again(
    pair: Pair,
    connection: duckdb.DuckDBPyConnection,
    damage: Callable[[bytes], bytes],
    same_time: bool,
) -> None:
    if not isinstance(pair, TempPair):
        pytest.skip("the data files are elsewhere")
    table = f"brought_back_{damage.__name__}_{same_time}"
    connection.execute(remote(f"CREATE TABLE {table} AS SELECT i, hash(i) h FROM range(100000) r(i)"))
    [file] = (pair.directory / "data" / "main" / table).glob("*.parquet")
    good, before = file.read_bytes(), file.stat()
    put(file, damage(good), before, same_time=same_time)
    query = remote(SUM.format(table=table))
    with pytest.raises(duckdb.Error):
        connection.execute(query).fetchall()
    put(file, good, before, same_time=same_time)
    [(count, total, _)] = connection.execute(query).fetchall()
    assert (count, total) == (100_000, 4_999_950_000)


def put(file: Path, content: bytes, before: os.stat_result, *, same_time: bool) -> None:
    """Write in place, as a disk that is repaired or a copy that is brought back does."""
    with file.open("r+b") as opened:
        opened.write(content)
        opened.truncate()
    if same_time:
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_without_that_setting_a_restored_file_stays_broken(tmp_path: Path) -> None:
    # docs/known-limits.md: once an upgrade validates it, say so there, and local files may be kept as remote ones are.
    storage = LocalStorage(tmp_path / "data")
    with open_lake(tmp_path, storage, Metadata(str(tmp_path / "m.duckdb"), ())) as lake:
        lake.execute("SET GLOBAL enable_external_file_cache = true")
        lake.execute("SET GLOBAL validate_external_file_cache = 'VALIDATE_ALL'")
        lake.execute("CREATE TABLE t AS SELECT i, hash(i) h FROM range(100000) r(i)")
        [file] = (tmp_path / "data" / "main" / "t").glob("*.parquet")
        good, before = file.read_bytes(), file.stat()
        put(file, zeroed(good), before, same_time=False)
        for _ in range(2):
            with pytest.raises(duckdb.Error):
                lake.execute(SUM.format(table="t")).fetchall()
            put(file, good, before, same_time=False)


@pytest.mark.slow
def test_a_restored_blob_stays_broken_until_the_copies_of_blobs_are_dropped(
    tmp_path: Path, azurite: Azurite, container: str
) -> None:
    # docs/known-limits.md: a restart drops them, and without them each scan reads the storage anew.
    account = {"azure_connection_string": azurite.connection_string, "data_path": f"az://{container}/lake/"}
    storage = storage_for(load(account, env_file=None).settings)
    blobs = azurite.client().get_container_client(container)
    with open_lake(tmp_path, storage, Metadata(str(tmp_path / "m.duckdb"), ())) as lake:
        lake.execute("SET GLOBAL validate_external_file_cache = 'VALIDATE_ALL'")
        for kept in (True, False):
            lake.execute(f"SET GLOBAL enable_external_file_cache = {kept}")
            lake.execute("CREATE OR REPLACE TABLE t AS SELECT i, hash(i) h FROM range(100000) r(i)")
            name = max(blobs.list_blob_names(name_starts_with="lake/main/t/"))
            good = blobs.download_blob(name).readall()
            blobs.upload_blob(name, zeroed(good), overwrite=True)
            with pytest.raises(duckdb.Error):
                lake.execute(SUM.format(table="t")).fetchall()
            blobs.upload_blob(name, good, overwrite=True)
            if kept:
                with pytest.raises(duckdb.Error):
                    lake.execute(SUM.format(table="t")).fetchall()
                lake.execute("SET GLOBAL enable_external_file_cache = false")
            [(count, total, _)] = lake.execute(SUM.format(table="t")).fetchall()
            assert (count, total) == (100_000, 4_999_950_000)
