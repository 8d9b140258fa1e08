"""The columns of a table's definition as DuckDB writes it."""

from __future__ import annotations

import duckdb
import pytest

from azquack.gateway.quack.columns import Column, columns_of, selection

TYPES = (
    "INTEGER", "VARCHAR", "DECIMAL(18,3)", "TIMESTAMP WITH TIME ZONE", "DOUBLE[]", "MAP(VARCHAR, INTEGER)",
    'STRUCT("a b" INTEGER, "DEFAULT" VARCHAR, c STRUCT(d BIGINT[], "NOT NULL" DATE))', "BLOB", "UUID", "INTERVAL",
)  # fmt: skip
NAMES = ("a", "B", '"two words"', '"with ""quotes"""', '"comma, (and) paren"', '"select"', '"default"', "ä")
TAILS = ("", " NOT NULL", " DEFAULT 3", " DEFAULT '), (' NOT NULL", " DEFAULT NULL")


@pytest.mark.parametrize("kind", TYPES)
def test_a_definition_gives_the_names_and_types_that_duckdb_knows(kind: str) -> None:
    with duckdb.connect() as connection:
        for tail in TAILS if kind == "VARCHAR" else ("", " NOT NULL"):
            columns = ", ".join(f"{name} {kind}{tail}" for name in NAMES)
            connection.execute(f'CREATE OR REPLACE TABLE "odd (name"({columns}, last INTEGER)')
            ((definition,),) = connection.execute("SELECT sql FROM duckdb_tables()").fetchall()
            known = connection.execute(
                "SELECT column_name, data_type FROM duckdb_columns() WHERE NOT internal ORDER BY column_index"
            ).fetchall()
            assert columns_of(definition) == [Column(*each) for each in known], definition


def test_constraints_of_a_table_are_no_columns() -> None:
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TABLE t(a INTEGER PRIMARY KEY, b INTEGER UNIQUE, c DATE CHECK (c > '2000-01-01'))"
        )
        connection.execute("CREATE TABLE u(a INTEGER, b DATE, PRIMARY KEY (a, b), CHECK (a > 1))")
        texts = connection.execute("SELECT sql FROM duckdb_tables() ORDER BY table_name").fetchall()
    assert columns_of(texts[0][0]) == [Column("a", "INTEGER"), Column("b", "INTEGER"), Column("c", "DATE")]
    assert columns_of(texts[1][0]) == [Column("a", "INTEGER"), Column("b", "DATE")]


def test_what_is_no_list_of_columns_is_not_guessed_at() -> None:
    for text in (
        "",
        "CREATE TABLE t",
        "CREATE TABLE t()",
        "CREATE TABLE t(a)",
        "CREATE TABLE t(PRIMARY KEY(a))",
    ):
        assert columns_of(text) is None, text


def test_a_place_is_the_name_that_was_shown_there_if_it_is_still_of_its_type() -> None:
    shown = [Column("a", "INTEGER"), Column("net", "DOUBLE"), Column("b", "INTEGER")]
    assert selection([2, 1], shown, [shown[2], shown[1], shown[0]]) == '"net", "a"'
    assert selection([2], shown, [Column("net", "FLOAT")]) is None
    assert selection([2], shown, [shown[0]]) is None
    assert selection([4], shown, shown) is None
    assert selection([0], shown, shown) is None
