"""A lake that has grown: tables, snapshots, files."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from bench.client import Client, open_client
from bench.contenders import AzQuack, Contender, Stock
from bench.workloads.rest import memory
from bench.workloads.transfer import timed
from bench.workloads.workload import Figure, Figures, Measure, Workload, check

REPEATS = 5
META = "__ducklake_metadata_lake"
OPERATIONS = (
    ("SELECT", "SELECT count(*) FROM t WHERE i = 5"),
    ("INSERT", "INSERT INTO t VALUES (-{n})"),
    ("UPDATE", "UPDATE t SET i = i - 1000000 WHERE i = -{n}"),
    ("CREATE TABLE", "CREATE TABLE made_{n} (i BIGINT)"),
    ("SELECT after CREATE TABLE", "SELECT count(*) FROM made_{n}"),
    ("DROP TABLE", "DROP TABLE made_{n}"),
)


@dataclass(frozen=True)
class Lake:
    """How large a lake is."""

    name: str
    tables: int = 10
    snapshots: int = 10
    files: int = 100


LAKES = (
    Lake("10 tables, 100 files"),
    Lake("1,000 tables", tables=1_000),
    Lake("10,000 tables", tables=10_000),
    Lake("10,000 snapshots", snapshots=10_000),
    Lake("50,000 files", files=50_000),
)


class Growth(Workload):
    """One client."""

    name = "growth"
    title = "Growth"
    plots = ()
    about = (
        "The metadata of a grown lake is written straight into the catalog: clones of a table, of a snapshot, and of "
        "a data file whose statistics say that it holds other rows. Each operation 5 times a round after one that is "
        "not counted, the median; SELECT reads one of the files, the first SELECT is that of a contender "
        "that was just started."
    )
    contenders = ("limit", "stock", "azquack", "postgres")

    @contextmanager
    def measured(self, contender: Contender) -> Iterator[Measure]:
        grown: list[tuple[Lake, Contender]] = []
        lakes = LAKES if not self.size.quick else (LAKES[0], Lake("1,000 files", files=1_000))
        try:
            for number, lake in enumerate(lakes):
                each = type(contender)(contender.directory / str(number))
                grown.append((lake, each))
                each.prepare()
                each.make(*fill(lake))
            numbers = iter(range(1, 1_000_000))
            yield lambda: self._measure(grown, numbers)
        finally:
            for _, each in grown:
                each.destroy()

    def _measure(self, grown: list[tuple[Lake, Contender]], numbers: Iterator[int]) -> Figures:
        figures: dict[str, Figure] = {}
        for lake, contender in grown:
            contender.start()
            try:
                client = open_client(contender.address())
                figures |= {
                    f"{name}, {lake.name}": each for name, each in _operations(client, numbers).items()
                }
                client.close()
                if isinstance(contender, AzQuack | Stock):
                    processes = contender.processes().items()
                    for role in ("catalog", "query"):
                        total = sum(memory(each) for name, each in processes if name.startswith(role))
                        figures[f"memory of the {role}, {lake.name}"] = Figure(total, "MB")
            finally:
                contender.stop()
        return figures


def _operations(client: Client, numbers: Iterator[int]) -> Figures:
    first = "SELECT count(*) FROM t WHERE i = 5"
    found: list[tuple[object, ...]] = []
    figures = {"first SELECT": Figure(timed(lambda: found.extend(client.rows(first))) * 1000, "ms")}
    check("the rows of the first file", found, [(1,)])
    chosen = [next(numbers) for _ in range(REPEATS + 1)]
    for name, sql in OPERATIONS:
        times = [timed(lambda sql=sql, n=n: client.rows(sql.replace("{n}", str(n)))) for n in chosen]  # type: ignore[misc]
        figures[name] = Figure(statistics.median(times[1:]) * 1000, "ms")
    return figures


def fill(lake: Lake) -> tuple[str, ...]:
    """The statements that make `lake`: the table `t`, and clones in the metadata."""
    rows = lake.files * 1000
    last = "WHERE snapshot_id = (SELECT max(snapshot_id) FROM {table})"
    return (
        "CREATE TABLE t AS SELECT range AS i FROM range(1000)",
        clones("data_file", lake.files, "data_file_id + n AS data_file_id, n * 1000 AS row_id_start"),
        clones(
            "file_column_stats",
            lake.files,
            "data_file_id + n AS data_file_id, (n * 1000)::VARCHAR AS min_value, "
            "(n * 1000 + 999)::VARCHAR AS max_value",
        ),
        f"UPDATE {META}.ducklake_table_stats SET record_count = {rows}, next_row_id = {rows}",
        f"UPDATE {META}.ducklake_table_column_stats SET max_value = '{rows - 1}'",
        clones("column", lake.tables, "table_id + n AS table_id"),
        clones(
            "table",
            lake.tables,
            "table_id + n AS table_id, uuid() AS table_uuid, 'clone_' || n AS table_name, "
            "'clone_' || n || '/' AS path",
        ),
        clones(
            "snapshot",
            lake.snapshots,
            f"snapshot_id + n AS snapshot_id, {lake.tables + 10} AS next_catalog_id, "
            f"{lake.files + 10} AS next_file_id",
            last,
        ),
        clones(
            "snapshot_changes",
            lake.snapshots,
            "snapshot_id + n AS snapshot_id, 'altered_table:1' AS changes_made",
            last,
        ),
    )


def clones(table: str, many: int, columns: str, where: str = "") -> str:
    """The statement that puts `many` - 1 clones of the rows of a DuckLake table beside them, n counting up."""
    name = f"{META}.ducklake_{table}"
    source = f"SELECT *, unnest(range(1, {many})) AS n FROM {name} {where.format(table=name)}"
    return f"INSERT INTO {name} SELECT * EXCLUDE (n) REPLACE ({columns}) FROM ({source})"
