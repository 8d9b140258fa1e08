"""Every retry of the link ends, with a pause between and a last word; what cannot succeed is not sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from importlib import import_module
from pathlib import Path

import pytest

from azquack.catalog.link.catalog import RESENT, Catalog, Counters, Hold
from azquack.catalog.link.commits import Commits, read
from azquack.catalog.link.turns import BUSY, LARGE, Turns
from azquack.config import sizes
from azquack.config.settings import Settings
from azquack.errors import CatalogAwayError, StatementError
from azquack.http import Exchange, HttpServer
from azquack.quack import wire
from azquack.quack.lost import INVALID_ID
from azquack.quack.upstream import Upstream
from azquack.replicas.gateway.limits import limits_of
from azquack.replicas.query import RETRIES
from tests.cluster import wait_until
from tests.link.conftest import NodeFactory
from tests.link.processes import TcpProxy
from tests.link.test_adversity import COMMIT, count

SNAPSHOT = 'INSERT INTO "m".ducklake_snapshot VALUES (1, NOW(), 1, 1, 1);'


def test_a_commit_that_is_lost_each_time_is_given_up_with_its_cause_and_others_go_on(
    line: TcpProxy, node: NodeFactory
) -> None:
    query = node(hold=20)
    query.rows("CREATE TABLE t (i INTEGER, s VARCHAR)")
    line.drop_requests(b"lost-on-the-way")
    query.begin_threads([["INSERT INTO lake.t VALUES (1, 'lost-on-the-way')"]])
    wait_until(line.dropped.is_set, "The commit was not sent")
    ((result,),) = query.finish_threads()
    assert (
        f"broke {RESENT + 1} times while it was sent this change, of which nothing was kept"
        in result["error"]
    )
    query.rows("INSERT INTO lake.t VALUES (2, 'next')")
    assert count(query) == 1


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO lake.t SELECT repeat('y', 18_000_000)",
        pytest.param(
            "INSERT INTO lake.t SELECT repeat('é', 4_000_000) FROM range(5)", marks=pytest.mark.slow
        ),
        pytest.param("UPDATE lake.t SET s = repeat('z', 35_000_000)", marks=pytest.mark.slow),
    ],
)
def test_a_text_that_fits_into_a_commit_is_kept_and_one_that_does_not_is_refused_in_a_sentence(
    node: NodeFactory, statement: str
) -> None:
    query = node()
    query.rows("CREATE TABLE t (s VARCHAR)")
    query.rows("INSERT INTO lake.t SELECT repeat('x', 6_000_000)")
    (result,) = query.results(statement)
    assert "too large for one commit of the catalog" in result["error"], statement
    assert "insert more rows at once" in result["error"]
    query.rows("INSERT INTO lake.t SELECT repeat('y', 4_000_000) FROM range(11)")
    assert query.rows("SELECT count(*), sum(length(s))::BIGINT FROM lake.t") == [[12, 50_000_000]]


def test_what_a_link_may_send_the_catalogs_gateway_reads_whatever_its_settings() -> None:
    for body_limit in (1 << 16, 1 << 30):
        limits = limits_of(Settings(body_limit=body_limit), public=False)
        assert limits.statement_bytes == sizes.COMMIT
        assert limits.body_bytes >= sizes.COMMIT
    assert limits_of(Settings(), public=True).statement_bytes == sizes.STATEMENT


def test_many_conditions_in_one_query_are_answered(node: NodeFactory) -> None:
    # Their statistics asked about one by one, the catalog would need some 20 s of its processor.
    query = node(answer=10, hold=1)
    query.rows("CREATE TABLE t AS SELECT range AS i FROM range(1000)")
    conditions = " AND ".join(f"i <> {3 * each}" for each in range(3000))
    assert query.rows(f"SELECT count(*) FROM lake.t WHERE {conditions}") == [[666]]


Answer = Callable[[Exchange, wire.Header], Awaitable[None]]


def with_catalog(answer: Answer, work: Callable[[Catalog], Awaitable[None]]) -> None:
    """Does `work` with a catalog that lets everybody in and for the rest does as `answer`."""

    async def serve(exchange: Exchange) -> None:
        header = wire.parse_header(await exchange.whole(1 << 20))
        if header.type is wire.MessageType.CONNECTION_REQUEST:
            await exchange.answer(GREETING)
        else:
            await answer(exchange, header)

    async def main() -> None:
        server = HttpServer(serve)
        listener = await asyncio.get_running_loop().create_server(server.connection, "127.0.0.1", 0)
        upstream = Upstream("127.0.0.1", listener.sockets[0].getsockname()[1])
        catalog = Catalog(upstream, "token", 0.5, Counters())
        await work(catalog)
        listener.close()
        await server.stop(0)

    asyncio.run(main())


def test_a_catalog_that_takes_too_long_is_not_said_to_be_away() -> None:
    async def busy(_: Exchange, header: wire.Header) -> None:
        await asyncio.Event().wait()

    async def work(catalog: Catalog) -> None:
        with pytest.raises(
            CatalogAwayError, match=r"is there but took too long for this .* within 0\.5 s: ask"
        ):
            await read(catalog, "SELECT 1", Hold(0.3, Counters()))

    with_catalog(busy, work)


def test_a_catalog_that_forgets_every_session_is_asked_a_bounded_number_of_times() -> None:
    asked = 0

    async def forgetful(exchange: Exchange, header: wire.Header) -> None:
        nonlocal asked
        asked += 1
        await exchange.answer(wire.error(INVALID_ID))

    async def work(catalog: Catalog) -> None:
        with pytest.raises(CatalogAwayError, match="does not know the session"):
            await read(catalog, "SELECT 1", Hold(0.3, Counters()))
        with pytest.raises(CatalogAwayError, match="does not know the session"):
            await Commits(catalog, Counters(), "n").commit(SNAPSHOT, Hold(0.3, Counters()))

    with_catalog(forgetful, work)
    assert 4 <= asked < 40


# As a node answers a login: see tests/wire/recorded.py.
GREETING = (
    b"\x01\x00\x02\x02\x00\x02id\x03\x00" + b"\xff" * 9 + b"\x01\xff\xff"
    b"\x01\x00\x06v1.5.5\x02\x00\x0blinux_amd64\x03\x00\x01\xff\xff"
)


def test_a_large_commit_that_came_too_late_is_next_and_small_ones_wait_for_it() -> None:
    order: list[str] = []

    async def main() -> None:
        turns = Turns()

        async def commit(name: str, size: int) -> None:
            async with turns.take(size, Hold(10, Counters())):
                order.append(name)

        assert not turns.reserve(100)
        assert turns.reserve(LARGE)
        assert not turns.reserve(2 * LARGE)
        small = [asyncio.create_task(commit(f"small {each}", 100)) for each in range(3)]
        await asyncio.sleep(0)
        await commit("large", LARGE + 3)
        await asyncio.gather(*small)
        await commit("last", 100)

    asyncio.run(main())
    assert order[0] == "large"
    assert order[-1] == "last"
    assert len(order) == 5


def test_a_turn_that_is_kept_for_nobody_is_given_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("azquack.catalog.link.turns.RESERVED_SECONDS", 0.05)

    async def main() -> None:
        turns = Turns()
        assert turns.reserve(LARGE)
        async with turns.take(100, Hold(10, Counters())):
            with pytest.raises(CatalogAwayError, match=BUSY):
                async with turns.take(100, Hold(0.05, Counters())):
                    raise AssertionError("two commits at once")
        async with turns.take(100, Hold(10, Counters())):
            pass

    asyncio.run(main())


def test_a_commit_that_is_too_large_takes_no_turn() -> None:
    async def main() -> None:
        commits = Commits(Catalog(Upstream("127.0.0.1", 1), "token", 1.0, Counters()), Counters(), "n")
        with pytest.raises(StatementError, match="too large for one commit"):
            await commits.commit(SNAPSHOT + "x" * sizes.COMMIT, Hold(1, Counters()))
        with pytest.raises(StatementError, match="too large for one commit"):
            await commits.write("x" * sizes.COMMIT, Hold(1, Counters()))

    asyncio.run(main())


assert COMMIT.decode() in SNAPSHOT


def test_the_numbers_of_the_table_of_retries_are_those_of_the_code() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reliability.md").read_text()
    section = page[page.index("## Retries and sizes") : page.index("## What was measured")]
    numbers = re.findall(r"`([a-z_.]+)\.([A-Z_]+)` = ([\d.]+)", section)
    assert len(numbers) > 10
    for module, name, value in numbers:
        assert getattr(import_module(f"azquack.{module}"), name) == float(value), f"{module}.{name}"
    for variable in re.findall(r"AZQUACK_([A-Z_]+)", section):
        assert variable.lower() in Settings.model_fields
    assert RETRIES == {
        "ducklake_max_retry_count": 200,
        "ducklake_retry_wait_ms": 5,
        "ducklake_retry_backoff": 1.05,
    }
