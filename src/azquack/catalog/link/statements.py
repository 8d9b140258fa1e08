"""What DuckLake sends to its catalog, told apart by its text, and the text that runs in its place.

DuckLake 1.5.5 (`d8a1881e`) writes a commit as one batch that begins with the row of its snapshot and ends
with the row of its changes, and sends no BEGIN: the server would run and sync it statement by statement, and
whoever reads in between sees half of it.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import Enum

from azquack.catalog.link.quoted import without_names, without_quoted
from azquack.patterns import re
from azquack.sql import literal


class Kind(Enum):
    """What a statement is for the link."""

    SNAPSHOT = "snapshot"
    """The question for the newest snapshot, which opens every transaction of DuckLake."""
    READ = "read"
    """Changes nothing, so it may be asked twice."""
    COMMIT = "commit"
    """A batch that makes a snapshot."""
    EAGER = "eager"
    """A deletion that DuckLake sends ahead of the commit it belongs to."""
    SUPERSEDED = "superseded"
    """The end of empty tables for inlined rows that an ALTER has put others in place of."""
    WRITE = "write"
    """Anything else that may change the catalog."""
    TRANSACTION = "transaction"
    """BEGIN, COMMIT, ROLLBACK and what else speaks to the session and not to the data."""


_COMMIT = re.compile(r'\s*INSERT INTO (?P<schema>"(?:[^"]|"")+"\.)?ducklake_snapshot VALUES \((?P<id>\d+),')
_SNAPSHOT = re.compile(
    r"\s*SELECT snapshot_id, schema_version, next_catalog_id, next_file_id "
    r'FROM (?:"(?:[^"]|"")+"\.)?ducklake_snapshot\s+WHERE snapshot_id = \(SELECT MAX\(snapshot_id\)'
)
_READ = re.compile(r"\s*(?:SELECT|FROM|DESCRIBE|SHOW|EXPLAIN)\b", re.IGNORECASE)
_WITH = re.compile(r"\s*WITH\b", re.IGNORECASE)
_WRITING = re.compile(r"\b(?:INSERT|UPDATE|DELETE|MERGE|CREATE|DROP|ALTER|CALL|COPY|ATTACH)\b", re.IGNORECASE)
_CHANGING = re.compile(r"\s*(?:INSERT|UPDATE|DELETE|CREATE|DROP|ALTER)\b", re.IGNORECASE)
_SESSION = re.compile(
    r"\s*(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT|SET|RESET|USE|PRAGMA|PREPARE|EXECUTE|DEALLOCATE)\b",
    re.IGNORECASE,
)
_EAGER = re.compile(
    r'\s*DELETE FROM (?:"(?:[^"]|"")+"\.)?(?:'
    r"ducklake_inlined_data_\d+_\d+ WHERE begin_snapshot <= \d+|"
    r"ducklake_inlined_delete_(?P<table>\d+))\s*;?\s*"
)
_SUPERSEDED = re.compile(
    r'(?:\s*DELETE FROM (?:"(?:[^"]|"")+"\.)?ducklake_inlined_data_tables WHERE table_id=\d+ AND schema_version=\d+;'
    r'\s*DROP TABLE IF EXISTS (?:"(?:[^"]|"")+"\.)?"?ducklake_inlined_data_\d+_\d+"?;)+\s*'
)
_DELETE_FILE = re.compile(
    r"\(\d+, (?P<table>\d+), \d+, NULL,\s+(?P<file>\d+), '(?:[^']|'')*-delete\.[a-z]+', "
    r"(?:true|false), '\w+', \d+, \d+, \d+, (?:NULL|'[^']*'), (?P<newest>\d+)\)"
)
_OF_SNAPSHOT = re.compile(
    r"\bducklake_(?:schema|table|view|macro|column|table_stats|data_file|partition_info|sort_info|"
    r"inlined_data_tables|schema_versions|"
    r"inlined_data_\d+_\d+(?: inlined_data)?\s+WHERE \d+ >= begin_snapshot|inlined_delete_\d+ WHERE begin_snapshot)\b"
)
_OF_MORE = re.compile(
    r"\bducklake_(?:snapshot|snapshot_changes|metadata|files_scheduled_for_deletion)\b|"
    r"\bduckdb_|\binformation_schema\b|\b(?:random|now|nextval)\(",
    re.IGNORECASE,
)
_TABLE = re.compile(r"\bducklake_\w+")
# The list of a table's files, up to where the conditions on their statistics begin.
_FILES = re.compile(
    r"(?:\s*WITH .+?\n\)\s*)?(?P<list>\s*SELECT data\.data_file_id, .+?\nWHERE data\.table_id=\d+ AND \d+ >= "
    r"data\.begin_snapshot AND \(\d+ < data\.end_snapshot OR data\.end_snapshot IS NULL\)\s*\n)"
    r"AND \(data\.data_file_id NOT IN \(SELECT data_file_id FROM col_\d+_stats\)",
    re.DOTALL,
)
PRUNING_CHARACTERS = 128 << 10
"""Length of a question for a table's files from which its conditions cost more than they save."""
_NO_EXTRA_INFO = re.compile(
    r"(?P<row>ducklake_snapshot_changes VALUES \(\d+, .*, )NULL(?P<end>\);?\s*)\Z", re.DOTALL
)

