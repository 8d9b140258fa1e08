"""A consistent copy of a catalog that is being served.

The copy is a client like any other: one Quack session reads every table inside one read-only transaction,
and DuckDB's snapshot isolation makes the whole a single moment, whatever writers do meanwhile. The node that
serves the catalog needs no gateway to the disk for it, and the copy may be made from any machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from azquack.catalog.backup import record
from azquack.catalog.backup.record import Noted
from azquack.errors import BackupError
from azquack.lake import client, lake_id
from azquack.lake.client import Target
from azquack.lake.lake_id import LakeId
from azquack.quack.passing import PASSING
from azquack.sql import first_line, identifier, literal

_COPY = "copied"
_TABLES = """
    SELECT table_name, sql FROM duckdb_tables()
    WHERE database_name = current_database() AND schema_name = 'main' AND NOT internal AND NOT temporary
    ORDER BY table_name
"""
# What moves with every commit, and what moves without one: expiry, cleanup and options.
_STATE = """
    SELECT s.snapshot_id, s.snapshot_time,
           (SELECT count(*) FROM ducklake_snapshot),
           (SELECT count(*) FROM ducklake_files_scheduled_for_deletion),
           (SELECT string_agg(format('{}={}', m.key, m.value), ';' ORDER BY m.key, m.value)
            FROM ducklake_metadata AS m)
    FROM ducklake_snapshot AS s ORDER BY s.snapshot_id DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class State:
    """A moment of a catalog: two states with the same `fingerprint` hold the same metadata.

    `lake` and `epoch` are what the catalog says of itself, '' and 0 when it does not (`azquack.lake.lake_id`).
    """

    snapshot: int
    snapshot_time: datetime
    fingerprint: str
    lake: str = ""
    epoch: int = 0


class Session:
    """One Quack session with a catalog, inside one read-only transaction."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def remote(self, statement: str) -> list[tuple[object, ...]]:
        """What `statement` gives when the catalog's node runs it in this session's transaction."""
        return self._connection.execute(_query(statement)).fetchall()

    def identity(self) -> LakeId:
        """Which lake the catalog says that it is."""
        rows = self.remote(lake_id.READ) if lake_id.TABLE in self._names() else []
        return LakeId(str(rows[0][0]), int(str(rows[0][1]))) if rows else LakeId()

    def state(self) -> State | None:
        """Where the catalog stands; None when it holds no lake yet."""
        rows = self.remote(_STATE) if "ducklake_snapshot" in self._names() else []
        if not rows:
            return None
        snapshot, time, *rest = rows[0]
        assert isinstance(snapshot, int)
        assert isinstance(time, datetime)
        text = repr((snapshot, time.isoformat(), rest))
        identity = self.identity()
        digest = hashlib.sha256(text.encode()).hexdigest()
        return State(snapshot, time, digest, identity.lake, identity.epoch)

    def places(self) -> list[Noted] | None:
        """Where the catalog knows its backups to lie; None when it is of a version that does not say."""
        if record.TABLE not in self._names():
            return None
        return [Noted(str(place), bool(taken)) for place, taken in self.remote(record.READ)]

    def now(self) -> datetime:
        """What time it is for the catalog."""
        [(time,)] = self.remote("SELECT now()")
        assert isinstance(time, datetime)
        return time.astimezone(UTC)

    def copy(self, to: Path) -> None:
        """Write every table, with its rows and keys, into the new DuckDB file `to`."""
        connection = self._connection
        # The catalog's own version: VARIANT rows that stay in it need v1.5.0.
        connection.execute(f"ATTACH {literal(str(to))} AS {_COPY} (STORAGE_VERSION 'v1.5.0')")
        try:
            for name, definition in self.remote(_TABLES):
                table = identifier(str(name))
                connection.execute(f"USE {_COPY}")
                connection.execute(str(definition))
                connection.execute(f"INSERT INTO {_COPY}.{table} {_query(f'FROM {table}')}")
            connection.execute(f"CHECKPOINT {_COPY}")
        finally:
            connection.execute("USE memory")
            connection.execute(f"DETACH {_COPY}")

    def _names(self) -> set[str]:
        return {str(name) for name, _ in self.remote(_TABLES)}


def _query(statement: str) -> str:
    # Should this process be killed, the catalog ends the session, whose transaction holds back checkpoints.
    return f"FROM {client.ALIAS}.query({literal(PASSING + statement)})"


@contextmanager
def session(catalog: Target) -> Iterator[Session]:
    """A session with the catalog at `catalog`, whose token is the internal one.

    Raises `LakeError` when the catalog does not let us in, `BackupError` when it fails on the way.
    """
    with client.connection(catalog) as connection:
        connection.execute("SET GLOBAL httpfs_connection_caching = true")
        opened = Session(connection)
        try:
            opened.remote("BEGIN TRANSACTION READ ONLY")
            try:
                yield opened
            finally:
                # An open transaction would keep the catalog from its checkpoints.
                with suppress(duckdb.Error):
                    opened.remote("ROLLBACK")
        except duckdb.Error as error:
            raise BackupError(f"the catalog at {catalog.uri} failed: {first_line(error)}") from None


def copy_catalog(catalog: Target, to: Path) -> None:
    """A consistent copy of the served catalog in the new file `to`. Raises `LakeError`, `BackupError`."""
    with session(catalog) as opened:
        if opened.state() is None:
            raise BackupError("the catalog holds no lake yet: attach a query replica to it first")
        opened.copy(to)


def note(catalog: Target, statement: str) -> None:
    """Run a statement of `record` in the served catalog. Raises `LakeError`, `BackupError`."""
    with client.connection(catalog) as connection:
        try:
            connection.execute(_query(statement)).fetchall()
        except duckdb.Error as error:
            raise BackupError(
                f"the catalog did not note where its backups lie: {first_line(error)}"
            ) from None
