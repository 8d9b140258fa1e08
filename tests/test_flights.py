"""The main job on real data: a year of flights, through the public gateway, with the stock `duckdb` program.

What the lake answers is held against an in-process DuckDB on the same tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from tests import flights
from tests.cluster import Pair, Shell, TempPair, attached, remote

ON_TIME_BY_CARRIER = """
    SELECT a.name, count(*) AS flights, count(f.dep_time) AS flown,
           round(100.0 * count(*) FILTER (f.arr_delay <= 15) / count(*), 2) AS on_time
    FROM flights f JOIN airlines a USING (carrier)
    GROUP BY a.name ORDER BY on_time DESC, a.name
"""

QUERIES = {
    "on-time share by carrier": ON_TIME_BY_CARRIER,
    "busiest routes, with the airports' names": """
        SELECT o.name AS origin, d.name AS dest, count(*) AS flights, avg(f.distance) AS miles
        FROM flights f JOIN airports o ON f.origin = o.faa LEFT JOIN airports d ON f.dest = d.faa
        GROUP BY ALL ORDER BY flights DESC, origin, dest LIMIT 25
    """,
    "delay by hour and weather": """
        SELECT f.origin, w.visib < 3 AS fog, count(*) AS flights, round(avg(f.dep_delay), 6) AS delay
        FROM flights f JOIN weather w ON f.origin = w.origin AND f.time_hour = w.time_hour
        GROUP BY ALL ORDER BY ALL
    """,
    "flights with no weather": """
        SELECT origin, month, count(*) AS flights
        FROM flights f ANTI JOIN weather w USING (origin, time_hour) GROUP BY ALL ORDER BY ALL
    """,
    "age of the planes": """
        SELECT 2013 - p.year AS age, count(DISTINCT f.tailnum) AS planes, sum(f.distance) AS miles
        FROM flights f JOIN planes p USING (tailnum) WHERE p.year IS NOT NULL GROUP BY age ORDER BY age
    """,
    "the worst day of each month": """
        SELECT make_date(year, month, day) AS date, round(avg(arr_delay), 6) AS delay
        FROM flights GROUP BY year, month, day
        QUALIFY row_number() OVER (PARTITION BY month ORDER BY round(avg(arr_delay), 6) DESC, day) = 1
        ORDER BY date
    """,
    "seven-day moving average": """
        WITH daily AS (
            SELECT make_date(year, month, day) AS date, count(*) AS flights FROM flights GROUP BY ALL
        )
        SELECT date, flights, round(avg(flights) OVER week, 6) AS smooth,
               flights - lag(flights, 7) OVER (ORDER BY date) AS change
        FROM daily WINDOW week AS (ORDER BY date RANGE BETWEEN INTERVAL 6 DAYS PRECEDING AND CURRENT ROW)
        ORDER BY date
    """,
    "turnaround of each plane": """
        WITH legs AS (
            SELECT tailnum, time_hour, dest, lag(dest) OVER plane AS came_from,
                   date_diff('hour', lag(time_hour) OVER plane, time_hour) AS hours
            FROM flights WHERE tailnum IS NOT NULL
            WINDOW plane AS (PARTITION BY tailnum ORDER BY time_hour, flight, sched_dep_time)
        )
        SELECT came_from, dest, count(*) AS times, min(hours), max(hours) FROM legs
        WHERE came_from IS NOT NULL GROUP BY ALL HAVING count(*) > 500 ORDER BY ALL
    """,
    "weekdays and holidays": """
        SELECT dayname(make_date(year, month, day)) AS weekday, isodow(make_date(year, month, day)) AS dow,
               count(*) AS flights, count(*) FILTER (dep_time IS NULL) AS cancelled,
               count(*) FILTER (month = 11 AND day BETWEEN 27 AND 30) AS thanksgiving
        FROM flights GROUP BY ALL ORDER BY dow
    """,
    "quantiles of the delay": """
        SELECT carrier, quantile_disc(dep_delay, [0.1, 0.5, 0.9, 0.99]) AS quantiles, mode(dest) AS usual
        FROM flights WHERE carrier IN ('UA', 'B6', 'EV', 'DL') GROUP BY carrier ORDER BY carrier
    """,
    "totals with rollup": """
        SELECT origin, month, grouping(origin, month) AS level, count(*) AS flights, sum(air_time) AS minutes
        FROM flights GROUP BY ROLLUP (origin, month) ORDER BY ALL
    """,
    "months side by side": """
        PIVOT (SELECT carrier, month FROM flights WHERE month <= 3) ON month USING count(*) ORDER BY carrier
    """,
    "carriers that serve where another does not": """
        SELECT carrier, list(DISTINCT dest ORDER BY dest) AS only_here FROM flights f
        WHERE NOT EXISTS (FROM flights o WHERE o.dest = f.dest AND o.carrier <> f.carrier)
        GROUP BY carrier ORDER BY carrier
    """,
    "the longest hop by great circle": """
        SELECT DISTINCT f.origin, f.dest, f.distance, round(3959 * acos(
            sin(radians(o.lat)) * sin(radians(d.lat))
            + cos(radians(o.lat)) * cos(radians(d.lat)) * cos(radians(d.lon - o.lon))), 3) AS miles
        FROM flights f JOIN airports o ON o.faa = f.origin JOIN airports d ON d.faa = f.dest
        ORDER BY miles DESC, f.origin LIMIT 10
    """,
}


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The same five tables in a DuckDB of this process."""
    directory = tmp_path_factory.mktemp("flights")
    with duckdb.connect() as connection:
        for name, source in flights.sources(directory).items():
            connection.execute(f"CREATE TABLE {name} AS FROM {source}")
        yield connection


