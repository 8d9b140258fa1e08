"""A small example in the schema `demo`, so that the first query of a new user has something to show."""

from __future__ import annotations

import duckdb

from azquack.errors import LakeError
from azquack.lake import client
from azquack.lake.client import Target
from azquack.sql import first_line, literal

_STATEMENTS = (
    "CREATE SCHEMA IF NOT EXISTS demo",
    """
    CREATE TABLE IF NOT EXISTS demo.events AS
    SELECT i AS id,
           TIMESTAMP '2026-01-01' + to_minutes(CAST(i * 7 AS INTEGER)) AS happened,
           ['view', 'click', 'buy'][1 + CAST(i * 2654435761 % 3 AS INTEGER)] AS kind,
           'user-' || (i * 40503 % 97) AS who,
           round(((i * 7919) % 10007) / 100, 2) AS amount
    FROM range(10000) AS t(i)
    """,
)


def load(target: Target) -> None:
    """Make `demo.events` (10,000 rows) through the public gateway, unless it is there already."""
    with client.connection(target) as connection:
        for each in _STATEMENTS:
            try:
                connection.execute(f"FROM {client.ALIAS}.query({literal(each)})").fetchall()
            except duckdb.Error as error:
                raise LakeError(f"the demo could not be loaded: {first_line(error)}") from None
