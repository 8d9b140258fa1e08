"""A column's statistics hold all its rows, whatever was altered between two writes: filters are answered from them."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from azquack.catalog.link.statements import RETYPED
from tests.link.sessions import Cluster, cluster

FLUSH = "CALL ducklake_flush_inlined_data('lake', table_name => '{t}')"
ALTERS = {
    "wider": "ALTER TABLE {t} ALTER v TYPE BIGINT",
    "another name": "ALTER TABLE {t} RENAME v TO w",
    "not null": "ALTER TABLE {t} ALTER v SET NOT NULL",
    "a default": "ALTER TABLE {t} ALTER v SET DEFAULT 3",
    "a column more": "ALTER TABLE {t} ADD COLUMN more INTEGER",
}
WRITES = {
    "a small insert": "INSERT INTO {t} (k) VALUES (1)",
    "a large insert": "INSERT INTO {t} (k) SELECT range FROM range(50)",
    "a small update": "UPDATE {t} SET k = k WHERE k < 5",
    "a large update": "UPDATE {t} SET {v} = {v} + 1 WHERE k < 50",
    "a merge": "MERGE INTO {t} USING (SELECT 3 AS k) n ON {t}.k = n.k WHEN MATCHED THEN UPDATE SET {v} = 9",
}


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("statistics") / "lake", nodes=2) as made:
        yield made


def read_before(session: duckdb.DuckDBPyConnection, table: str) -> None:
    """A node that knows the statistics of the table keeps them."""
    session.execute(f"CREATE TABLE {table} (k INTEGER, v INTEGER)")
    session.execute(f"INSERT INTO {table} SELECT range, 0 FROM range(60)")
    session.execute(FLUSH.format(t=table)).fetchall()


@pytest.mark.parametrize("altered", ALTERS)
@pytest.mark.parametrize("here", [True, False], ids=["here", "at another node"])
def test_filters_find_what_was_written_before_an_alter(lake: Cluster, altered: str, *, here: bool) -> None:
    one, other = lake.nodes[0].session(), lake.nodes[1].session()
    name = "w" if altered == "another name" else "v"
    for number, write in enumerate(WRITES.values()):
        table = f"t_{list(ALTERS).index(altered)}_{here:d}_{number}"
        read_before(one, table)
        if altered == "not null" and "INSERT" in write:
            write = (
                write.replace("(k)", "(k, v)")
                .replace("(1)", "(1, 7)")
                .replace("SELECT range", "SELECT range, 7")
            )
        (one if here else other).execute(ALTERS[altered].format(t=table))
        one.execute(write.format(t=table, v=name))
        one.execute(FLUSH.format(t=table)).fetchall()
        for session in (one, other):
            rows = session.execute(f"SELECT {name} FROM {table}").fetchall()
            [(found,)] = session.execute(f"SELECT count(*) FROM {table} WHERE {name} = 0").fetchall()
            assert found == rows.count((0,)), write


def test_rows_in_one_transaction_with_a_change_of_type_are_refused(lake: Cluster) -> None:
    session = lake.nodes[0].session()
    read_before(session, "mixed")
    session.execute("BEGIN")
    session.execute("ALTER TABLE mixed ALTER v TYPE BIGINT")
    session.execute("INSERT INTO mixed SELECT 1, 5 FROM range(50)")
    with pytest.raises(duckdb.Error, match=RETYPED.split(":")[0]):
        session.execute("COMMIT")
    assert session.execute("SELECT count(*) FROM mixed WHERE v = 0").fetchall() == [(60,)]
