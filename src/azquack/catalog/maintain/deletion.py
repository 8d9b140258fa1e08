"""Files deleted: the one way in which a maintenance removes any.

DuckLake's own `ducklake_cleanup_old_files` and `ducklake_delete_orphaned_files` decide by a time alone, and know
nothing of backups. So what goes is decided here, and DuckLake is given exactly that: in the catalog of an empty lake
of our own on the same data path, as the files that are scheduled for deletion. It removes them wherever DuckDB can
write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import duckdb

from azquack.catalog.check import files
from azquack.catalog.maintain.protection import Protection, base_name
from azquack.sql import literal

_EMPTY = "deleting"
_BATCH = 1000
_SCHEDULED = "ducklake_files_scheduled_for_deletion"


class Deletion:
    """Deletes files of the lake whose data lies in `data_path`, within `protection`.

    `catalog` gives the name of a database, attached to `connection`, that shows the lake's metadata as it is now;
    `run` runs a statement in the catalog itself. `scratch` is a directory of our own.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        data_path: str,
        protection: Protection,
        scratch: Path,
        catalog: Callable[[], str],
        run: Callable[[str], None],
    ) -> None:
        self._connection = connection
        self._data_path = data_path
        self.protection = protection
        self._scratch = scratch
        self._catalog = catalog
        self._run = run

    def old_files(self, before: datetime) -> dict[str, int]:
        """The files that became needless before then and may go, with their ids in the schedule.

        Raises `BackupError` when a kept backup cannot be read.
        """
        root = "(SELECT value FROM {m}.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL)"
        rows = self._connection.execute(
            f"SELECT CASE WHEN path_is_relative THEN {root} ELSE '' END || path, data_file_id "
            f"FROM {{m}}.{_SCHEDULED} WHERE schedule_start::TIMESTAMPTZ < ?".format(m=self._catalog()),
            [before],
        ).fetchall()
        found = {str(path): int(number) for path, number in rows}
        return {path: found[path] for path in self._unprotected(list(found))}

    def orphans(self, before: datetime) -> list[str]:
        """The Parquet files that nobody names, were written before then and may go. Raises as `old_files`."""
        catalog = self._catalog()
        files.prepare(self._connection, catalog, self._data_path)
        rows = self._connection.execute(
            "SELECT path FROM present WHERE (suffix(path, '.parquet') OR suffix(path, '.puffin')) AND modified < ? "
            "AND starts_with(path, ?) AND path NOT IN (SELECT path FROM named) "
            f"AND path NOT IN ({files.SCHEDULED.format(m=catalog)}) ORDER BY path",
            [before, self._data_path],
        ).fetchall()
        return self._unprotected([str(path) for (path,) in rows])

    def delete(self, paths: Sequence[str]) -> None:
        """Delete exactly these. Raises `duckdb.Error` when the storage refuses."""
        if not paths:
            return
        connection, metadata = self._connection, f"__ducklake_metadata_{_EMPTY}"
        (self._scratch / f"{_EMPTY}.duckdb").unlink(missing_ok=True)
        connection.execute(
            f"ATTACH {literal(f'ducklake:{self._scratch / _EMPTY}.duckdb')} AS {_EMPTY} "
            f"(DATA_PATH {literal(self._data_path)})"
        )
        try:
            for first in range(0, len(paths), _BATCH):
                batch = paths[first : first + _BATCH]
                connection.executemany(
                    f"INSERT INTO {metadata}.{_SCHEDULED} VALUES (?, ?, false, now())",
                    [[number, path] for number, path in enumerate(batch)],
                )
                connection.execute(f"CALL ducklake_cleanup_old_files({literal(_EMPTY)}, cleanup_all => true)")
                connection.fetchall()
        finally:
            connection.execute(f"DETACH {_EMPTY}")

    def forget(self, numbers: Sequence[int]) -> None:
        """Take the files with these ids off the schedule of the lake. Raises `duckdb.Error`."""
        for first in range(0, len(numbers), _BATCH):
            batch = ", ".join(map(str, numbers[first : first + _BATCH]))
            self._run(f"DELETE FROM {{schema}}{_SCHEDULED}\nWHERE data_file_id IN ({batch});")

    def _unprotected(self, paths: list[str]) -> list[str]:
        """Those of `paths` that no kept backup names."""
        if not paths:
            return paths
        for names in self.protection.named():
            paths = [each for each in paths if base_name(each) not in names]
        return paths
