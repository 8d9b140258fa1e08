"""A query node's look at its data path before it opens the lake, and the mark that it leaves once it has.

The catalog says over the link which lake it is, with the one statement `lake_id.READ`; all else that is asked of it is
DuckLake's own. On most starts the mark names the lake, and that is all: one read each.
"""

from __future__ import annotations

from dataclasses import replace

import duckdb

from azquack.catalog.lake_places import data_in
from azquack.errors import LakeError, lacks_role
from azquack.lake import lake_id
from azquack.lake.config import LakeConfig
from azquack.lake.lake_id import LakeId
from azquack.lake.metadata import Metadata
from azquack.lake.state import Catalog, DataPath, Places, Seen, judge
from azquack.sql import first_line, literal

_NAME = "asked"
# DuckLake's words when there is no lake yet.
_NONE = "creating a new DuckLake is explicitly disabled"
_TABLES = f"""
    SELECT t.table_name, s.schema_name FROM ducklake_table_info('{_NAME}') AS t
    JOIN duckdb_schemas() AS s ON s.database_name = '{_NAME}'
    JOIN duckdb_tables() AS d
      ON d.database_name = '{_NAME}' AND d.schema_name = s.schema_name AND d.table_name = t.table_name
    WHERE t.file_count > 0 LIMIT 3
"""


class DataGuard:
    """Compares the lake behind `metadata` with the data path of `lake`; `connection` can reach both."""

    def __init__(self, lake: LakeConfig, metadata: Metadata) -> None:
        self._lake = lake
        self._metadata = metadata
        self._marked = False
        self.identity = LakeId()

    def check(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Raises `LakeError` when they do not belong together, `duckdb.Error` when the catalog is away."""
        self.identity = self._identity(connection) if self._lake.link is not None else LakeId()
        data = data_in(connection, self._lake.data_path)
        self._marked = data.lake == self.identity.lake if self.identity.lake else data.marked
        if self._marked and data.lake == self.identity.lake:
            return
        catalog, data = self.ask(connection, data)
        judge(Places(catalog, data)).insist()

    def mark(self, connection: duckdb.DuckDBPyConnection) -> None:
        """The lake is open: its data path says so from here on. Raises `LakeError`."""
        if self._marked or not self._lake.marks:
            return
        try:
            connection.execute(lake_id.mark_writing(self._lake.data_path, self.identity.lake))
        except duckdb.Error as error:
            reason = first_line(error)
            raise LakeError(
                f"the data path {self._lake.data_path} cannot be marked: {reason}",
                may_pass=lacks_role(reason),
            ) from None
        self._marked = True

    def _identity(self, connection: duckdb.DuckDBPyConnection) -> LakeId:
        address, statement = literal(self._metadata.path), literal(lake_id.READ)
        try:
            return lake_id.parse(connection.execute(f"FROM quack_query({address}, {statement})").fetchall())
        except duckdb.Error as error:
            # A catalog replica of an older version has no such table.
            if lake_id.TABLE in str(error) and "does not exist" in str(error):
                return LakeId()
            raise

    def ask(self, connection: duckdb.DuckDBPyConnection, data: DataPath) -> tuple[Catalog, DataPath]:
        """What DuckLake says of the catalog, and whether what it names lies in the data path."""
        catalog = Catalog(
            Seen.THERE,
            "the catalog",
            self.identity.lake,
            epoch=self.identity.epoch,
            adopted=self.identity.adopted,
        )
        file = self._metadata.file
        if file is not None and not file.exists():
            return replace(catalog, seen=Seen.EMPTY), data
        options = ["READ_ONLY", "CREATE_IF_NOT_EXISTS false"]
        options += [f"META_{name} {literal(value)}" for name, value in self._metadata.parameters.items()]
        try:
            connection.execute(
                f"ATTACH {literal(f'ducklake:{self._metadata.path}')} AS {_NAME} ({', '.join(options)})"
            )
        except duckdb.Error as error:
            if _NONE in str(error):
                return replace(catalog, seen=Seen.EMPTY), data
            raise
        try:
            newest = connection.execute(f"FROM ducklake_current_snapshot('{_NAME}')").fetchall()
            files = connection.execute(_TABLES).fetchall()
            named = None
            for table, schema in files:
                listed = f"ducklake_list_files('{_NAME}', {literal(table)}, schema => {literal(schema)})"
                ((file,),) = connection.execute(f"SELECT data_file FROM {listed} LIMIT 1").fetchall()
                found = connection.execute(f"FROM glob({literal(str(file))})").fetchall()
                named = bool(named or found)
        finally:
            connection.execute(f"DETACH {_NAME}")
        return replace(catalog, snapshot=int(newest[0][0]), files=bool(files)), replace(data, named=named)
