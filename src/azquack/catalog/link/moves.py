"""All that a node is told of a table's rows in a snapshot comes from one state of the catalog, or it is told nothing.

DuckLake asks for the rows of a table in several questions, some of them late in a long scan: its files, the small
deletions, the rows that the catalog keeps. Over Quack no transaction holds them together. A flush between two of them
has taken away the rows that the second asks for, and put them into a file that the first has not seen; a merge and a
rewrite do as much to small deletions. Expired snapshots take away files. So the link notes the newest snapshot as of
its first question about a table in a snapshot, and each later one fails when rows of the table have been moved since.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from azquack.patterns import re
from azquack.sql import literal

MOVED = (
    "Transaction conflict - rows of this table were put into other files while it was read, so what is read now does "
    "not fit to what was read before: roll back and run it again"
)
# The words of `ducklake_snapshot_changes` for what moves the rows of a table.
MOVING = ("inline_flush", "merge_adjacent", "rewrite_delete")
# Seconds after the last answer from which a read of the same snapshot begins anew, and subjects that are remembered. A
# question that follows later than that is compared with the beginning of its snapshot.
LONGEST = 3600.0
REMEMBERED = 1 << 14
_FILES = re.compile(r"\bducklake_data_file\b")
_ROWS = re.compile(r"\bducklake_(?:data_file\b|delete_file\b|inlined_(?:data|delete)_\d)")
_KEPT = re.compile(r"\bducklake_inlined_(?:data|delete)_(?P<table>\d++)")
_LISTED = re.compile(r"\btable_id ?= ?(?P<table>\d++)")
_SCHEMA = re.compile(r'\bFROM (?P<schema>"main"\.)?+ducklake_')
_SNAPSHOT = re.compile(
    r"\b(?P<first>\d++) >= (?:\w++\.)?+begin_snapshot\b|\b(?:begin|end)_snapshot <= (?P<last>\d++)"
)


class Subject(NamedTuple):
    """The rows of a table in a snapshot."""

    table: int
    snapshot: int


class Moves:
    """Remembers since when a node has been told of each subject; times are seconds of its loop."""

    def __init__(self) -> None:
        self._since: OrderedDict[Subject, int] = OrderedDict()
        self._told: dict[Subject, float] = {}

    def since(self, subject: Subject) -> int | None:
        """The newest snapshot as of the first answer about `subject`; None where there was none yet."""
        return self._since.get(subject)

    def is_over(self, subject: Subject, now: float) -> bool:
        """Whether nobody was told of `subject` for so long that whoever asks now begins anew."""
        return now - self._told.get(subject, now) > LONGEST

    def begin(self, subject: Subject, newest: int) -> None:
        """The first question about `subject` is asked while the newest snapshot is `newest` or a later one."""
        self._since[subject] = newest
        if len(self._since) > REMEMBERED:
            self.end(next(iter(self._since)))

    def told(self, subject: Subject, now: float) -> None:
        """A question about `subject` was answered."""
        if subject in self._since:
            self._told[subject] = now

    def end(self, subject: Subject) -> None:
        """What was told of `subject` counts no longer."""
        self._since.pop(subject, None)
        self._told.pop(subject, None)


def lists_files(question: str) -> bool:
    """Whether `question` is the first one of a read: the others follow it, however late."""
    return _FILES.search(question) is not None


def subject_of(question: str) -> Subject | None:
    """What `question`, a READ of DuckLake, asks about; None when it is not about the rows of a table in a snapshot."""
    if not _ROWS.search(question):
        return None
    table = _KEPT.search(question) or _LISTED.search(question)
    snapshot = _SNAPSHOT.search(question)
    if table is None or snapshot is None:
        return None
    return Subject(int(table["table"]), int(snapshot["first"] or snapshot["last"]))


def newest_snapshot(question: str) -> str:
    """The question for the newest snapshot, of the catalog that `question` is about."""
    snapshots = f"{_schema(question)}ducklake_snapshot"
    return (
        f"SELECT snapshot_id, schema_version, next_catalog_id, next_file_id FROM {snapshots} "
        f"WHERE snapshot_id = (SELECT MAX(snapshot_id) FROM {snapshots})"
    )


def guarded(question: str, subject: Subject, since: int) -> str:
    """`question`, which fails when rows of `subject` were moved after snapshot `since`, or its own is expired."""
    prefix = _schema(question)
    made = """regexp_replace(changes_made, '"[^"]*"', '', 'g')"""
    moving = literal(f"\\b(?:{'|'.join(MOVING)}):{subject.table}\\b")
    # A branch of its own, since a condition on the question's rows is not looked at where it has none.
    return (
        f"SELECT * EXCLUDE (moved) FROM (FROM ({question.rstrip().rstrip(';')}\n) "
        "UNION ALL BY NAME SELECT true AS moved WHERE CASE "
        f"WHEN EXISTS (FROM {prefix}ducklake_snapshot_changes WHERE snapshot_id > {since} AND "
        f"regexp_matches({made}, {moving})) OR NOT EXISTS (FROM {prefix}ducklake_snapshot WHERE snapshot_id = "
        f"{subject.snapshot}) THEN error({literal(MOVED)}) ELSE false END)"
    )


def _schema(question: str) -> str:
    found = _SCHEMA.search(question)
    return (found["schema"] or "") if found else ""
