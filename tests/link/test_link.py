"""The link when all is well: batches are whole, results whole, the catalog's token stays where it is."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from azquack.catalog.link.link import CatalogLink
from azquack.lake.link_options import LinkOptions
from azquack.quack import wire
from tests.link.conftest import NodeFactory
from tests.link.processes import NODE_SETTINGS, TOKEN, CatalogProcess, QueryProcess, TcpProxy

FEW_RETRIES = {**NODE_SETTINGS, "ducklake_max_retry_count": "0"}


def metadata(node: QueryProcess, sql: str) -> list[list[object]]:
    """The rows of `sql`, run on the catalog itself."""
    return node.rows(f"FROM quack_query_by_name('__ducklake_metadata_lake', $$ {sql} $$)")


def make_next_commit_fail(node: QueryProcess) -> None:
    """Takes the key of the last row of the next batch, so that all of it runs before it fails."""
    metadata(
        node,
        "INSERT INTO ducklake_snapshot_changes (snapshot_id) "
        "SELECT max(snapshot_id) + 1 FROM ducklake_snapshot",
    )


def newest_snapshot(node: QueryProcess) -> object:
    return metadata(node, "SELECT max(snapshot_id) FROM ducklake_snapshot")[0][0]


def test_a_commit_that_fails_leaves_nothing_behind(catalog: CatalogProcess, node: NodeFactory) -> None:
    query = node(settings=FEW_RETRIES)
    before = newest_snapshot(query)
    make_next_commit_fail(query)
    (result,) = query.results("CREATE TABLE t (i INTEGER)")
    assert "violates primary key constraint" in result["error"]
    assert newest_snapshot(query) == before
    assert metadata(query, "SELECT count(*) FROM ducklake_table") == [[0]]


def test_fault_upstream_a_commit_that_fails_stays_half_done(
    catalog: CatalogProcess, node: NodeFactory
) -> None:
    """DuckLake over Quack sends no BEGIN. When this fails, upstream has mended it: look at the link anew."""
    query = node(settings=FEW_RETRIES, stock=True)
    before = newest_snapshot(query)
    make_next_commit_fail(query)
    (result,) = query.results("CREATE TABLE t (i INTEGER)")
    assert "violates primary key constraint" in result["error"]
    assert newest_snapshot(query) != before
    assert metadata(query, "SELECT count(*) FROM ducklake_table") != [[0]]


FLUSHED = (
    "CREATE TABLE t (i INTEGER, j INTEGER)",
    "INSERT INTO t SELECT range, 0 FROM range(1000)",
    "INSERT INTO t VALUES (1000, 1)",
    "DELETE FROM t WHERE i IN (5, 6)",
)


def flush_that_fails(query: QueryProcess) -> list[list[object]]:
    for statement in FLUSHED:
        query.rows(statement)
    # The commit gets stuck in its middle.
    metadata(query, "ALTER TABLE ducklake_file_column_stats RENAME TO gone")
    (result,) = query.results("CALL ducklake_flush_inlined_data('lake')")
    assert "ducklake_file_column_stats" in result["error"]
    metadata(query, "ALTER TABLE gone RENAME TO ducklake_file_column_stats")
    return query.rows("SELECT count(*) FROM t")


def test_a_flush_that_fails_loses_nothing(catalog: CatalogProcess, node: NodeFactory) -> None:
    assert flush_that_fails(node(settings=FEW_RETRIES)) == [[999]]


def test_fault_upstream_a_flush_that_fails_loses_rows(catalog: CatalogProcess, node: NodeFactory) -> None:
    """The flush deletes the inlined rows and the inlined deletes before its commit, each at once."""
    assert flush_that_fails(node(settings=FEW_RETRIES, stock=True)) != [[999]]


def test_a_flush_puts_deletes_into_files(catalog: CatalogProcess, node: NodeFactory) -> None:
    query = node()
    for statement in (*FLUSHED, "CALL ducklake_flush_inlined_data('lake')"):
        query.rows(statement)
    assert query.rows("SELECT count(*), count(DISTINCT i) FROM t") == [[999, 999]]
    assert metadata(query, "SELECT count(*) FROM ducklake_inlined_delete_1") == [[0]]
    query.rows("DELETE FROM t WHERE i IN (7, 8)")
    query.rows("CALL ducklake_flush_inlined_data('lake')")
    assert query.rows("SELECT count(*), count(DISTINCT i) FROM t") == [[997, 997]]
    query.rows("CALL ducklake_rewrite_data_files('lake', delete_threshold => 0.0001)")
    assert query.rows("SELECT count(*), count(DISTINCT i) FROM t") == [[997, 997]]


def test_the_snapshot_says_which_node_made_it(catalog: CatalogProcess, node: NodeFactory) -> None:
    query = node()
    query.rows("CREATE TABLE t (i INTEGER)")
    ((info,),) = query.rows(
        "SELECT commit_extra_info FROM lake.snapshots() ORDER BY snapshot_id DESC LIMIT 1"
    )
    assert str(info).startswith("query-1:")


def test_threads_do_not_disturb_each_others_results(catalog: CatalogProcess, node: NodeFactory) -> None:
    query = node()
    query.rows("CREATE TABLE t AS SELECT range AS i FROM range(1000)")
    large = "SELECT count(*) FROM quack_query_by_name('__ducklake_metadata_lake', 'FROM range(300000)')"
    query.begin_threads([[large] * 3, ["SELECT count(*) FROM lake.t"] * 10, [large] * 3])
    results = query.finish_threads()
    assert [result.get("rows", result) for part in results for result in part] == [
        *[[[300000]]] * 3, *[[[1000]]] * 10, *[[[300000]]] * 3,
    ]  # fmt: skip


def test_reads_of_an_unchanged_snapshot_ask_the_catalog_once(
    catalog: CatalogProcess, node: NodeFactory
) -> None:
    query, other = node(), node()
    query.rows("CREATE TABLE t AS SELECT range AS i FROM range(1000)")
    look = "SELECT count(*), max(i) FROM lake.t WHERE i < 500"
    for _ in range(2):
        assert query.rows(look) == [[500, 499]]
    before = query.counters()
    query.begin_threads([[look] * 5])
    assert query.finish_threads() == [[{"rows": [[500, 499]]}] * 5]
    after = query.counters()
    asked = {kind: count - before["requests"].get(kind, 0) for kind, count in after["requests"].items()}
    answered = after["cached"] - before["cached"]
    assert asked["snapshot"] == 5
    assert asked["read"] == answered > 0
    other.rows("INSERT INTO t VALUES (-1)")
    assert query.rows(look) == [[501, 499]]
    query.rows("DELETE FROM t WHERE i = 499")
    assert query.rows(look) == [[500, 498]]


def test_the_internal_token_is_the_links_alone(catalog: CatalogProcess, node: NodeFactory) -> None:
    query = node()
    secrets = query.rows("SELECT secret_string FROM duckdb_secrets(redact => false)")
    assert secrets
    assert TOKEN not in str(secrets)
    (result,) = query.results(f"FROM quack_query('{query.address}', 'SELECT 1', token => '{TOKEN}')")
    assert "Authentication failed" in result["error"]


def test_stopping_twice_or_before_the_start_is_nothing() -> None:
    link = CatalogLink(LinkOptions("127.0.0.1", 1), TOKEN)
    link.stop()
    assert link.start() == link.port > 0
    link.stop()
    link.stop()


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_line(catalog: CatalogProcess, authority: trustme.CA) -> Iterator[TcpProxy]:
    """The catalog behind TLS, as the ingress of a container app gives it."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(context)
    proxy = TcpProxy(catalog.port, context)
    yield proxy
    proxy.close()


