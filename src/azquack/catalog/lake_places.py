"""Runner at the places of a lake, each of which may hold its identity, and changes nothing in any.

What they say together, `azquack.lake.state` judges. DuckDB is imported by those who have one at hand only: a
supervisor has none.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azquack.catalog import epochs
from azquack.errors import BackupError
from azquack.lake import lake_id
from azquack.lake.state import BackupPlace, Catalog, DataPath, LeaseRecord, Seen
from azquack.sql import first_line, identifier, literal

if TYPE_CHECKING:
    import duckdb

    from azquack.catalog.backup.places import Place
    from azquack.catalog.lease.grant import Grant

_NAME = "looked_at"
_TABLES = f"""
    SELECT table_name FROM duckdb_tables()
    WHERE database_name = '{_NAME}' AND schema_name = 'main' AND NOT internal ORDER BY table_name
"""
_MANIFEST = ".json"
_NOTE = "restored-"
_PARQUET = ".parquet"


def catalog_in(directory: Path) -> Catalog:
    """Which file lies in the catalog `directory`; what is in it is not looked at."""
    file, number, lost = epochs.found(directory)
    if file is None:
        return Catalog(Seen.MISSING, f"the catalog directory {directory}", lost=lost)
    return Catalog(Seen.UNKNOWN, f"the catalog {file}", number=number, lost=lost)


def catalog_file(found: Catalog, file: Path, witness: tuple[int, int] | None = None) -> Catalog:
    """`found`, with what is in `file`, of which every page is read.

    Its log, if there is one, is written into it. `witness` is a snapshot, with its time, that it should hold.
    """
    import duckdb

    if not file.exists():
        return replace(found, seen=Seen.MISSING)
    if file.stat().st_size == 0:
        return replace(found, seen=Seen.UNREADABLE, problem="it has no bytes")
    try:
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"ATTACH {literal(str(file))} AS {_NAME}")
            connection.execute(f"CHECKPOINT {_NAME}")
            tables = [str(name) for (name,) in connection.execute(_TABLES).fetchall()]
            _read_all(connection, tables)
            return _contents(connection, found, tables, witness)
    except duckdb.Error as error:
        return replace(found, seen=Seen.UNREADABLE, problem=first_line(error))


def _read_all(connection: duckdb.DuckDBPyConnection, tables: Iterable[str]) -> None:
    """Read every page: DuckDB compares each with its checksum."""
    import duckdb

    for name in tables:
        table = f"{_NAME}.main.{identifier(name)}"
        try:
            connection.execute(f"SELECT bit_xor(hash(t)) FROM {table} AS t").fetchall()
        except (duckdb.BinderException, duckdb.NotImplementedException):
            # A type that has no hash: the other tables are read all the same.
            connection.execute(f"SELECT count(*) FROM {table}").fetchall()


def _contents(
    connection: duckdb.DuckDBPyConnection, found: Catalog, tables: list[str], witness: tuple[int, int] | None
) -> Catalog:
    identity = lake_id.read(connection, _NAME)
    about: dict[str, Any] = {"lake": identity.lake, "epoch": identity.epoch, "adopted": identity.adopted}
    if "ducklake_snapshot" not in tables:
        return replace(found, seen=Seen.EMPTY, **about)
    main = f"{_NAME}.main"
    newest = f"SELECT max(snapshot_id) FROM {main}.ducklake_snapshot"
    ((snapshot,),) = connection.execute(newest).fetchall()
    if snapshot is None:
        return replace(found, seen=Seen.UNREADABLE, problem="it has no snapshot")
    files = connection.execute(f"FROM {main}.ducklake_data_file LIMIT 1").fetchall()
    versions = connection.execute(
        f"SELECT value FROM {main}.ducklake_metadata WHERE key = 'version'"
    ).fetchall()
    about["format"] = str(versions[0][0]) if versions else ""
    forked = False
    if witness is not None:
        at = f"SELECT epoch_us(snapshot_time) FROM {main}.ducklake_snapshot WHERE snapshot_id = {witness[0]}"
        times = connection.execute(at).fetchall()
        forked = bool(times) and times[0][0] != witness[1]
    return replace(found, seen=Seen.THERE, snapshot=int(snapshot), files=bool(files), forked=forked, **about)


def data_in_directory(directory: Path) -> DataPath:
    """The data path `directory` of this machine: its mark, and whether Parquet lies in it."""
    where = str(directory)
    try:
        if not directory.is_dir():
            return DataPath(Seen.MISSING, where)
        mark = directory / lake_id.MARK
        text = mark.read_text() if mark.exists() else None
        files = any(
            name.endswith(_PARQUET) for _, _, names in os.walk(directory, onerror=_raise) for name in names
        )
    except OSError as error:
        return DataPath(Seen.UNREADABLE, where, problem=(error.strerror or "").lower())
    except UnicodeDecodeError:
        return DataPath(Seen.UNREADABLE, where, problem=f"{lake_id.MARK} in it is damaged")
    return _data(where, text, files)


def data_in(connection: duckdb.DuckDBPyConnection, data_path: str) -> DataPath:
    """The same of any `data_path`, which ends in a slash; `connection` can read it.

    Parquet is looked for only where the mark names no lake.
    """
    import duckdb

    where = data_path.rstrip("/")
    try:
        marks = connection.execute(lake_id.mark_reading(data_path)).fetchall()
        text = str(marks[0][0]) if marks else None
        files = False
        if not (text and lake_id.lake_in(text)):
            any_file = f"SELECT 1 FROM glob({literal(data_path + '**/*' + _PARQUET)}) LIMIT 1"
            files = bool(connection.execute(any_file).fetchall())
    except duckdb.Error as error:
        return DataPath(Seen.UNREADABLE, where, problem=first_line(error))
    return _data(where, text, files)


def _data(where: str, text: str | None, files: bool) -> DataPath:
    seen = Seen.THERE if text is not None or files else Seen.EMPTY
    return DataPath(seen, where, lake_id.lake_in(text or ""), text is not None, files)


def lease_before(grant: Grant) -> LeaseRecord:
    """What the lease said before `grant` was taken."""
    seen = Seen.THERE if grant.number else Seen.EMPTY
    return LeaseRecord(seen, "the lease", grant.lake, grant.number, grant.served)


def backups_in(place: Place, where: str) -> BackupPlace:
    """The lakes of the backups in `place`, and the newest state that they hold.

    A manifest that cannot be read is passed over while others can: it says nothing, and is no reason not to serve.
    """
    try:
        names = place.names()
        texts = _texts(place, [each for each in names if each.endswith(_MANIFEST) or each.startswith(_NOTE)])
    except BackupError as error:
        if type(error.__context__).__name__ == "ResourceNotFoundError":
            return BackupPlace(Seen.MISSING, where)
        return BackupPlace(Seen.UNREADABLE, where, problem=str(error))
    manifests = [
        found for name, text in texts.items() if name.endswith(_MANIFEST) and (found := _parse(text))
    ]
    if not manifests:
        if any(each.endswith(_MANIFEST) for each in texts):
            return BackupPlace(Seen.UNREADABLE, where, problem="none of its manifests is whole")
        return BackupPlace(Seen.EMPTY, where)
    restored = max((_time(text) for name, text in texts.items() if name.startswith(_NOTE)), default="")
    # What was backed up before a restore, and before there were epochs, may well be of a newer snapshot.
    counted = [each for each in manifests if each[1] or each[4] > restored]
    epoch, snapshot = max(((each[1], each[2]) for each in counted), default=(0, -1))
    old = max(((each[2], each[3]) for each in counted if not each[0]), default=None)
    return BackupPlace(
        Seen.THERE, where, tuple(sorted({each[0] for each in manifests})), epoch, snapshot, old
    )


def _texts(place: Place, names: Iterable[str]) -> dict[str, str]:
    from concurrent.futures import ThreadPoolExecutor

    with tempfile.TemporaryDirectory(prefix="azquack-") as scratch, ThreadPoolExecutor(8) as pool:

        def text(name: str) -> str:
            to = Path(scratch) / name
            place.get(name, to)
            return to.read_text(errors="replace")

        names = list(names)
        return dict(zip(names, pool.map(text, names), strict=True))


def _parse(text: str) -> tuple[str, int, int, int, str] | None:
    """Lake, epoch, snapshot, its time, and the time of the backup; None when the manifest is not whole."""
    try:
        values = json.loads(text)
        return (
            str(values.get("lake") or ""), int(values.get("epoch") or 0), int(values["snapshot"]),
            _microseconds(str(values["snapshot_time"])), str(values["time"]),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _microseconds(text: str) -> int:
    time = datetime.fromisoformat(text)
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def _time(note: str) -> str:
    try:
        return str(json.loads(note)["time"])
    except (ValueError, KeyError, TypeError):
        return ""


def _raise(error: OSError) -> None:
    raise error
