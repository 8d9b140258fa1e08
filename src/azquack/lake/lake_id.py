"""The identity of a lake: a random id, made once, that stands in every place that belongs to the lake.

catalog file     the table `azquack_lake`, one row: `id`; `epoch`, that of the owner who wrote to the file last; and
                 `adopted`, whether the lake was there before it had an id.
                 DuckLake neither reads nor writes it (its own options are refused other keys), and it is copied with
                 every copy of the catalog: backups, restores, epochs, upgrades.
data path        the file `.azquack`, one JSON object: `lake`
lease            `lake`, and `served`, the newest epoch whose file was served: in the claim, or the blob's metadata
backup           `lake` and `epoch` in its manifest, as `azquack_lake` said when it was taken

Whoever reads the catalog over Quack sends `READ`, word for word. Only the catalog replica writes the table, in its
own file, before it serves. `''` is the id of what has none: made by AzQuack 0.x before there were ids, or by stock
DuckDB. What the ids of the places together mean, says `azquack.lake.state`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

from azquack.sql import identifier, literal

if TYPE_CHECKING:
    import duckdb

TABLE = "azquack_lake"
MARK = ".azquack"
READ = f"SELECT id, epoch, adopted FROM {TABLE}"
_EXISTS = (
    "SELECT count(*) FROM duckdb_tables() WHERE database_name = ? AND schema_name = 'main' AND table_name = ?"
)
_NOTE = "The Parquet files of an AzQuack lake. Its catalog knows them: do not move or delete any."


@dataclass(frozen=True, slots=True)
class LakeId:
    """Which lake (`''`: none), and the epoch of the owner who wrote to it last (0: from before the epochs).

    The data path of a lake that was not `adopted` has had its mark since before the lake's first commit.
    """

    lake: str = ""
    epoch: int = 0
    adopted: bool = False


def new() -> str:
    """The id of a new lake: 64 random bits."""
    return secrets.token_hex(8)


def read(connection: duckdb.DuckDBPyConnection, database: str) -> LakeId:
    """The identity in the catalog file that is attached as `database`; an empty one when it has none."""
    if connection.execute(_EXISTS, [database, TABLE]).fetchall() == [(0,)]:
        return LakeId()
    return parse(
        connection.execute(f"SELECT id, epoch, adopted FROM {identifier(database)}.main.{TABLE}").fetchall()
    )


def parse(rows: Sequence[Sequence[Any]]) -> LakeId:
    """The identity in the rows that `READ` gives."""
    return LakeId(str(rows[0][0]), int(rows[0][1]), bool(rows[0][2])) if rows else LakeId()


def write(connection: duckdb.DuckDBPyConnection, database: str, identity: LakeId) -> None:
    """Put `identity` into the catalog file that is attached as `database`, in place of the one that it had."""
    table = f"{identifier(database)}.main.{TABLE}"
    connection.execute("BEGIN")
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} (id VARCHAR, epoch BIGINT, adopted BOOLEAN)")
    connection.execute(f"DELETE FROM {table}")
    connection.execute(f"INSERT INTO {table} VALUES (?, ?, ?)", [*astuple(identity)])
    connection.execute("COMMIT")


def mark_text(lake: str) -> str:
    """What the mark in the data path of `lake` says."""
    return json.dumps({"lake": lake, "note": _NOTE}) + "\n"


def lake_in(mark: str) -> str:
    """The lake that the text `mark` of a data path names; '' for a mark from before there were ids."""
    try:
        return str(json.loads(mark)["lake"])
    except (ValueError, KeyError, TypeError):
        return ""


def mark_reading(data_path: str) -> str:
    """The query for the text of the mark in `data_path`, which ends in a slash; no row when it is not there.

    Works wherever DuckDB can read: a glob that finds nothing is no error.
    """
    return f"SELECT content FROM read_text({literal(data_path + MARK + '*')})"


def mark_writing(data_path: str, lake: str) -> str:
    """The statement that writes the mark of `lake` into `data_path`, wherever DuckDB can write."""
    row = f"SELECT {literal(lake)} AS lake, {literal(_NOTE)} AS note"
    return f"COPY ({row}) TO {literal(data_path + MARK)} (FORMAT json)"
