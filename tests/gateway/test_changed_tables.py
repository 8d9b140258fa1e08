"""A table that changed after a client attached: the right values or a sentence, and its DuckDB stays usable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.gateway.parts import GatewayProcess, NodeProcess
from tests.gateway.versions import OLDER, VERSIONS, ClientError, StockClient

MADE = "CREATE TABLE t AS SELECT range AS a, 100 + range AS net, 200 + range AS b, 's' || range AS s FROM range(3)"
# What somebody else does meanwhile.
CHANGES = {
    "nothing": (),
    "rows": ("INSERT INTO t VALUES (3, 103, 203, 's3')",),
    "add": ("ALTER TABLE t ADD COLUMN more INTEGER",),
    "drop the last": ("ALTER TABLE t DROP COLUMN s",),
    "drop one between": ("ALTER TABLE t DROP COLUMN net",),
    "drop and add of the same type": ("ALTER TABLE t DROP COLUMN net", "ALTER TABLE t ADD COLUMN tax BIGINT DEFAULT 7"),
    "move to the end": ("ALTER TABLE t DROP COLUMN net", "ALTER TABLE t ADD COLUMN net BIGINT DEFAULT 7"),
    "rename": ("ALTER TABLE t RENAME COLUMN net TO gross",),
    "swap names": (
        "ALTER TABLE t RENAME COLUMN a TO x",
        "ALTER TABLE t RENAME COLUMN b TO a",
        "ALTER TABLE t RENAME COLUMN x TO b",
    ),
    "widen": ("ALTER TABLE t ALTER a TYPE HUGEINT",),
    "make anew": ("DROP TABLE t", "CREATE TABLE t AS SELECT 's' AS s, 1 AS b, 2::BIGINT AS net, 3::BIGINT AS a"),
    "make anew as it was": ("DROP TABLE t", MADE),
    "replace by a view": ("DROP TABLE t", "CREATE VIEW t AS SELECT 5::BIGINT AS a, 6::BIGINT AS net"),
    "drop": ("DROP TABLE t",),
    "partition": ("ALTER TABLE t SET PARTITIONED BY (a)",),
    "default": ("ALTER TABLE t ALTER net SET DEFAULT 5",),
}  # fmt: skip
READS = ("a, net, b, s", "net", "s", "b, a", "count(*)", "sum(net)")
# Both name their columns; the second by its place.
WRITES = ("INSERT INTO {} (b, a) VALUES (9, 8)", "INSERT INTO {} VALUES (9, 8, 7, 'x')")


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    started = NodeProcess("n1", "lake")
    yield started
    started.stop()


@pytest.fixture(scope="module")
def gateway(node: NodeProcess) -> Iterator[GatewayProcess]:
    started = GatewayProcess(node)
    yield started
    started.stop()


@pytest.fixture(
    scope="module",
    params=[pytest.param(each, marks=pytest.mark.slow) if each in OLDER else each for each in VERSIONS],
)
def ann(request: pytest.FixtureRequest, gateway: GatewayProcess) -> Iterator[StockClient]:
    client = StockClient(request.param, gateway.port)
    client.rows("CREATE TABLE own AS SELECT 42 AS i")
    yield client
    client.close()


def tried(ann: StockClient, sql: str, *, there: bool = False) -> tuple[list[object], str]:
    """The rows and the error of `sql`."""
    try:
        return ann.there(sql) if there else ann.rows(sql), ""
    except ClientError as error:
        return [], str(error)


def remake(ann: StockClient) -> None:
    """The table as it was, and the client knows it so."""
    for kind in ("TABLE", "VIEW"):
        if ann.there(f"SELECT 1 FROM duckdb_{kind.lower()}s() WHERE {kind.lower()}_name = 't'"):
            ann.there(f"DROP {kind} t")
    ann.there(MADE)
    ann.rows("CALL quack_clear_cache()")


@pytest.mark.parametrize("change", CHANGES)
def test_a_read_gives_the_columns_that_it_names_or_a_sentence(ann: StockClient, change: str) -> None:
    remake(ann)
    for statement in CHANGES[change]:
        ann.there(statement)
    for read in READS:
        rows, error = tried(ann, f"SELECT {read} FROM r.t ORDER BY ALL")
        expected, impossible = tried(ann, f"SELECT {read} FROM t ORDER BY ALL", there=True)
        assert error or (rows == expected and not impossible), (read, rows, expected)
        assert not error or "quack_clear_cache" in error, error
    if change in ("nothing", "rows", "add", "move to the end", "swap names", "partition", "default"):
        assert not error, "what can be answered is answered"
    assert ann.rows("FROM own") == [(42,)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_write_goes_into_the_columns_that_it_names_or_nowhere(ann: StockClient, change: str) -> None:
    for write in WRITES:
        remake(ann)
        for statement in CHANGES[change]:
            ann.there(statement)
        before, _ = tried(ann, "SELECT count(*) FROM t", there=True)
        _, error = tried(ann, write.format("r.t"))
        after, _ = tried(ann, "SELECT count(*) FROM t", there=True)
        if error:
            assert "quack_clear_cache" in error or change in ("drop", "replace by a view"), error
            assert after == before
        else:
            named = (9, 8) if "(b, a)" in write else (7, 9)
            assert ann.there("SELECT b, a FROM t WHERE 9 IN (a, b)") == [named]
        assert not error or change not in ("nothing", "rows", "partition", "make anew as it was"), error
    assert ann.rows("FROM own") == [(42,)]


def test_after_the_cache_is_cleared_the_table_is_as_it_is_now(ann: StockClient) -> None:
    remake(ann)
    ann.there("ALTER TABLE t DROP COLUMN net")
    ann.there("ALTER TABLE t ALTER a TYPE HUGEINT")
    assert "quack_clear_cache" in tried(ann, "SELECT a FROM r.t")[1]
    ann.rows("CALL quack_clear_cache()")
    assert ann.rows("SELECT b, s FROM r.t WHERE b = 201") == [(201, "s1")]
    ann.rows("INSERT INTO r.t VALUES (1, 2, 'x')")
    assert ann.there("SELECT a::BIGINT, b FROM t WHERE s = 'x'") == [(1, 2)]


def test_a_table_that_the_client_made_is_known_by_its_own_words(ann: StockClient) -> None:
    ann.there("DROP TABLE IF EXISTS made")
    ann.rows("CALL quack_clear_cache()")
    ann.rows("CREATE TABLE r.made AS SELECT 1::BIGINT AS x, 2::BIGINT AS y FROM range(3000)")
    assert ann.rows("SELECT sum(y)::BIGINT FROM r.made") == [(6000,)]
    ann.there("ALTER TABLE made DROP COLUMN x")
    ann.there("ALTER TABLE made ADD COLUMN x BIGINT DEFAULT 5")
    assert ann.rows("SELECT sum(y)::BIGINT, min(x) FROM r.made") == [(6000, 5)]
    assert "quack_clear_cache" in tried(ann, "INSERT INTO r.made VALUES (1, 2)")[1]
    ann.rows("CREATE OR REPLACE TABLE r.made AS SELECT 7::BIGINT AS z")
    ann.rows("INSERT INTO r.made VALUES (8)")
    assert ann.rows("SELECT z FROM r.made ORDER BY z") == [(7,), (8,)]


def test_what_was_shown_counts_at_a_gateway_that_was_started_anew(node: NodeProcess) -> None:
    first = GatewayProcess(node)
    ann = StockClient(VERSIONS[-1], first.port)
    remake(ann)
    first.kill()
    second = GatewayProcess(node, port=first.port)
    ann.there("ALTER TABLE t DROP COLUMN net")
    ann.there("ALTER TABLE t ADD COLUMN tax BIGINT")
    assert "quack_clear_cache" in tried(ann, "SELECT net FROM r.t")[1]
    assert ann.rows("SELECT b FROM r.t WHERE b = 201") == [(201,)]
    assert "quack_clear_cache" in tried(ann, "INSERT INTO r.t VALUES (1, 2, 3, 'x')")[1]
    for each in (first, second):
        each.stop()
    ann.close()
