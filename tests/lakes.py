"""A lake opened by the adapters' own statements in a real DuckDB, without a pair around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from azquack.config.settings import Settings
from azquack.lake import extensions
from azquack.lake.metadata import Metadata
from azquack.node.process import Node
from azquack.replicas.query import node_config
from azquack.sql import literal
from azquack.storage import Storage, storage_for
from azquack.tokens.source import TokenSource


@contextmanager
def plain_duckdb(home: Path, *load: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """A DuckDB in memory with the pinned extensions, of which it loads `load`; `home` is its own."""
    extensions.link_all(home / "extensions")
    config: dict[str, str | bool | int | float | list[str]] = {
        "extension_directory": str(home / "extensions"),
        "secret_directory": str(home / "secrets"),
        "autoinstall_known_extensions": "false",
    }
    with duckdb.connect(":memory:", config=config) as connection:
        for name in load:
            connection.execute(f"LOAD {name}")
        yield connection


@contextmanager
def open_lake(
    home: Path, storage: Storage, metadata: Metadata, *, read_only: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """The lake that `storage` and `metadata` describe, attached and in use as `lake`."""
    storage.prepare()
    with plain_duckdb(home, "httpfs", "ducklake", *metadata.extensions, *storage.extensions) as connection:
        for each in (*metadata.secrets, *storage.statements()):
            connection.execute(each.text)
        options = [f"DATA_PATH {literal(storage.data_path)}", *(["READ_ONLY"] if read_only else [])]
        options += [f"META_{name} {literal(value)}" for name, value in metadata.parameters.items()]
        connection.execute(
            f"ATTACH {literal('ducklake:' + metadata.path)} AS lake ({', '.join(options)}); USE lake"
        )
        yield connection


@contextmanager
def query_node(home: Path, settings: Settings, tokens: TokenSource) -> Iterator[Node]:
    """The DuckDB of a query replica, opened and locked down as its process does it, but not serving."""
    storage_for(settings).prepare()
    home.mkdir()
    config = node_config(settings, tokens)
    node = Node(config, home)
    node.open()
    try:
        for each in config.lockdown:
            node.run(each)
        yield node
    finally:
        node.connection.close()


def exercise(lake: duckdb.DuckDBPyConnection) -> None:
    """Write, partition, update, delete, merge, expire and clean up; every answer is checked."""

    def one(sql: str) -> object:
        row = lake.execute(sql).fetchone()
        return row[0] if row and len(row) == 1 else row

    lake.execute("CREATE TABLE events (day INTEGER, kind VARCHAR, amount BIGINT)")
    lake.execute("ALTER TABLE events SET PARTITIONED BY (day)")
    rows = "SELECT i % 4 AS day, 'k' || i % 3 AS kind, i AS amount FROM range(4000) t(i)"
    lake.execute(f"INSERT INTO events {rows}")
    lake.execute(f"INSERT INTO events {rows}")
    assert one("SELECT sum(amount), count(*) FROM events") == (2 * 7998000, 8000)
    assert one("SELECT count(DISTINCT data_file) FROM ducklake_list_files('lake', 'events')") == 8
    before = one("SELECT max(snapshot_id) FROM ducklake_snapshots('lake')")
    lake.execute("UPDATE events SET kind = 'new' WHERE day = 1")
    lake.execute("DELETE FROM events WHERE day = 2")
    lake.execute(
        "MERGE INTO events USING (SELECT 3 AS day, 3999 AS amount) AS news "
        "ON events.day = news.day AND events.amount = news.amount "
        "WHEN MATCHED THEN UPDATE SET kind = 'merged'"
    )
    counted = "SELECT count(*) FILTER (kind = 'new'), count(*) FILTER (kind = 'merged'), count(*) FROM events"
    assert one(counted) == (2000, 2, 6000)
    assert one(f"SELECT sum(amount), count(*) FROM events AT (VERSION => {before})") == (2 * 7998000, 8000)
    lake.execute("CALL ducklake_rewrite_data_files('lake', 'events', delete_threshold => 0.0)")
    lake.execute("CALL ducklake_merge_adjacent_files('lake')")
    lake.execute("CALL ducklake_expire_snapshots('lake', older_than => now())")
    lake.execute("CALL ducklake_cleanup_old_files('lake', cleanup_all => true)")
    lake.execute("CALL ducklake_delete_orphaned_files('lake', cleanup_all => true)")
    assert one(counted) == (2000, 2, 6000)
    assert one("SELECT count(DISTINCT data_file) FROM ducklake_list_files('lake', 'events')") == 3
