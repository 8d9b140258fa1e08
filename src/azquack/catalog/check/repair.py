"""What can be mended without loss."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from azquack.catalog.check.finding import Finding
from azquack.errors import LakeError
from azquack.lake import client
from azquack.lake.client import Target
from azquack.quack.passing import PASSING
from azquack.sql import first_line, literal


def repair(catalog: Target, findings: Iterable[Finding]) -> int:
    """Mend what can be mended in the served catalog, in one transaction; how many statements that took.

    Every statement looks again at what is wrong, so that a lake that was mended meanwhile stays as it is.
    Raises `LakeError` when the catalog refuses; nothing is changed then.
    """
    statements = list(dict.fromkeys(statement for each in findings for statement in each.repairs))
    if not statements:
        return 0
    with client.connection(catalog) as connection:

        def remote(statement: str) -> None:
            connection.execute(f"FROM {client.ALIAS}.query({literal(PASSING + statement)})").fetchall()

        remote("BEGIN TRANSACTION")
        try:
            for statement in statements:
                remote(statement)
            remote("COMMIT")
        except duckdb.Error as error:
            remote("ROLLBACK")
            raise LakeError(f"the repair failed, nothing was changed: {first_line(error)}") from None
    return len(statements)
