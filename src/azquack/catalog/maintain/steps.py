"""The steps of a maintenance.

The calls are DuckLake's: https://ducklake.select/docs/stable/duckdb/maintenance/recommended_maintenance
What concerns tables goes table by table, so that one that fails does not stop the rest.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial

import duckdb

from azquack.catalog.maintain.bounds import Bounds
from azquack.catalog.maintain.deletion import Deletion
from azquack.catalog.maintain.lake import NAME
from azquack.errors import AzQuackError, BackupError
from azquack.sql import first_line, identifier, literal

# A merge and a writer's commit can meet; the merge gives way and comes again.
TRIES = 5
# A copy of the catalog, attached under this name, from which a dry run tells what would be done: DuckLake's
# own dry runs do not cover it, and a Quack catalog does not join two of its tables.
PLANNED = "planned"
# What the link says once it has waited long enough for the catalog.
_AWAY = (
    "The catalog did not come back",
    "Could not connect",
    "Could not establish",
    "Failed to send message",
)


@dataclass(frozen=True, slots=True)
class Options:
    """`deleted_share` is the share of deleted rows from which a file is written anew.

    A `dry_run` reads a copy of the catalog, which is attached as `PLANNED`.
    """

    bounds: Bounds
    dry_run: bool = False
    deleted_share: float = 0.25


@dataclass(frozen=True, slots=True)
class Step:
    """One step on one table, or on the whole lake (`table` is '')."""

    name: str
    table: str
    run: Callable[[], str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step did ('' is nothing to do), or the problem that stopped it."""

    step: str
    table: str
    done: str = ""
    problem: str = ""


