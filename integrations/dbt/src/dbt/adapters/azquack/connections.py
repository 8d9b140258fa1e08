"""dbt's connections: each is a session of its own at the gateway, so threads do not meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dbt.adapters.azquack.session import Session
from dbt.adapters.contracts.connection import AdapterResponse, Connection, ConnectionState
from dbt.adapters.events.logging import AdapterLogger
from dbt.adapters.sql import SQLConnectionManager
from dbt_common.exceptions import DbtDatabaseError, DbtRuntimeError

logger = AdapterLogger("AzQuack")


class AzQuackConnectionManager(SQLConnectionManager):
    """Opens, ends and interrupts sessions."""

    TYPE = "azquack"

    @classmethod
    def open(cls, connection: Connection) -> Connection:
        """Opens the session of `connection`. Raises `FailedToConnectError`."""
        if connection.state == ConnectionState.OPEN:
            return connection
        return cls.retry_connection(
            connection,
            connect=lambda: Session(connection.credentials),
            logger=logger,
            retryable_exceptions=[],
        )

    def cancel(self, connection: Connection) -> None:
        """Ends the wait for what runs on `connection`; the gateway ends what a client no longer waits for."""
        connection.handle.interrupt()

    @contextmanager
    def exception_handler(self, sql: str) -> Iterator[None]:
        """Makes dbt's error of DuckDB's, and rolls the transaction back."""
        try:
            yield
        except DbtRuntimeError:
            self.rollback_if_open()
            raise
        except Exception as error:
            self.rollback_if_open()
            # Below it DuckDB shows the statement of the client, the same for every one of the node's.
            reason, _, _ = str(error).partition("\n\nLINE 1: FROM lake.query(?)")
            raise DbtDatabaseError(reason.strip()) from error

    @classmethod
    def get_response(cls, cursor: Any) -> AdapterResponse:
        """DuckDB says nothing of a statement that went well."""
        return AdapterResponse(_message="OK")
