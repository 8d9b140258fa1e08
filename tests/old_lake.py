"""Makes a lake with whatever DuckDB this Python has: run by the Python of a virtual environment of an older one."""

import sys
from pathlib import Path

import duckdb


def main() -> None:
    path = sys.argv[1]
    packages = Path(duckdb.__file__).parent.parent
    [extension] = packages.glob("duckdb_extension_ducklake/extensions/*/ducklake*")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH 'ducklake:{path}/catalog.duckdb' AS lake (DATA_PATH '{path}/data/')")
    connection.execute("CREATE TABLE lake.t AS SELECT range AS i, 'x' AS s FROM range(1000)")
    connection.execute("DELETE FROM lake.t WHERE i < 10")
    connection.execute("ALTER TABLE lake.t ADD COLUMN late DOUBLE")
    connection.execute("INSERT INTO lake.t VALUES (5000, 'y', 0.5)")


main()