class Maintenance:
    """The maintenance of the lake that is attached to `connection` as `lake`.

    It deletes files by `deletion` only.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        options: Options,
        deletion: Deletion,
    ) -> None:
        self._connection = connection
        self._options = options
        self._deletion = deletion
        self._protection = deletion.protection

    def steps(self) -> list[Step]:
        """Every step, in order: what is merged first needs no space that is freed last."""
        tables = self._tables()
        steps = [Step("flush", f"{s}.{t}", partial(self._flush, s, t)) for s, t in tables]
        steps.append(Step("expire", "", self._expire))
        steps += [Step("rewrite", f"{s}.{t}", partial(self._rewrite, s, t)) for s, t in tables]
        steps += [Step("merge", f"{s}.{t}", partial(self._merge, s, t)) for s, t in tables]
        steps += [Step("clean up", "", self._clean_up), Step("orphans", "", self._orphans)]
        return steps

    def run(self, steps: list[Step]) -> Iterator[Outcome]:
        """Do them; each outcome as it comes. Nothing is raised: what fails says so."""
        for step in steps:
            try:
                yield Outcome(step.name, step.table, done=step.run())
            except (duckdb.Error, AzQuackError) as error:
                yield Outcome(step.name, step.table, problem=first_line(error))
                if any(sign in str(error) for sign in _AWAY):
                    # Each further step would wait as long for it, and fail as well.
                    yield Outcome("the rest", "", problem="not done: the catalog is gone")
                    return

    def _tables(self) -> list[tuple[str, str]]:
        rows = self._connection.execute(
            "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? ORDER BY ALL", [NAME]
        ).fetchall()
        return [(str(schema), str(table)) for schema, table in rows]

    def _flush(self, schema: str, table: str) -> str:
        if self._options.dry_run:
            rows = self._inlined(schema, table)
        else:
            rows = self._sum(
                "rows_flushed",
                f"ducklake_flush_inlined_data({literal(NAME)}, schema_name => {literal(schema)}, "
                f"table_name => {literal(table)})",
            )
        return f"{rows:,} inlined rows to Parquet" if rows else ""

    def _inlined(self, schema: str, table: str) -> int:
        names = self._connection.execute(
            f"SELECT i.table_name FROM {PLANNED}.ducklake_inlined_data_tables AS i "
            f"JOIN {PLANNED}.ducklake_table AS t USING (table_id) "
            f"JOIN {PLANNED}.ducklake_schema AS s USING (schema_id) "
            "WHERE s.schema_name = ? AND t.table_name = ? AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL",
            [schema, table],
        ).fetchall()
        return sum(
            self._sum("1", f"{PLANNED}.{identifier(str(name))} WHERE end_snapshot IS NULL")
            for (name,) in names
        )

    def _expire(self) -> str:
        older = self._option("older_than", self._options.bounds.snapshots)
        count = self._sum("1", f"ducklake_expire_snapshots({literal(NAME)}, {older})")
        return f"{count:,} snapshots" if count else ""

    def _rewrite(self, schema: str, table: str) -> str:
        share = self._options.deleted_share
        if self._options.dry_run:
            count = self._sum(
                "1",
                f"{PLANNED}.ducklake_delete_file AS d JOIN {PLANNED}.ducklake_data_file AS f "
                f"USING (data_file_id) {self._of(schema, table)} AND f.end_snapshot IS NULL "
                f"AND d.end_snapshot IS NULL AND d.delete_count >= {share} * f.record_count",
            )
            return f"{count:,} files with deleted rows" if count else ""
        done = self._compact("rewrite_data_files", schema, table, f", delete_threshold => {share}")
        return f"{done[0]:,} files with deleted rows to {done[1]:,}" if done else ""

    def _merge(self, schema: str, table: str) -> str:
        if self._options.dry_run:
            count = self._sum(
                "1", f"{PLANNED}.ducklake_data_file AS f {self._of(schema, table)} AND f.end_snapshot IS NULL"
            )
            return f"at most {count:,} files" if count > 1 else ""
        done = self._compact("merge_adjacent_files", schema, table, "")
        return f"{done[0]:,} files to {done[1]:,}" if done else ""

    def _clean_up(self) -> str:
        if self._protection.reason:
            return self._kept()
        found = self._deletion.old_files(self._options.bounds.files)
        if not self._options.dry_run:
            self._deletion.delete(list(found))
            self._deletion.forget(list(found.values()))
        return f"{len(found):,} files that no snapshot needs" if found else ""

    def _orphans(self) -> str:
        if self._protection.reason:
            return self._kept()
        if self._protection.orphans_reason:
            return self._protection.orphans_reason
        found = self._deletion.orphans(self._options.bounds.orphans)
        if not self._options.dry_run:
            self._deletion.delete(found)
        return f"{len(found):,} files that nobody names" if found else ""

    def _kept(self) -> str:
        if self._protection.wrong:
            raise BackupError(f"nothing is deleted: {self._protection.reason}")
        return self._protection.reason

    def _option(self, name: str, value: datetime) -> str:
        dry = "true" if self._options.dry_run else "false"
        return f"dry_run => {dry}, {name} => {literal(value.isoformat())}::TIMESTAMPTZ"

    def _of(self, schema: str, table: str) -> str:
        return (
            f"WHERE f.table_id = (SELECT t.table_id FROM {PLANNED}.ducklake_table AS t "
            f"JOIN {PLANNED}.ducklake_schema AS s USING (schema_id) WHERE s.schema_name = {literal(schema)} "
            f"AND t.table_name = {literal(table)} AND t.end_snapshot IS NULL AND s.end_snapshot IS NULL)"
        )

    def _compact(self, function: str, schema: str, table: str, more: str) -> tuple[int, int] | None:
        """Files read and files written, or None when there was nothing to do."""
        call = f"ducklake_{function}({literal(NAME)}, {literal(table)}, schema => {literal(schema)}{more})"
        row = self._one(f"SELECT sum(files_processed), sum(files_created) FROM {call}")
        return (int(row[0]), int(row[1])) if row[0] else None

    def _sum(self, expression: str, source: str) -> int:
        return int(self._one(f"SELECT coalesce(sum({expression}), 0) FROM {source}")[0])

    def _one(self, statement: str) -> tuple[int, ...]:
        for attempt in range(TRIES):
            try:
                # All rows: a call whose result is not read to its end is rolled back.
                return self._connection.execute(statement).fetchall()[0]
            except duckdb.Error as error:
                if "conflict" not in str(error).lower() or attempt + 1 == TRIES:
                    raise
                time.sleep(0.2 * 2**attempt * random.uniform(0.5, 1.5))  # noqa: S311  jitter, not a secret
        raise AssertionError("the last try returns or raises")
