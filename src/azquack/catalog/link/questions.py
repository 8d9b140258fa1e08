"""Questions of DuckLake whose answers would mislead it, asked so that they do not.

**Conflicts.** A commit that lost the race for its snapshot asks what the snapshots since its own beginning changed,
compares that with what it does itself (`DuckLakeTransactionState::CheckForConflicts`, DuckLake 1.5.5, `d8a1881e`), and
is refused or sent again. That check does not know that

- small deletions (kept in the catalog) and large ones (a delete file) may hit the same row, nor that a small one may
  hit a file that a merge or a rewrite has replaced meanwhile: deleted rows came back;
- `ducklake_flush_inlined_data` writes delete files that begin in an old snapshot: it looks for newer ones only;
- the snapshots in between may have been expired, and with them what they changed;
- a view that is altered may have been dropped.

The answers say so in words that it does know. No other commit asks, so a commit that meets nobody pays nothing.

**Counts.** The count of a table's rows is taken from the catalog. A flush or a merge puts rows of several snapshots
into one file, so a transaction that began before would be told another snapshot's count.

**Flushes.** A flush gives a delete file to every data file with small deletions, to those that are over as well, which
may have one already: old snapshots would read the file twice.
"""

from __future__ import annotations

import re

from azquack.sql import literal

_TABLE = r'(?P<{name}>(?:"(?:[^"]|"")+"\.)?ducklake_{table})'
_CHANGES = re.compile(
    r"SELECT STRING_AGG\(changes_made, ','\)\s+FROM "
    + _TABLE.format(name="changes", table="snapshot_changes")
    + r" c\s+WHERE c\.snapshot_id > (?P<base>\d+)\s*(?=\))"
)
_FILES = re.compile(
    r"\s*SELECT data_file_id\s+FROM "
    + _TABLE.format(name="deletes", table="delete_file")
    + r"\s+WHERE begin_snapshot > (?P<base>\d+)\s+UNION ALL\s"
)

# What others did, and what DuckLake's check shall see beside it.
ALSO = (
    # Refuses a deletion by a delete file, a merge and a rewrite.
    ("inlined_delete", "rewrite_delete"),
    # Refuse a deletion that stays in the catalog, and a flush.
    ("deleted_from_table", "inlined_delete"),
    ("merge_adjacent", "inline_flush"),
    ("rewrite_delete", "inline_flush"),
    # Refuses ALTER VIEW.
    ("dropped_view", "altered_view"),
)
_COUNT = re.compile(
    r"\s*SELECT\s+(?P<count>COALESCE\(\(SELECT SUM\(record_count\) FROM "
    + _TABLE.format(name="files", table="data_file")
    + r"\s+WHERE table_id = (?P<table>\d+)\s+AND (?P<snapshot>\d+) >= begin_snapshot.*\S)\s*",
    re.DOTALL,
)
_DELETIONS = re.compile(
    r"\s*SELECT del\.file_id, .*\sJOIN \S+ data ON del\.file_id = data\.data_file_id\s+LEFT JOIN \(.*\) "
    r"existing_del ON del\.file_id = existing_del\.data_file_id\s*",
    re.DOTALL,
)
EXPIRED = (
    "Transaction conflict - snapshots that were made since this transaction began are not there any more, so it cannot "
    "be compared with them: run it again"
)

UNCOUNTED = (
    "Rows of this table were put into other files since this transaction began, so the catalog does not know how many "
    "it sees: roll back and begin it anew"
)


def asked(sql: str) -> str | None:
    """The question to ask in place of `sql`, when that is one of those; else None."""
    if found := _CHANGES.search(sql):
        return sql[: found.start()] + _changes(found["changes"], int(found["base"])) + sql[found.end() :]
    if found := _FILES.match(sql):
        newer = f"begin_snapshot > {found['base']} OR {_written_since(found['deletes'], int(found['base']))}"
        files = re.sub(r"begin_snapshot > \d+", lambda _: newer, found.group(), count=1)
        return files + sql[found.end() :]
    if found := _COUNT.fullmatch(sql):
        return _count(found)
    if _DELETIONS.fullmatch(sql):
        return f"{sql.rstrip()} WHERE data.end_snapshot IS NULL"
    return None


def _count(found: re.Match[str]) -> str:
    snapshot = int(found["snapshot"])
    later = " OR ".join(
        f"EXISTS (FROM {table} WHERE table_id = {found['table']} AND partial_max > {snapshot} "
        f"AND begin_snapshot <= {snapshot} AND (end_snapshot IS NULL OR end_snapshot > {snapshot}))"
        for table in (found["files"], found["files"].replace("ducklake_data_file", "ducklake_delete_file"))
    )
    return f"SELECT CASE WHEN {later} THEN error({literal(UNCOUNTED)}) ELSE {found['count']} END"


def _changes(table: str, base: int) -> str:
    # Names, which may look like anything, stand in double quotes.
    bare = """regexp_replace(c.changes_made, '"[^"]*"', '', 'g')"""
    more = "".join(
        f" || regexp_replace(array_to_string(regexp_extract_all({bare}, '\\b{change}:\\d+'), ''), "
        f"'{change}', ',{seen}', 'g')"
        for change, seen in ALSO
    )
    snapshots = f"(SELECT max(snapshot_id) FROM {table})"
    return (
        f"SELECT CASE WHEN count(*) = {snapshots} - {base} THEN string_agg(nullif(c.changes_made{more}, ''), ',') "
        f"ELSE error({literal(EXPIRED)}) END FROM {table} c WHERE c.snapshot_id > {base}"
    )


def _written_since(table: str, base: int) -> str:
    """Whether a delete file was written after the snapshot `base`, wherever it begins: file ids only grow."""
    snapshots = table.replace("ducklake_delete_file", "ducklake_snapshot")
    return f"delete_file_id >= coalesce((SELECT next_file_id FROM {snapshots} WHERE snapshot_id = {base}), 0)"
