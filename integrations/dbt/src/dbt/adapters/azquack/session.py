"""One session at the gateway: a stock DuckDB in memory that sends each statement to the query node.

The text of a statement goes as the value of a parameter (`FROM lake.query(?)`), never as part of another text, so
nothing that stands in a model can end it. No rows come to the client but those that dbt asks for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
from dbt.adapters.azquack.credentials import LAKE, AzQuackCredentials
from dbt.adapters.exceptions import FailedToConnectError
from dbt_common.exceptions import DbtRuntimeError


def literal(value: str) -> str:
    """`value` as SQL text."""
    return "'" + value.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """`name` as a quoted SQL name."""
    return '"' + name.replace('"', '""') + '"'


def statements(sql: str) -> list[str]:
    """The statements of `sql`, each on its own, as DuckDB's parser divides them.

    One alone stays as it was written, and so does a text that this DuckDB cannot parse: the node says why. A
    PIVOT without values becomes several statements without a text of their own; it is one as well.
    """
    try:
        parsed = [each.query for each in duckdb.extract_statements(sql)]
    except duckdb.Error:
        return [sql]
    return parsed if len(parsed) != 1 and all(parsed) else [sql]


class Session:
    """What dbt calls a handle, and its cursor as well: a session has one result at a time.

    Raises `FailedToConnectError` when the gateway does not let us in; no token stands in its text.
    """

    def __init__(self, credentials: AzQuackCredentials) -> None:
        self._duckdb = duckdb.connect(":memory:")
        self._has_result = False
        options = [f"TYPE quack, TOKEN {literal(credentials.token)}"]
        if credentials.tls is not None:
            options.append(f"DISABLE_SSL {str(not credentials.tls).lower()}")
        try:
            for name, value in credentials.settings.items():
                self._duckdb.execute(f"SET {identifier(name)} = {literal(str(value))}")
            self._duckdb.execute(f"ATTACH {literal(credentials.uri)} AS {LAKE} ({', '.join(options)})")
        except duckdb.Error as error:
            self._duckdb.close()
            # DuckDB repeats the statement, with the token in it, below the first line.
            reason = str(error).splitlines()[0].replace(credentials.token, "***")
            raise FailedToConnectError(f"cannot attach {credentials.uri}: {reason}") from None

    def cursor(self) -> Session:
        """Itself."""
        return self

    def execute(self, sql: str, bindings: Sequence[Any] | None = None) -> Session:
        """Runs `sql` on the node; the result is that of its last statement."""
        if bindings:
            raise DbtRuntimeError("values of a statement cannot be sent on their own: write them as literals")
        self._has_result = False
        for each in statements(sql):
            self._duckdb.execute(f"FROM {LAKE}.query(?)", [each])
            self._has_result = True
        return self

    @property
    def description(self) -> Any:
        """The columns of the result, as the DB API says; none before the first statement."""
        return self._duckdb.description if self._has_result else None

    def fetchone(self) -> Any:
        """The next row, or none."""
        return self._duckdb.fetchone() if self._has_result else None

    def fetchmany(self, size: int) -> list[Any]:
        """Up to `size` rows."""
        return self._duckdb.fetchmany(size) if self._has_result else []

    def fetchall(self) -> list[Any]:
        """All rows that are left."""
        return self._duckdb.fetchall() if self._has_result else []

    def rollback(self) -> None:
        """Ends the transaction at the node, if there is one."""
        self.execute("ROLLBACK")

    def interrupt(self) -> None:
        """Ends the wait for the statement that runs; may be called from another thread."""
        self._duckdb.interrupt()

    def close(self) -> None:
        """Ends the session."""
        self._duckdb.close()
