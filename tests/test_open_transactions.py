"""A commit whose files are gone is refused; one whose files are there is not, however long its transaction was open."""

from __future__ import annotations

import time
from pathlib import Path

import duckdb
import pytest

from azquack.catalog.link import files
from azquack.errors import StatementError
from azquack.lake.data_files import missing
from tests.cluster import Pair, TempPair, attached, remote, wait_until
from tests.standins.azurite import Azurite

DATA_FILE = (
    "(7, 3, 2, NULL, NULL, 'k=a''b/ducklake-{uuid}.parquet', true, 'parquet', 5000, 9, 1, 0, NULL, NULL)"
)
DELETE_FILE = "(8, 4, 2, NULL,  6, 'ducklake-{uuid}-delete.parquet', true, 'parquet', 5, 9, 1, NULL, NULL)"
MADE = 1_700_000_000.0
UUID = f"{int(MADE * 1000):012x}"
UUID = f"{UUID[:8]}-{UUID[8:]}-7abc-8def-0123456789ab"


def commit(*rows: str) -> str:
    head = 'INSERT INTO "main".ducklake_snapshot VALUES (2, NOW(), 1, 9, 9);'
    body = "".join(f'INSERT INTO "main".ducklake_data_file VALUES {row};' for row in rows)
    return head + body.format(uuid=UUID)


def test_files_are_looked_for_once_they_are_not_young_any_more() -> None:
    text = commit(DATA_FILE, DELETE_FILE)
    assert files.old(files.named(text), MADE + 1) == []
    assert [each.table for each in files.old(files.named(text), MADE + 3)] == [3, 4]
    # A clock that was set back tells nothing of their age.
    assert len(files.old(files.named(text), MADE - 60)) == 2


def test_a_text_that_looks_like_a_file_is_none() -> None:
    row = DATA_FILE.format(uuid=UUID).replace("'", "''")
    assert (
        files.old(
            files.named(f"INSERT INTO ducklake_inlined_data_1_1 VALUES (1, 2, NULL, '{row}')"), MADE + 9
        )
        == []
    )


def test_a_file_lies_in_the_directories_of_its_table_and_schema_be_they_new_or_known() -> None:
    new = (
        "INSERT INTO \"main\".ducklake_schema VALUES (9, '01a1', 2, NULL, 's', 's/', true);"
        "INSERT INTO \"main\".ducklake_table VALUES (3, '01a1', 2, NULL, 9, 'n''t', 'n/', true);"
    )
    text = commit(DATA_FILE, DELETE_FILE) + new
    found = files.old(files.named(text), MADE + 3)
    known = "t 4 0 true t/\ns 0 true main/"
    assert files.paths(found, known, text, "/data/") == [
        f"/data/s/n/k=a'b/ducklake-{UUID}.parquet",
        f"/data/main/t/ducklake-{UUID}-delete.parquet",
    ]
    assert files.paths(
        found, "t 3 0 false /else where/\nt 4 0 true t/\ns 0 false az://b/", commit(), "/d/"
    ) == [
        f"/else where/k=a'b/ducklake-{UUID}.parquet",
        f"az://b/t/ducklake-{UUID}-delete.parquet",
    ]


def test_what_is_missing_is_told_from_what_nobody_can_tell(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"x")
    config = {"autoinstall_known_extensions": "false", "autoload_known_extensions": "false"}
    with duckdb.connect(":memory:", config=config) as connection:  # type: ignore[arg-type]
        paths = [str(tmp_path / name) for name in ("there", "gone")]
        assert missing(connection, paths) == paths[1:]
        with pytest.raises(StatementError, match="its files cannot be looked for"):
            missing(connection, ["s3://bucket/file.parquet"])


@pytest.mark.parametrize(
    ("before", "write", "folder"),
    [
        ("CREATE TABLE ot (i BIGINT)", "INSERT INTO ot SELECT range FROM range(5000)", "main/ot"),
        (
            "CREATE SCHEMA IF NOT EXISTS os",
            "CREATE TABLE os.new AS SELECT range AS i FROM range(5000)",
            "os/new",
        ),
        (
            "CREATE TABLE od AS SELECT range AS i FROM range(5000)",
            "DELETE FROM od WHERE i % 2 = 0",
            "main/od",
        ),
    ],
)
def test_a_commit_whose_files_are_gone_is_refused(
    pair: Pair, home: Path, before: str, write: str, folder: str
) -> None:
    if not isinstance(pair, TempPair):
        pytest.skip("the data files are elsewhere")
    data = pair.directory / "data" / folder
    with attached(pair, home) as connection:

        def run(statement: str) -> list[tuple[object, ...]]:
            return connection.execute(remote(statement)).fetchall()

        def written(known: set[Path]) -> list[Path]:
            made = sorted(set(data.rglob("*.parquet")) - known)
            since = time.time()
            wait_until(lambda: time.time() - since > files.YOUNG, "time stands still")
            return made

        run(before)
        known = set(data.rglob("*.parquet"))
        run("BEGIN")
        run(write)
        written(known)[0].unlink()
        with pytest.raises(duckdb.Error, match=r"the file .* that it wrote is gone"):
            run("COMMIT")
        known = set(data.rglob("*.parquet"))
        run("BEGIN")
        run(write)
        assert written(known)
        run("COMMIT")


def test_the_same_in_a_container(azurite: Azurite, container: str, tmp_path: Path, home: Path) -> None:
    env = {"AZQUACK_AZURE_CONNECTION_STRING": azurite.connection_string}
    with (
        TempPair(
            tmp_path / "lake", "--data-path", f"az://{container}/lake/", "--backup-every", "0", env=env
        ) as pair,
        attached(pair, home) as connection,
        azurite.client() as client,
    ):

        def run(statement: str) -> list[tuple[object, ...]]:
            return connection.execute(remote(statement)).fetchall()

        def written() -> list[str]:
            since = time.time()
            wait_until(lambda: time.time() - since > files.YOUNG, "time stands still")
            return [each for each in azurite.blobs(container) if each.endswith(".parquet")]

        run("CREATE TABLE t (i BIGINT)")
        run("BEGIN")
        run("INSERT INTO t SELECT range FROM range(5000)")
        kept = written()
        run("COMMIT")
        assert run("SELECT count(*), sum(i) FROM t") == [(5000, sum(range(5000)))]
        run("BEGIN")
        run("INSERT INTO t SELECT range FROM range(5000)")
        [file] = set(written()) - set(kept)
        client.get_blob_client(container, file).delete_blob()
        with pytest.raises(duckdb.Error, match=r"the file az://.* that it wrote is gone"):
            run("COMMIT")
        assert run("SELECT count(*) FROM t") == [(5000,)]