_FLUSH = re.compile(r"DELETE FROM \S*ducklake_inlined_data_\d+_\d+ WHERE begin_snapshot <= \d+")
_CHANGES = re.compile(r"ducklake_snapshot_changes VALUES \(\d+, ")
_LITERAL = re.compile(r"'((?:[^']|'')*+)'")
_NAMES = re.compile(r'"[^"]*"')
MIXED = (
    "ducklake_flush_inlined_data needs a transaction of its own: what else this one did to the table may have met rows "
    "twice, so nothing of it was kept"
)


RETYPED = (
    "ALTER COLUMN … TYPE needs a transaction of its own: what was written in the same one would hide the rows from "
    "before, so nothing of it was kept"
)
_FILE_ID = re.compile(
    r'(?P<row>\A\s*INSERT INTO (?:"main"\.)?ducklake_snapshot VALUES \(\d+, NOW\(\), \d+, \d+, )(?P<file>\d+)\)'
)
_DROPPED_COLUMNS = re.compile(r"dropped_cols\(tid, cid\) AS \(\s*VALUES (?P<pairs>[\d(), ]++)\n\)")
_STATISTICS = re.compile(
    r"new_values\(tid, cid, [a-z_, ]++\) AS \(\s*VALUES (?P<rows>[^;]*?)\)\s*UPDATE \S*ducklake_table_column_stats"
)
_PAIR = re.compile(r"\((\d+), (\d+)\)")
_UNKNOWN = re.compile(r"\((\d+), (\d+), (?:true|false|NULL), (?:true|false|NULL), NULL, NULL,")


def kind_of(sql: str) -> Kind:
    """What `sql` is. What is not known for sure to be harmless counts as a write."""
    if _COMMIT.match(sql):
        return Kind.COMMIT
    if _SNAPSHOT.match(sql):
        return Kind.SNAPSHOT
    if _EAGER.fullmatch(sql):
        return Kind.EAGER
    if _SUPERSEDED.fullmatch(sql):
        return Kind.SUPERSEDED
    if _SESSION.match(sql):
        return Kind.TRANSACTION
    if _READ.match(sql) or _WITH.match(sql):
        return Kind.WRITE if _several(sql) or _WRITING.search(sql) else Kind.READ
    return Kind.WRITE


def _several(sql: str) -> bool:
    return ";" in sql.rstrip("; \n\r\t")


def begins_transaction(sql: str) -> bool:
    """Whether a TRANSACTION statement leaves the session in a transaction."""
    return re.match(r"\s*(?:BEGIN|START)\b", sql, re.IGNORECASE) is not None


def ends_transaction(sql: str) -> bool:
    """Whether a TRANSACTION statement ends the session's transaction."""
    return re.match(r"\s*(?:COMMIT|END|ROLLBACK|ABORT)\b", sql, re.IGNORECASE) is not None


def snapshot_of(commit: str) -> int:
    """The id of the snapshot that a COMMIT makes."""
    match = _COMMIT.match(commit)
    if match is None:
        raise ValueError("no commit of DuckLake")
    return int(match["id"])


def schema_of(commit: str) -> str:
    """What stands before the names of DuckLake's tables in a COMMIT: `"main".`, or nothing."""
    match = _COMMIT.match(commit)
    return (match["schema"] or "") if match else ""


def is_of_snapshot(read: str) -> bool:
    """Whether the answer to a READ can change with a new snapshot only, and DuckLake has asked for it before.

    Only what DuckLake is known to read in a transaction counts. Options, the files to delete and the list of
    snapshots change without a snapshot; the count of a table of inlined rows, which decides whether the table
    is dropped, is asked outside a transaction.
    """
    return _OF_SNAPSHOT.search(read) is not None and _OF_MORE.search(read) is None


def tables_of(text: str) -> frozenset[str]:
    """Every table of DuckLake that `text` may read or change; names in its literals count as well."""
    return frozenset(_TABLE.findall(text))


def without_pruning(read: str) -> str:
    """A READ that asks for a table's files, without the conditions on their statistics if these are very long.

    They only spare the node files that hold no matching row, which it finds out by itself. DuckDB takes time that
    grows with the square of their number: 3,000 `AND i <> n` kept the catalog busy for longer than any time-out.
    """
    if len(read) > PRUNING_CHARACTERS and (match := _FILES.match(read)):
        return match["list"]
    return read


def is_batch(write: str) -> bool:
    """Whether a WRITE or COMMIT is several statements, as far as its text can tell."""
    return _several(write) and _CHANGING.match(write) is not None


def atomic(batch: str) -> str:
    """`batch` as one transaction, in one request."""
    return f"BEGIN;{batch}\n;COMMIT"