@contextmanager
def login_through(link: CatalogLink) -> Iterator[bytes]:
    """The answer to a login at `link`."""
    port = link.start()
    message = wire.connection_request(wire.ConnectionRequest(link.token))
    try:
        yield httpx.post(
            f"http://127.0.0.1:{port}/quack", content=message, timeout=60, trust_env=False
        ).content
    finally:
        link.stop()


def test_the_catalog_may_stand_behind_tls(tls_line: TcpProxy, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    options = LinkOptions("localhost", tls_line.port, tls=True, ca_file=str(tmp_path / "ca.pem"))
    with login_through(CatalogLink(options, TOKEN)) as answer:
        assert wire.parse_connection_response(answer).quack_version == wire.QUACK_VERSION


def test_a_catalog_with_an_unknown_certificate_is_not_spoken_to(tls_line: TcpProxy) -> None:
    options = LinkOptions("localhost", tls_line.port, tls=True, hold_seconds=0.2)
    with login_through(CatalogLink(options, TOKEN)) as answer:
        assert "SSLCertVerificationError" in wire.parse_error(answer)


def test_a_missing_authority_is_said(tmp_path: object) -> None:
    with pytest.raises(Exception, match="the catalog link could not start"):
        CatalogLink(LinkOptions("localhost", 443, ca_file=f"{tmp_path}/none.pem"), TOKEN).start()
