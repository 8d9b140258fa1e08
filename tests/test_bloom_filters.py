"""`=` finds in Parquet files what is equal: DuckDB's Bloom filters, which leave out rows, are not asked."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from tests.cluster import remote

# Values, and what each of them is looked for as; more rows of each than stay in the catalog.
ROWS = 20
KINDS: dict[str, tuple[str, ...]] = {
    "BLOB": (r"\xFF", r"\x00", "", "a", r"\x5C", r"a\xC3\xA9", r"\x27"),
    "DOUBLE": ("-0.0", "0.0", "1.5", "nan", "inf"),
    "FLOAT": ("-0.0", "0.0", "1.5", "nan", "inf"),
    "VARCHAR": ("", "a", "\\xFF", "é"),
    "BIGINT": ("0", "-1", "9223372036854775807"),
    "UTINYINT": ("0", "255"),
}
FORMS = {
    "=": "v = {}",
    "IN": "v IN ({}, {})",
    "IS NOT DISTINCT FROM": "v IS NOT DISTINCT FROM {}",
    "a join": "v IN (SELECT {})",
    "within a struct": "s.v = {}",
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_way_to_look_for_a_value_finds_it_in_files(
    connection: duckdb.DuckDBPyConnection, kind: str
) -> None:
    def run(sql: str) -> list[tuple[object, ...]]:
        return connection.execute(remote(sql)).fetchall()

    # One table a value, for a filter that knows no other, and one of all.
    tables = [(each,) for each in KINDS[kind]] + [KINDS[kind]]
    for number, held in enumerate(tables):
        name = f"bloom_{kind.lower()}_{number}"
        values = ", ".join(f"'{each}'" for each in held)
        query = f"SELECT v, {{'v': v}} AS s FROM (SELECT unnest([{values}]::{kind}[]) AS v), range({ROWS})"
        run(f"CREATE TABLE {name} AS {query}")
        connection.execute(f"CREATE OR REPLACE TEMP TABLE own AS {query}")
        for (form, filter), looked in itertools.product(FORMS.items(), KINDS[kind]):
            where = filter.replace("{}", f"'{looked}'::{kind}")
            [(found,)] = run(f"SELECT count(*) FROM {name} WHERE {where}")
            [(there,)] = connection.execute(f"SELECT count(*) FROM own WHERE {where}").fetchall()
            assert found == there, f"{held}, by {form}: {looked}"
        gone = f"'{held[0]}'::{kind}"
        [(equal,)] = connection.execute(f"SELECT count(*) FROM own WHERE v = {gone}").fetchall()
        assert run(f"DELETE FROM {name} WHERE v = {gone}") == [(equal,)]
        run(f"DROP TABLE {name}")


def test_duckdb_by_itself_leaves_rows_out(tmp_path: Path) -> None:
    """https://github.com/duckdb/duckdb/issues/24994: once it does not, `azquack.lake.bloom_filters` may go."""
    # In a process of its own, where nobody has turned them off.
    script = f"""
import duckdb
values = r"unnest(['\\xFF', 'a']::BLOB[]) AS b, unnest(['-0.0', '1.0']::DOUBLE[]) AS d"
duckdb.execute(f"COPY (SELECT {{values}} FROM range(15)) TO '{tmp_path}/a.parquet'")
for where in (r"b = '\\xFF'::BLOB", "d = 0.0::DOUBLE", r"hex(b) = 'FF'", "d + 0 = 0"):
    print(duckdb.execute(f"SELECT count(*) FROM '{tmp_path}/a.parquet' WHERE {{where}}").fetchone()[0])
"""
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert told.stdout.split() == ["0", "0", "15", "15"]
