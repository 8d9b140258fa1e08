"""Ends the sessions that nobody uses any more, so that their transactions and locks go.

Quack has no such thing of its own: the transaction of a client that vanished conflicts with others, and holds
back checkpoints, until its session is disconnected.
"""

from __future__ import annotations

import http.client
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from azquack.quack import wire
from azquack.quack.passing import PASSING

log = logging.getLogger(__name__)

_SESSIONS = "SELECT connection_id, state, query_started_at, query FROM quack_active_connections()"


@dataclass(frozen=True)
class IdleSessions:
    """The idle sessions of the Quack server at `host`:`port`, which runs in this process. Times are seconds.

    A session is idle once its last statement began `idle_timeout` ago (None: never). One whose result was never fetched
    to its end stays "active" for ever: it gets `statement_timeout` on top. One that marks its statements as
    `PASSING` is idle after `statement_timeout`.
    """

    host: str
    port: int
    idle_timeout: float | None
    statement_timeout: float

    def end(self, cursor: duckdb.DuckDBPyConnection) -> int:
        """End them; how many sessions are left."""
        sessions = cursor.execute(_SESSIONS).fetchall()
        now = datetime.now(UTC).replace(tzinfo=None)
        idle = [each for each in sessions if self._is_idle(each[1], each[2], each[3], now)]
        for session, _, started, text in idle:
            # The id is a credential, and the text may hold secrets: neither is logged.
            last = {
                "last": (text.split() or ["?"])[0].upper(),
                "idle_seconds": (now - started).total_seconds(),
            }
            self._disconnect(session)
            log.info("ended an idle session", extra=last)
        return len(sessions) - len(idle)

    def _is_idle(self, state: str, started: datetime | None, text: str | None, now: datetime) -> bool:
        if started is None:
            return False
        if text and text.startswith(PASSING):
            allowed = self.statement_timeout
        elif self.idle_timeout is None:
            return False
        else:
            allowed = self.idle_timeout + (self.statement_timeout if state == "active" else 0)
        return (now - started).total_seconds() > allowed

    def _disconnect(self, session: str) -> None:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=5)
        try:
            connection.request("POST", "/quack", wire.disconnect(session))
            connection.getresponse().read()
        except OSError as error:
            log.warning("an idle session could not be ended", extra={"reason": type(error).__name__})
        finally:
            connection.close()
