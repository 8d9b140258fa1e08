"""What can be wrong inside the metadata.

The tables are DuckLake's, format 1.0: https://ducklake.select/docs/stable/specification/tables/overview
A row lives in the snapshots from its `begin_snapshot` up to, not including, its `end_snapshot`.
"""

from __future__ import annotations

from azquack.catalog.check.finding import Rule

_FOREVER = 2**63 - 1
_LAST = "(SELECT max(snapshot_id) FROM ducklake_snapshot)"

# Tables whose rows live for some snapshots, and what may only live once at a time.
_VERSIONED = {
    "ducklake_schema": "schema_id",
    "ducklake_table": "table_id",
    "ducklake_view": "view_id",
    "ducklake_column": "table_id, column_id",
    "ducklake_data_file": "table_id, path",
    "ducklake_delete_file": "data_file_id",
}
# Types whose minima and maxima can be compared as numbers; rounding to DOUBLE keeps their order.
NUMERIC = "regexp_matches(c.column_type, '^(u?int(8|16|32|64|128)|float(32|64)|decimal.*)$')"


def overlap(a: str, b: str) -> str:
    """The condition that the rows `a` and `b` live in one snapshot at least."""
    return (
        f"{a}.begin_snapshot < coalesce({b}.end_snapshot, {_FOREVER}) "
        f"AND {b}.begin_snapshot < coalesce({a}.end_snapshot, {_FOREVER})"
    )


def _each(template: str) -> str:
    """`template` for every versioned table, as one query."""
    return " UNION ALL ".join(template.format(table=table, key=key) for table, key in _VERSIONED.items())


_TWICE = (
    "SELECT format('{{}}: {{}} lives twice at once', '{table}', ({key})::VARCHAR) "
    "FROM {table} AS a JOIN {table} AS b USING ({key}) WHERE a.rowid < b.rowid AND " + overlap("a", "b")
)

