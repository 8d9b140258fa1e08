"""Schedules: statements of several sessions on one table, in an order of the generator's choice, beside a model.

The model is snapshot isolation in its plainest form. A session sees the rows that were committed when it began, and
what it did itself. At COMMIT the difference is made to the rows that are there by then; when one that it took away
is not there any more, the COMMIT must have been refused.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import duckdb

from azquack.catalog.link.moves import MOVED
from azquack.catalog.link.questions import UNCOUNTED
from azquack.catalog.link.statements import MIXED

SESSIONS = 3
FIRST_ROWS = 60
# Above this many rows of one file a deletion is a delete file, up to it rows in the catalog (DuckLake's default).
INLINED = 10

Rows = Counter[tuple[int, int, int]]


class Wrong(AssertionError):
    """The lake and the model differ."""


@dataclass(frozen=True)
class Step:
    """One statement of one session, on the keys from `low` up to, not including, `high`."""

    session: int
    kind: str
    low: int = 0
    high: int = 0

    def __str__(self) -> str:
        return f"Step({self.session}, {self.kind!r}, {self.low}, {self.high})"


STATEMENTS = {
    "begin": "BEGIN",
    "commit": "COMMIT",
    "rollback": "ROLLBACK",
    "insert": "INSERT INTO {t} (k, v, g) SELECT range, 0, range % 2 FROM range({low}, {high})",
    "delete": "DELETE FROM {t} WHERE k >= {low} AND k < {high}",
    "update": "UPDATE {t} SET v = v + 1 WHERE k >= {low} AND k < {high}",
    "merge_into": "MERGE INTO {t} USING (SELECT range::INTEGER AS k FROM range({low}, {high})) AS n ON {t}.k = n.k "
    "WHEN MATCHED THEN UPDATE SET v = {t}.v + 1000 WHEN NOT MATCHED THEN INSERT (k, v, g) VALUES (n.k, 5, 0)",
    "truncate": "TRUNCATE {t}",
    "drop": "DROP TABLE {t}",
    "flush": "CALL ducklake_flush_inlined_data('lake', schema_name => 'main', table_name => '{t}')",
    "merge": "CALL ducklake_merge_adjacent_files('lake', '{t}')",
    "rewrite": "CALL ducklake_rewrite_data_files('lake', '{t}', delete_threshold => 0.0)",
    "expire": "CALL ducklake_expire_snapshots('lake', older_than => now() + INTERVAL 1 DAY)",
    "add_column": "ALTER TABLE {t} ADD COLUMN c{low} INTEGER DEFAULT 7",
    "widen": "ALTER TABLE {t} ALTER v TYPE BIGINT",
    "partition": "ALTER TABLE {t} SET PARTITIONED BY (g)",
    "unpartition": "ALTER TABLE {t} RESET PARTITIONED BY",
    "sort": "ALTER TABLE {t} SET SORTED BY (v ASC)",
    "comment": "COMMENT ON TABLE {t} IS 'c{low}'",
}
WEIGHTS = {
    "begin": 5, "commit": 6, "rollback": 1,
    "insert": 3, "delete": 7, "update": 5, "merge_into": 2, "truncate": 0.4, "drop": 0.2,
    "flush": 3, "merge": 2, "rewrite": 2, "expire": 0.5,
    "add_column": 0.4, "widen": 0.2, "partition": 0.3, "unpartition": 0.2, "sort": 0.2, "comment": 0.2,
}  # fmt: skip
# What may be refused besides a conflict; each leaves the lake as it was.
REFUSALS = (
    "conflict",
    "was updated multiple times",
    "does not exist",
    "not both",
    "ALTER on a table with transaction-local inlined data",
    # A rewrite where small inserts are older than a column: known-limits.md.
    "Failed to read inlined-data aggregates",
)

# A fault of DuckLake 1.5.5 that ends the process: known-limits.md.
FATAL = (
    [Step(0, "delete", 9, 34), Step(0, "begin"), Step(0, "flush"), Step(0, "merge_into", 6, 66)],
    "Attempting to get the index of an optional_idx that is not set",
)

# What puts rows into other files, in snapshots that are over as well.
MOVES = frozenset({"flush", "merge", "rewrite"})


def schedule(seed: int) -> list[Step]:
    """The schedule of `seed`: always the same one."""
    choose = random.Random(seed)
    steps: list[Step] = []
    fresh = 1000
    sessions = choose.choice((2, 2, SESSIONS))
    begun: set[int] = set()
    for _ in range(choose.randrange(6, 18)):
        kind = choose.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        low = choose.randrange(FIRST_ROWS)
        high = low + choose.choice((1, 1, 2, 5, INLINED + 1, 25, FIRST_ROWS))
        if kind in ("insert", "add_column", "comment"):
            low, high = fresh, fresh + choose.choice((1, 3, INLINED + 2))
            fresh = high
        step = Step(choose.randrange(sessions), kind, low, high)
        if kind == "begin":
            begun.add(step.session)
        elif kind in ("commit", "rollback"):
            begun.discard(step.session)
        # What follows a flush in its transaction may end the process (`FATAL`), and is refused in any case.
        if kind != "flush" or step.session not in begun:
            steps.append(step)
    return steps


def _after(step: Step, rows: Rows | None) -> Rows | None:
    """The rows when `step` has been run on `rows`; None: there is no table."""
    if rows is None or step.kind == "drop":
        return None
    keys = range(step.low, step.high)
    match step.kind:
        case "insert":
            return rows + Counter((key, 0, key % 2) for key in keys)
        case "delete":
            return Counter({row: times for row, times in rows.items() if row[0] not in keys})
        case "truncate":
            return Counter()
        case "update" | "merge_into":
            more = 1 if step.kind == "update" else 1000
            changed: Rows = Counter()
            for (key, value, group), times in rows.items():
                changed[key, value + more if key in keys else value, group] += times
            if step.kind == "merge_into":
                changed.update((key, 5, 0) for key in set(keys) - {row[0] for row in rows})
            return changed
        case _:
            return rows


@dataclass
class View:
    """What a session sees in its transaction, what it saw at first, and whether it wrote."""

    base: Rows | None
    rows: Rows | None
    uncertain: bool = False
    """What it sees is not promised: it flushed, and sees rows twice, or others moved rows that it had changed, and it
    sees them unchanged. Its COMMIT must be refused, or right."""
    kinds: set[str] = field(default_factory=set)


class Run:
    """One schedule, on the table `table` of the lake that all `sessions` are in; `after` follows every step."""

    def __init__(
        self, sessions: list[duckdb.DuckDBPyConnection], table: str, after: Callable[[], None] | None = None
    ) -> None:
        self._sessions = sessions
        self._table = table
        self._after = after
        self._views: dict[int, View] = {}
        self._committed: Rows | None = Counter((key, 0, key % 2) for key in range(FIRST_ROWS))
        self.refused = 0

    def run(self, steps: Iterable[Step]) -> None:
        """Raises `Wrong` at the first difference. The table stays."""
        first = self._sessions[0]
        first.execute(f"CREATE TABLE {self._table} (k INTEGER, v INTEGER, g INTEGER)")
        # Two files, so that there is something to merge.
        for low in (0, FIRST_ROWS // 2):
            rows = f"SELECT range, 0, range % 2 FROM range({low}, {low + FIRST_ROWS // 2})"
            first.execute(f"INSERT INTO {self._table} {rows}")
        try:
            for step in steps:
                self._do(step)
                for number in sorted({step.session, *self._views}):
                    self._compare(number, step)
                if self._after is not None:
                    self._after()
            for number in sorted(self._views):
                self._do(Step(number, "commit"))
            self._compare(0, "the last commit")
            # Puts together what was kept in several places.
            self._execute(Step(0, "flush"))
            self._compare(0, "a last flush")
        finally:
            for number in self._views:
                self._sessions[number].execute("ROLLBACK")

    def _execute(self, step: Step) -> bool:
        text = STATEMENTS[step.kind].format(t=self._table, low=step.low, high=step.high)
        try:
            self._sessions[step.session].execute(text).fetchall()
        except duckdb.Error as error:
            if not any(sign in str(error) for sign in (MIXED, UNCOUNTED, MOVED, *REFUSALS)):
                raise Wrong(f"{step}: {error}") from None
            self.refused += 1
            return False
        return True

    def _do(self, step: Step) -> None:
        view = self._views.get(step.session)
        if step.kind == "begin":
            if view is None and self._committed is not None:
                self._execute(step)
                # DuckLake's transaction begins with its first look at the lake.
                self._sessions[step.session].execute(f"FROM {self._table} LIMIT 1").fetchall()
                self._views[step.session] = View(self._committed, self._committed)
        elif step.kind in ("commit", "rollback"):
            if view is not None:
                del self._views[step.session]
                if self._execute(step) and step.kind == "commit":
                    self._apply(view, step)
                    self._moved(*view.kinds)
        else:
            alone = view is None
            view = view or View(self._committed, self._committed)
            if self._execute(step):
                view.rows = _after(step, view.rows)
                view.uncertain = view.uncertain or step.kind == "flush"
                if alone:
                    self._apply(view, step)
                    self._moved(step.kind)
                else:
                    view.kinds.add(step.kind)
            elif not alone:
                del self._views[step.session]
                self._sessions[step.session].execute("ROLLBACK")

    def _apply(self, view: View, step: Step) -> None:
        if view.rows == view.base:
            return
        if self._committed is None or view.base is None:
            raise Wrong(f"{step}: acknowledged in a table that had been dropped")
        if view.rows is None:
            self._committed = None
            return
        taken, put = view.base - view.rows, view.rows - view.base
        if twice := taken - self._committed:
            raise Wrong(f"{step}: acknowledged, though others changed the same rows: {_some(twice)}")
        self._committed = self._committed - taken + put

    def _moved(self, *kinds: str) -> None:
        if not MOVES.isdisjoint(kinds):
            for view in self._views.values():
                view.uncertain = view.uncertain or view.rows != view.base

    def _compare(self, number: int, after: object) -> None:
        view = self._views.get(number)
        expected = view.rows if view is not None else self._committed
        if expected is None or (view is not None and view.uncertain):
            return
        session = self._sessions[number]
        rows = self._seen(session, "k, v, g")
        found: Rows = expected if rows is None else Counter(rows)
        counts = None if rows is None else self._seen(session, "count(*)")
        count = None if counts is None else int(counts[0][0])
        if count is None and view is not None:
            # The transaction is at its end with that.
            session.execute("ROLLBACK")
            del self._views[number]
        if found != expected:
            raise Wrong(
                f"after {after} session {number} sees what it should not: {_some(found - expected)}, "
                f"and misses {_some(expected - found)}"
            )
        if count not in (None, expected.total()):
            raise Wrong(f"after {after} session {number} counts {count} of {expected.total()} rows")

    def _seen(self, session: duckdb.DuckDBPyConnection, what: str) -> list[tuple[Any, ...]] | None:
        """What `session` reads; None where its transaction is told that the rows have moved since it began."""
        try:
            return session.execute(f"SELECT {what} FROM {self._table}").fetchall()
        except duckdb.Error as error:
            if UNCOUNTED in str(error) or MOVED in str(error):
                return None
            raise


def _some(rows: Rows) -> str:
    return f"{rows.total()} rows {sorted(rows.elements())[:3]}"


def shrunk(steps: list[Step], fails: Callable[[list[Step]], bool]) -> list[Step]:
    """As few of `steps` as still fail: each is left out in turn, over and over."""
    found = True
    while found:
        found = False
        for number in reversed(range(len(steps))):
            fewer = steps[:number] + steps[number + 1 :]
            if fails(fewer):
                steps, found = fewer, True
    return steps