@pytest.fixture(scope="module")
def lake(pair: Pair, home: Path, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """The stock client of a lake into which it has loaded the five tables, each in one snapshot."""
    shell = Shell(pair, home)
    tables = flights.sources(tmp_path_factory.mktemp("load"))
    # As docs/loading.md has it: the large table by way of a temporary one, the small ones natively.
    shell.run(
        f"CREATE TABLE memory.local AS FROM {tables.pop('flights')}",
        "CREATE TABLE r.flights AS FROM memory.local LIMIT 0",
        remote("CREATE TEMP TABLE incoming AS FROM flights"),
        "CALL quack_clear_cache()",
        "INSERT INTO r.incoming FROM memory.local",
        remote("INSERT INTO flights FROM incoming"),
        *(f"CREATE TABLE r.{name} AS FROM {source}" for name, source in tables.items()),
    )
    return shell


def test_every_row_arrives(lake: Shell) -> None:
    counts = lake.table(
        remote(" UNION ALL ".join(f"SELECT '{name}' AS name, count(*) FROM {name}" for name in flights.ROWS))
    )
    assert {name: int(rows) for name, rows in counts} == flights.ROWS


def test_a_staged_load_is_one_snapshot_and_one_file(lake: Shell) -> None:
    info = lake.table(
        remote("""
            SELECT count(*), any_value(file_count) FROM lake.snapshots(), ducklake_table_info('lake')
            WHERE table_name = 'flights' AND list_contains(changes['tables_inserted_into'], table_id::VARCHAR)
        """)
    )
    assert info == [("1", "1")]


@pytest.mark.parametrize("name", QUERIES)
def test_the_lake_answers_as_an_in_process_duckdb(
    name: str, lake: Shell, truth: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    result = tmp_path / "result.duckdb"
    lake.run(f"ATTACH '{result}' AS result", f"CREATE TABLE result.answer AS {remote(QUERIES[name])}")
    with duckdb.connect(result, read_only=True) as local:
        got = local.table("answer")
        expected = truth.sql(QUERIES[name])
        assert got.types == expected.types
        rows = got.fetchall()
        assert rows == expected.fetchall()
        assert rows


def test_natively_scanned_tables_are_the_same_rows(
    pair: Pair, home: Path, lake: Shell, truth: duckdb.DuckDBPyConnection
) -> None:
    del lake
    with attached(pair, home) as connection:
        for name in flights.ROWS:
            rows = connection.sql(f"FROM r.{name}").to_arrow_table()
            truth.register("fetched", rows)
            for one, other in ((name, "fetched"), ("fetched", name)):
                assert truth.sql(f"FROM {one} EXCEPT ALL FROM {other}").fetchall() == []
            truth.unregister("fetched")


def test_updates_and_deletes_are_seen_by_the_next_client(lake: Shell) -> None:
    lake.run(
        remote("CREATE TABLE changed AS FROM flights WHERE month = 1"),
        remote("UPDATE changed SET carrier = 'ZZ', arr_delay = arr_delay + 1 WHERE carrier = 'UA'"),
        remote("DELETE FROM changed WHERE dep_time IS NULL"),
    )
    held = lake.table(
        remote("""
            SELECT (SELECT count(*) FROM flights WHERE month = 1 AND dep_time IS NOT NULL) - count(*),
                   count(*) FILTER (carrier = 'UA'),
                   count(*) FILTER (carrier = 'ZZ')
                       - (SELECT count(*) FROM flights
                          WHERE month = 1 AND carrier = 'UA' AND dep_time IS NOT NULL),
                   sum(arr_delay)
                       - (SELECT sum(arr_delay + (carrier = 'UA')::INT) FROM flights
                          WHERE month = 1 AND dep_time IS NOT NULL)
            FROM changed
        """)
    )
    assert held == [("0", "0", "0", "0")]


def test_time_travel_reads_what_was(lake: Shell) -> None:
    lake.run(remote("CREATE TABLE travelled AS FROM flights WHERE month = 2"))
    [(version,)] = lake.table(remote("FROM lake.current_snapshot()"))
    [(rows,)] = lake.table(remote("SELECT count(*) FROM travelled"))
    lake.run(remote("DELETE FROM travelled WHERE origin = 'JFK'"))
    was, now = (
        lake.table(remote(f"SELECT count(*), count(*) FILTER (origin = 'JFK') FROM travelled {at}"))
        for at in (f"AT (VERSION => {version})", "")
    )
    assert was[0][0] == rows
    assert was[0][1] != "0"
    assert now == [(str(int(rows) - int(was[0][1])), "0")]
    stamp = lake.table(
        remote(f"SELECT snapshot_time::VARCHAR FROM lake.snapshots() WHERE snapshot_id = {version}")
    )[0][0]
    assert lake.table(remote(f"SELECT count(*) FROM travelled AT (TIMESTAMP => '{stamp}')")) == [(rows,)]


def test_a_schema_evolves_and_old_rows_follow(lake: Shell) -> None:
    lake.run(
        remote(
            "CREATE TABLE evolved AS "
            "SELECT carrier, flight::INTEGER AS flight, dest, minute FROM flights LIMIT 1000"
        ),
        remote("ALTER TABLE evolved ADD COLUMN note VARCHAR DEFAULT 'none'"),
        remote("ALTER TABLE evolved DROP COLUMN minute"),
        remote("ALTER TABLE evolved RENAME COLUMN dest TO destination"),
        remote("ALTER TABLE evolved ALTER COLUMN flight TYPE BIGINT"),
        remote("INSERT INTO evolved VALUES ('ZZ', 5000000000, 'ZRH', 'long')"),
    )
    columns = lake.table(remote("SELECT column_name, column_type FROM (DESCRIBE evolved)"))
    assert columns == [
        ("carrier", "VARCHAR"), ("flight", "BIGINT"), ("destination", "VARCHAR"), ("note", "VARCHAR"),
    ]  # fmt: skip
    notes = lake.table(
        remote("SELECT note, count(*), max(flight) > 4294967296 FROM evolved GROUP BY note ORDER BY ALL")
    )
    assert notes == [("long", "1", "true"), ("none", "1000", "false")]


def test_a_partitioned_table_reads_only_the_partition(lake: Shell) -> None:
    lake.run(
        remote("CREATE TABLE parted AS FROM flights LIMIT 0"),
        remote("ALTER TABLE parted SET PARTITIONED BY (origin, month)"),
        remote("INSERT INTO parted FROM flights"),
    )
    [(files,)] = lake.table(remote("SELECT count(*) FROM ducklake_list_files('lake', 'parted')"))
    assert int(files) == 3 * 12
    plan = lake.run(
        remote("EXPLAIN ANALYZE SELECT count(*) FROM parted WHERE origin = 'JFK' AND month = 7 AND day > 0")
    ).stdout
    assert "Total Files Read: 1" in " ".join(plan.split()), plan
    both = [
        remote(f"SELECT count(*), sum(distance) FROM {table} WHERE origin = 'JFK' AND month = 7")
        for table in ("parted", "flights")
    ]
    assert lake.table(both[0]) == lake.table(both[1])


def test_a_transaction_commits_as_one_snapshot(lake: Shell) -> None:
    lake.run(remote("CREATE TABLE booked AS FROM airlines LIMIT 0"))
    [(before,)] = lake.table(remote("FROM lake.current_snapshot()"))
    lake.run(
        remote("BEGIN"),
        remote("INSERT INTO booked FROM airlines"),
        remote("DELETE FROM booked WHERE carrier = 'UA'"),
        remote("INSERT INTO booked VALUES ('ZZ', 'Zeppelin')"),
        remote("COMMIT"),
    )
    assert lake.table(remote("SELECT count(*), count(*) FILTER (carrier = 'UA') FROM booked")) == [
        ("16", "0")
    ]
    assert lake.table(remote("FROM lake.current_snapshot()")) == [(str(int(before) + 1),)]


def test_a_transaction_that_rolls_back_leaves_nothing(lake: Shell) -> None:
    inside = lake.table(
        remote("CREATE TABLE unbooked AS FROM airlines"),
        remote("BEGIN"),
        remote("DELETE FROM unbooked"),
        remote("CREATE TABLE never AS FROM planes"),
        remote("SELECT (SELECT count(*) FROM unbooked), (SELECT count(*) FROM never)"),
    )
    assert inside == [("0", "3322")]
    assert lake.table(remote("SELECT count(*) FROM unbooked")) == [("16",)]
    # That session ended with its transaction open; one that says ROLLBACK goes on.
    after = lake.table(
        remote("BEGIN"),
        remote("DELETE FROM unbooked"),
        remote("ROLLBACK"),
        remote(
            "SELECT count(*), (SELECT count(*) FROM duckdb_tables() WHERE table_name = 'never') FROM unbooked"
        ),
    )
    assert after == [("16", "0")]


def test_all_is_there_after_both_nodes_stopped_and_started(
    pair: Pair, lake: Shell, truth: duckdb.DuckDBPyConnection
) -> None:
    if not isinstance(pair, TempPair):
        pytest.skip("this pair belongs to somebody else, who alone may stop it")
    lake.run(
        remote("CREATE TABLE kept AS FROM airlines"),
        remote("CREATE VIEW late AS FROM flights WHERE arr_delay > 60"),
    )
    [(version,)] = lake.table(remote("FROM lake.current_snapshot()"))
    lake.run(remote("DELETE FROM kept WHERE carrier < 'M'"))
    shows = [
        remote(ON_TIME_BY_CARRIER),
        remote("SELECT count(*) FROM late"),
        remote("FROM kept ORDER BY carrier"),
        remote(f"SELECT count(*) FROM kept AT (VERSION => {version})"),
        remote("SELECT snapshot_id, changes FROM lake.snapshots() ORDER BY snapshot_id"),
    ]
    before = [lake.table(each) for each in shows]
    assert pair.stop() == 0
    pair.start()
    assert [lake.table(each) for each in shows] == before
    assert before[3] == [("16",)]
    assert len(before[0]) == len(truth.sql(ON_TIME_BY_CARRIER).fetchall())
