"""The identity of a lake, where it stands."""

from __future__ import annotations

from pathlib import Path

import duckdb

from azquack.lake import lake_id
from azquack.lake.lake_id import LakeId


def test_an_id_is_new_each_time() -> None:
    assert len({lake_id.new() for _ in range(100)}) == 100


def test_a_catalog_file_keeps_its_identity(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "catalog.duckdb")) as connection:
        assert lake_id.read(connection, "catalog") == LakeId()
        lake_id.write(connection, "catalog", LakeId("abc", 3))
        lake_id.write(connection, "catalog", LakeId("abc", 4, adopted=True))
    with duckdb.connect(str(tmp_path / "catalog.duckdb"), read_only=True) as connection:
        assert lake_id.read(connection, "catalog") == LakeId("abc", 4, adopted=True)
        assert connection.execute(lake_id.READ).fetchall() == [("abc", 4, True)]


def test_a_data_path_keeps_its_mark(tmp_path: Path) -> None:
    path = f"{tmp_path}/"
    with duckdb.connect() as connection:
        assert connection.execute(lake_id.mark_reading(path)).fetchall() == []
        connection.execute(lake_id.mark_writing(path, "abc"))
        ((text,),) = connection.execute(lake_id.mark_reading(path)).fetchall()
    assert lake_id.lake_in(text) == lake_id.lake_in(lake_id.mark_text("abc")) == "abc"


def test_a_mark_from_before_the_ids_names_no_lake() -> None:
    assert lake_id.lake_in("The Parquet files of an AzQuack lake.\n") == ""
    assert lake_id.lake_in("[]") == lake_id.lake_in("{}") == lake_id.lake_in("") == ""