def marked(commit: str, mark: str) -> str | None:
    """`commit` with `mark` in the snapshot's `commit_extra_info`; None when the user put something there."""
    found, times = _NO_EXTRA_INFO.subn(rf"\g<row>'{mark}'\g<end>", commit)
    return found if times else None


def find_mark(commit: str, mark: str) -> str:
    """The question whether the commit with `mark` was applied: one VARCHAR, 'yes' or 'no'."""
    return (
        "SELECT CASE WHEN count(*) > 0 THEN 'yes' ELSE 'no' END AS applied "
        f"FROM {schema_of(commit)}ducklake_snapshot_changes "
        f"WHERE snapshot_id = {snapshot_of(commit)} AND commit_extra_info = '{mark}'"
    )


def duplicate(snapshot: int) -> str:
    """DuckDB's own sentence for a snapshot that is taken, at which DuckLake starts its commit over."""
    return f'Constraint Error: Duplicate key "snapshot_id: {snapshot}" violates primary key constraint.'


def is_duplicate(error: str) -> bool:
    """Whether the catalog refused a commit because its snapshot is taken."""
    return "violates primary key constraint" in error


def counted(eager: str) -> str:
    """The count of the rows that the EAGER statement `eager` would delete: the same shape of answer.

    `ducklake_flush_inlined_data` deletes before the batch that puts files in the rows' place. Over
    PostgreSQL a transaction holds the two together; over Quack nothing does: readers miss the rows in
    between, and a commit that fails has lost them. The batch repeats the deletion of inlined rows by itself;
    for inlined deletes there is `with_withheld`.
    """
    return re.sub(r"(?<!\s)\s*+DELETE FROM", 'SELECT count(*) AS "Count" FROM', eager, count=1)


def withheld_table(eager: str) -> int | None:
    """The lake's table whose inlined deletes the EAGER statement would delete; None for inlined rows."""
    match = _EAGER.fullmatch(eager)
    return int(match["table"]) if match and match["table"] else None


def with_withheld(commit: str, tables: Collection[int]) -> str:
    """`commit`, which also deletes the inlined deletes that its delete files replace, for those `tables`.

    The delete file of a flush holds all deletes of its data file up to the snapshot in its last column,
    `partial_max`. That snapshot is older than the commit; in what a DELETE or a merge writes it is not.
    """
    match = _COMMIT.match(commit)
    if not tables or match is None:
        return commit
    extra = [
        f"DELETE FROM {match['schema'] or ''}ducklake_inlined_delete_{row['table']} "
        f"WHERE file_id = {row['file']} AND begin_snapshot <= {row['newest']};"
        for row in _DELETE_FILE.finditer(without_names(commit))
        if int(row["table"]) in tables and int(row["newest"]) < int(match["id"])
    ]
    return "\n".join([f"{commit.rstrip().rstrip(';')};", *extra]) if extra else commit


def with_fresh_statistics(commit: str) -> str:
    """A COMMIT that alters a table, so that every node reads the table's statistics anew.

    DuckLake keeps them by `next_file_id`, which no ALTER moves on. Of a column that has another type since, the next
    write made them unknown, the one after it those of its own rows alone, and every filter left the older rows out.
    """
    if "altered_table" not in commit or "altered_table" not in changes_of(commit):
        return commit
    return _FILE_ID.sub(lambda found: f"{found['row']}{int(found['file']) + 1})", commit, count=1)


def is_retyped(commit: str) -> bool:
    """Whether a COMMIT changes a column and makes its statistics unknown, as rows in one transaction with it do."""
    if "dropped_cols" not in commit or "new_values" not in commit:
        return False
    bare = without_quoted(commit)
    columns, written = _DROPPED_COLUMNS.search(bare), _STATISTICS.search(bare)
    if columns is None or written is None:
        return False
    changed = set(_PAIR.findall(columns["pairs"]))
    return not changed.isdisjoint(_UNKNOWN.findall(written["rows"]))


def is_mixed(commit: str) -> bool:
    """Whether a COMMIT flushes inlined rows and changes data in another way as well.

    The link leaves what a flush deletes to its commit (`counted`), so until then a transaction sees the
    rows in both places.
    """
    if not (_FLUSH.search(commit) and _FLUSH.search(without_quoted(commit))):
        return False
    kinds = {change.split(":")[0] for change in changes_of(commit).split(",")}
    return not kinds <= {"inline_flush", "deleted_from_table"}


def changes_of(commit: str) -> str:
    """What a COMMIT says that it changes, without the names: `inserted_into_table:1,inlined_delete:2`."""
    row = _CHANGES.search(without_quoted(commit))
    made = _LITERAL.match(commit, row.end()) if row else None
    return _NAMES.sub("", made[1]) if made else ""


def none_newer(commit: str) -> str:
    """The statement that ends the batch `commit` as a taken snapshot would, when the lake has a newer one.

    The primary key alone does not see that: the snapshots between may have been expired.
    """
    snapshot = snapshot_of(commit)
    return (
        f"SELECT error({literal(duplicate(snapshot))}) "
        f"FROM {schema_of(commit)}ducklake_snapshot WHERE snapshot_id > {snapshot}"
    )