METADATA: tuple[Rule, ...] = (
    Rule(
        "no-snapshot",
        "The catalog has no snapshot at all: nobody can attach the lake.",
        "Restore a backup: azquack restore.",
        "SELECT 'ducklake_snapshot is empty' WHERE NOT EXISTS (FROM ducklake_snapshot)",
    ),
    Rule(
        "torn-snapshot",
        "A snapshot does not say what it changed: its commit was cut short, and part of it may be missing.",
        "Look at what the snapshot made; --repair marks it as one without changes.",
        "SELECT 'snapshot ' || snapshot_id FROM ducklake_snapshot ANTI JOIN ducklake_snapshot_changes "
        "USING (snapshot_id) ORDER BY snapshot_id",
        (
            "INSERT INTO ducklake_snapshot_changes (snapshot_id, changes_made) SELECT snapshot_id, '' "
            "FROM ducklake_snapshot ANTI JOIN ducklake_snapshot_changes USING (snapshot_id)",
        ),
    ),
    Rule(
        "changes-without-snapshot",
        "Changes are noted for a snapshot that is not there: the next commit of that number fails.",
        "--repair removes the note; no reader ever saw that snapshot.",
        "SELECT 'changes of snapshot ' || snapshot_id FROM ducklake_snapshot_changes ANTI JOIN "
        "ducklake_snapshot USING (snapshot_id) ORDER BY snapshot_id",
        (
            "DELETE FROM ducklake_snapshot_changes WHERE snapshot_id NOT IN "
            "(SELECT snapshot_id FROM ducklake_snapshot)",
        ),
    ),
    Rule(
        "snapshot-gap",
        "Snapshots are missing between others. That is so when single ones were expired, and when a commit "
        "was lost.",
        "Nothing, when you expired them.",
        "SELECT format('snapshots {} to {}', snapshot_id + 1, next - 1) FROM (SELECT snapshot_id, "
        "lead(snapshot_id) OVER (ORDER BY snapshot_id) AS next FROM ducklake_snapshot) "
        "WHERE next > snapshot_id + 1 ORDER BY snapshot_id",
        serious=False,
    ),
    Rule(
        "beyond-last-snapshot",
        "Metadata belongs to a snapshot that never came: it will show up half made when the number is reached.",
        "--repair takes it back to the last snapshot.",
        _each(
            "SELECT format('{{}}: {{}} rows begin or end after snapshot {{}}', '{table}', count(*), "
            + _LAST
            + ") FROM {table} WHERE begin_snapshot > "
            + _LAST
            + " OR end_snapshot > "
            + _LAST
            + " HAVING count(*) > 0"
        ),
        (
            *(f"DELETE FROM {table} WHERE begin_snapshot > {_LAST}" for table in _VERSIONED),
            *(f"UPDATE {table} SET end_snapshot = NULL WHERE end_snapshot > {_LAST}" for table in _VERSIONED),
        ),
    ),
    Rule(
        "table-without-columns",
        "A table has no columns: its CREATE was cut short. Reading it fails, and so may listing the lake.",
        "--repair removes it when nothing was ever written to it; otherwise restore a backup.",
        "SELECT format('table {} (id {})', t.table_name, t.table_id) FROM ducklake_table AS t WHERE NOT "
        f"EXISTS (FROM ducklake_column AS c WHERE c.table_id = t.table_id AND {overlap('c', 't')})",
        (
            "DELETE FROM ducklake_table WHERE table_id NOT IN (SELECT table_id FROM ducklake_column) "
            "AND table_id NOT IN (SELECT table_id FROM ducklake_data_file)",
        ),
    ),
    Rule(
        "columns-without-table",
        "Columns belong to a table that is not there: a CREATE was cut short.",
        "--repair removes them; no reader ever saw that table.",
        "SELECT format('{} columns of table id {}', count(*), table_id) FROM ducklake_column ANTI JOIN "
        "ducklake_table USING (table_id) GROUP BY table_id ORDER BY table_id",
        ("DELETE FROM ducklake_column WHERE table_id NOT IN (SELECT table_id FROM ducklake_table)",),
    ),
    Rule(
        "table-without-schema",
        "A table's schema is not there: the table cannot be named, its rows cannot be read.",
        "Restore a backup: azquack restore.",
        "SELECT format('table {} (id {}) in schema id {}', t.table_name, t.table_id, t.schema_id) "
        "FROM ducklake_table AS t WHERE NOT EXISTS (FROM ducklake_schema AS s "
        f"WHERE s.schema_id = t.schema_id AND {overlap('s', 't')})",
    ),
    Rule(
        "files-without-table",
        "Data files belong to a table that is not there: they are never read and never deleted.",
        "Restore a backup if you miss the table; else remove the rows from ducklake_data_file.",
        "SELECT format('{} files of table id {}', count(*), table_id) FROM ducklake_data_file ANTI JOIN "
        "ducklake_table USING (table_id) GROUP BY table_id ORDER BY table_id",
    ),
    Rule(
        "deletes-without-file",
        "A delete file belongs to a data file that is not there: it is never read and never deleted.",
        "--repair removes the row; azquack maintain deletes the file.",
        "SELECT format('delete file {} of data file id {}', path, data_file_id) FROM ducklake_delete_file "
        "ANTI JOIN ducklake_data_file USING (data_file_id)",
        (
            "DELETE FROM ducklake_delete_file WHERE data_file_id NOT IN "
            "(SELECT data_file_id FROM ducklake_data_file)",
        ),
    ),
    Rule(
        "live-in-dropped-table",
        "A table was dropped, some of its columns or files were not: their space is never given back.",
        "--repair ends them with their table.",
        " UNION ALL ".join(
            f"SELECT format('{{}} rows in {table} of dropped table id {{}}', count(*), r.table_id) "
            f"FROM {table} AS r JOIN (SELECT table_id, max(end_snapshot) AS ended FROM ducklake_table "
            "GROUP BY table_id HAVING count(*) = count(end_snapshot)) AS t USING (table_id) "
            "WHERE r.end_snapshot IS NULL GROUP BY r.table_id"
            for table in ("ducklake_column", "ducklake_data_file")
        ),
        tuple(
            f"UPDATE {table} AS r SET end_snapshot = t.ended FROM (SELECT table_id, max(end_snapshot) AS ended "
            "FROM ducklake_table GROUP BY table_id HAVING count(*) = count(end_snapshot)) AS t "
            "WHERE r.table_id = t.table_id AND r.end_snapshot IS NULL"
            for table in ("ducklake_column", "ducklake_data_file")
        ),
    ),
    Rule(
        "lives-twice",
        "One thing is there twice at the same time. A file that is there twice gives its rows twice.",
        "Find out which is right and end the other; or restore a backup.",
        _each(_TWICE),
    ),
    Rule(
        "same-name",
        "Two tables of one schema have the same name at the same time: which one is read is chance.",
        "Rename or drop one of them in the catalog; or restore a backup.",
        "SELECT format('table {} (ids {} and {})', a.table_name, a.table_id, b.table_id) "
        "FROM ducklake_table AS a JOIN ducklake_table AS b ON a.schema_id = b.schema_id "
        "AND lower(a.table_name) = lower(b.table_name) "
        f"AND a.table_id < b.table_id AND {overlap('a', 'b')}",
    ),
    Rule(
        "ends-before-begin",
        "Something ends before it begins: no snapshot shows it.",
        "Restore a backup if you miss it.",
        _each(
            "SELECT format('{{}}: {{}}', '{table}', ({key})::VARCHAR) FROM {table} WHERE end_snapshot < "
            "begin_snapshot"
        ),
    ),
    Rule(
        "inlined-table-missing",
        "Rows that were kept inside the catalog are gone: reading that table fails.",
        "Restore a backup: azquack restore. To read the rest without those rows, remove the line from "
        "ducklake_inlined_data_tables.",
        "SELECT format('{} of table id {}', i.table_name, i.table_id) FROM ducklake_inlined_data_tables AS i "
        "WHERE i.table_name NOT IN (SELECT table_name FROM duckdb_tables() "
        "WHERE database_name = current_database())",
    ),
    Rule(
        "next-row-id-too-low",
        "New rows of a table would get row ids that older rows have.",
        "--repair raises the counter.",
        "SELECT format('table id {}: {} instead of {}', s.table_id, s.next_row_id, f.next) "
        "FROM ducklake_table_stats AS s JOIN (SELECT table_id, max(row_id_start + record_count) AS next "
        "FROM ducklake_data_file GROUP BY table_id) AS f USING (table_id) WHERE s.next_row_id < f.next",
        (
            "UPDATE ducklake_table_stats AS s SET next_row_id = f.next FROM (SELECT table_id, "
            "max(row_id_start + record_count) AS next FROM ducklake_data_file GROUP BY table_id) AS f "
            "WHERE s.table_id = f.table_id AND s.next_row_id < f.next",
        ),
    ),
    Rule(
        "float-widened",
        "A FLOAT column became a DOUBLE, and older files hold FLOATs: filters find, and DELETE removes, other rows "
        "than they say.",
        "Write the table anew: CREATE TABLE … AS, DROP, RENAME.",
        "SELECT DISTINCT format('table id {}, column {}', c.table_id, c.column_name) FROM ducklake_column AS c "
        "JOIN ducklake_column AS o USING (table_id, column_id) JOIN ducklake_data_file AS d USING (table_id) "
        "WHERE c.end_snapshot IS NULL AND c.column_type = 'float64' AND o.column_type = 'float32' "
        "AND d.end_snapshot IS NULL AND d.begin_snapshot < o.end_snapshot ORDER BY ALL",
    ),
    Rule(
        "statistics-reversed",
        "A file's smallest value is above its largest: filters skip the file, rows are missing from answers.",
        "--repair forgets these statistics, so that the file is always read.",
        "SELECT format('data file id {}, column {}: {} to {}', s.data_file_id, c.column_name, s.min_value, "
        "s.max_value) FROM ducklake_file_column_stats AS s JOIN (SELECT DISTINCT ON (table_id, column_id) * "
        "FROM ducklake_column ORDER BY begin_snapshot DESC) AS c USING (table_id, column_id) "
        f"WHERE {NUMERIC} AND TRY_CAST(s.min_value AS DOUBLE) > TRY_CAST(s.max_value AS DOUBLE)",
        (
            "UPDATE ducklake_file_column_stats AS s SET min_value = NULL, max_value = NULL "
            f"FROM ducklake_column AS c WHERE c.table_id = s.table_id AND c.column_id = s.column_id "
            f"AND {NUMERIC} AND TRY_CAST(s.min_value AS DOUBLE) > TRY_CAST(s.max_value AS DOUBLE)",
        ),
    ),
    Rule(
        "table-statistics-narrow",
        "A table's statistics leave out values that its files hold: DuckDB may answer wrongly from them.",
        "--repair widens them.",
        "SELECT format('table id {}, column {}: {} to {}, its files {} to {}', t.table_id, c.column_name, "
        "t.min_value, t.max_value, f.low, f.high) FROM ducklake_table_column_stats AS t "
        "JOIN (SELECT DISTINCT ON (table_id, column_id) * FROM ducklake_column ORDER BY begin_snapshot DESC) "
        "AS c USING (table_id, column_id) JOIN (SELECT s.table_id, s.column_id, "
        "arg_min(s.min_value, TRY_CAST(s.min_value AS DOUBLE)) AS low, "
        "arg_max(s.max_value, TRY_CAST(s.max_value AS DOUBLE)) AS high FROM ducklake_file_column_stats AS s "
        "JOIN ducklake_data_file AS d USING (data_file_id) WHERE d.end_snapshot IS NULL GROUP BY ALL) AS f "
        f"USING (table_id, column_id) WHERE {NUMERIC} "
        "AND (TRY_CAST(t.min_value AS DOUBLE) > TRY_CAST(f.low AS DOUBLE) "
        "OR TRY_CAST(t.max_value AS DOUBLE) < TRY_CAST(f.high AS DOUBLE))",
        (
            "UPDATE ducklake_table_column_stats AS t SET "
            "min_value = CASE WHEN TRY_CAST(t.min_value AS DOUBLE) > TRY_CAST(f.low AS DOUBLE) "
            "THEN f.low ELSE t.min_value END, "
            "max_value = CASE WHEN TRY_CAST(t.max_value AS DOUBLE) < TRY_CAST(f.high AS DOUBLE) "
            "THEN f.high ELSE t.max_value END "
            "FROM (SELECT s.table_id, s.column_id, "
            "arg_min(s.min_value, TRY_CAST(s.min_value AS DOUBLE)) AS low, "
            "arg_max(s.max_value, TRY_CAST(s.max_value AS DOUBLE)) AS high "
            "FROM ducklake_file_column_stats AS s JOIN ducklake_data_file AS d USING (data_file_id) "
            f"JOIN ducklake_column AS c ON c.table_id = s.table_id AND c.column_id = s.column_id AND {NUMERIC} "
            "WHERE d.end_snapshot IS NULL GROUP BY ALL) AS f "
            "WHERE t.table_id = f.table_id AND t.column_id = f.column_id",
        ),
    ),
)
