"""Answers of a real node of Quack 1 in the words of Quack 3: every row comes through, whatever stands in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from azquack.errors import StatementError
from azquack.quack import translation, wire, wire3
from azquack.quack.exceptions import DEFAULT, exception_type
from azquack.quack.upstream import Session, Upstream, exchange
from tests.gateway.parts import NodeProcess
from tests.quack3 import frames


@pytest.fixture(scope="module")
def node() -> Iterator[NodeProcess]:
    each = NodeProcess("n1")
    yield each
    each.stop()


def scene(node: NodeProcess, work: Callable[[Upstream, Session], Awaitable[Any]]) -> Any:
    async def main() -> Any:
        upstream = Upstream("127.0.0.1", node.port)
        session = await Session.login(upstream, node.token)
        found = await work(upstream, session)
        await session.close()
        await upstream.close()
        return found

    return asyncio.run(main())


def rows_of(node: NodeProcess, sql: str) -> list[tuple[Any, ...]]:
    """The rows of `sql` as a client of Quack 3 gets them through the translation."""

    async def work(upstream: Upstream, session: Session) -> list[tuple[Any, ...]]:
        found = translation.result(await session.run(sql))
        first = frames.parse(wire3.prepared(found.columns, found.chunks, 9 << 64, more=found.more))
        assert (first.query, first.more) == (9 << 64, found.more)
        rows, more, index = first.rows, found.more, 0
        while more:
            chunks = translation.batch(
                await exchange(upstream, wire.fetch(session.connection_id, found.uuid))
            )
            index += 1
            part = frames.parse(wire3.fetched(chunks, index=index))
            assert part.index == index
            rows, more = rows + part.rows, bool(chunks)
        return rows

    rows: list[tuple[Any, ...]] = scene(node, work)
    return rows


BETWEEN = r"\xff\xff\xff\xff\xff\xff\x01\x2c\x01\x64\x00\x80\x10\x65\x00\x02\x64\x00\x1a\xff\xff\x64\x00\x0e\xff\xff"


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("SELECT 1::BIGINT WHERE false", []),
        (
            "SELECT range, 'row ' || range FROM range(100000) ORDER BY 1",
            [(n, f"row {n}") for n in range(100_000)],
        ),
        (
            "SELECT if(range % 3 = 0, NULL, range) FROM range(5000)",
            [(n if n % 3 else None,) for n in range(5000)],
        ),
        ("SELECT [range::VARCHAR, NULL] FROM range(2050)", [([str(n), None],) for n in range(2050)]),
    ],
    ids=["none", "many", "nulls", "lists"],
)
def test_every_row_of_a_result_comes_through(node: NodeProcess, sql: str, rows: list[Any]) -> None:
    assert rows_of(node, sql) == rows


def test_data_that_looks_like_the_place_between_two_chunks_comes_through(node: NodeProcess) -> None:
    sql = f"SELECT hex(b), range FROM (SELECT '{BETWEEN}'::BLOB b, range FROM range(30000))"
    assert len(rows_of(node, sql)) == 30_000

    async def work(upstream: Upstream, session: Session) -> list[bytes]:
        found = translation.result(await session.run(f"SELECT '{BETWEEN}'::BLOB, range FROM range(20000)"))
        return found.chunks

    chunks = scene(node, work)
    assert sum(translation.rows_of(each) for each in chunks) == 20_000


# Statements that fail, of every kind that a user meets. The oracle is the node itself.
MISTAKES = [
    "selectx", "SELECT", "SELECT 'a", "PIVOT", "FROM nope", "SELECT nocol", "SELECT nocol FROM range(1)",
    "SELECT foo(1)",
    "SELECT 'a'::INT", "SELECT 'x'::DATE", "SELECT 'x'::TIMESTAMP", "SELECT 300::TINYINT", "SELECT '{'::JSON",
    "SELECT 9223372036854775807 + 1", "SELECT error('x')", "CREATE TABLE a(i INT)", "CREATE SCHEMA main",
    "CREATE VIEW a AS SELECT 1", "INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (NULL)",
    "INSERT INTO a VALUES (1, 2)",
    "INSERT INTO a VALUES ('x')", "DROP TABLE nope", "DROP SCHEMA nope", "COMMIT", "ROLLBACK", "SET nope = 1",
    "FROM read_csv('/nope')", "SELECT count(*), range FROM range(3)", "SELECT range FROM range(3) WHERE count(*) > 1",
    "SELECT 1 UNION SELECT 1, 2", "SELECT (SELECT range FROM range(3))", "SELECT * FROM (VALUES (1), (1, 2))",
    "SELECT substring()", "SELECT 1 = [1]", "CREATE TABLE b(i INT, i INT)", "ALTER TABLE a DROP COLUMN nope",
    "UPDATE a SET nope = 1", "SELECT a.i, b.i FROM a, a b WHERE i = 1", "SELECT struct_extract({'a': 1}, 'b')",
    "SELECT row_number() FROM range(3)", "SELECT range FROM range(3) GROUP BY ()",
    "CREATE SEQUENCE s; CREATE SEQUENCE s",
    "SELECT array_value(1)[1:2:0]", "SELECT * EXCLUDE nope FROM range(1)", "FROM range(3) LIMIT -1", "BEGIN; BEGIN",
]  # fmt: skip
# Of these, DuckDB's own word is not one that the sentence shows.
KNOWN_GUESSES = 8


def test_errors_get_duckdbs_own_type(node: NodeProcess) -> None:
    async def work(upstream: Upstream, session: Session) -> list[tuple[str, str, str, str]]:
        await session.run("CREATE TABLE IF NOT EXISTS a(i INT PRIMARY KEY)")
        await session.run("INSERT OR IGNORE INTO a VALUES (1)")
        told = []
        for sql in MISTAKES:
            sentences = []
            for as_json in ("false", "true"):
                await session.run(f"SET errors_as_json = {as_json}")
                try:
                    await session.run(sql)
                    sentences.append("")
                except StatementError as error:
                    sentences.append(str(error))
                with_rollback = sql.startswith("BEGIN")
                if with_rollback:
                    await session.run("ROLLBACK")
            await session.run("SET errors_as_json = false")
            told.append((sql, *sentences))
        answers = []
        for sql, plain, as_json in told:
            kind = as_json.split('"exception_type":"', 1)[-1].split('"', 1)[0] if as_json else ""
            answers.append((sql, plain, kind, exception_type(plain)[0] if plain else ""))
        return answers

    answers = scene(node, work)
    wrong = [each for each in answers if each[2] != each[3]]
    # A type that is not known is the one that DuckDB 1.5 gave to all of them; never another one.
    assert [each for each in wrong if each[3] != DEFAULT] == []
    assert len(wrong) <= KNOWN_GUESSES, wrong


@pytest.mark.parametrize(
    ("sentence", "reason", "kind", "rest"),
    [
        (
            "Catalog Error: Table with name x does not exist!",
            "",
            "Catalog",
            "Table with name x does not exist!",
        ),
        ("You may not read main.t", "policy", "Permission", "You may not read main.t"),
        ('syntax error at or near "x"', "policy", "Parser", 'syntax error at or near "x"'),
        ("Interrupted: query was cancelled", "cancelled", "INTERRUPT", "Interrupted: query was cancelled"),
        ("whatever", "", DEFAULT, "whatever"),
    ],
)
def test_a_prefix_and_a_refusal_tell_the_type(sentence: str, reason: str, kind: str, rest: str) -> None:
    assert exception_type(sentence, reason) == (kind, rest)
    answer = frames.parse(translation.error(sentence, reason))
    assert (answer.error, answer.exception) == (rest, kind)
