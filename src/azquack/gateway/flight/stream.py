"""The result of a statement as its client takes it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import pyarrow as pa

from azquack.errors import ClientGone
from azquack.gateway.flight.calls import Calls
from azquack.gateway.flight.turns import Running
from azquack.gateway.outcome import Outcome

ROWS = 65_536
"""Rows of a batch that is sent."""


class Stream:
    """The batches of a statement's result, taken one by one as its client takes them."""

    def __init__(self, running: Running, calls: Calls, parameters: Sequence[Any] | None = None) -> None:
        self._running, self._calls = running, calls
        self._rows = 0
        try:
            self._reader = running.run(running.sql, parameters).to_arrow_reader(ROWS)
        except Exception as error:
            raise running.failed(error) from None
        self.schema: pa.Schema = self._reader.schema

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> pa.RecordBatch:
        call = self._running.call
        call.seen = time.monotonic()
        try:
            call.check()
            batch = self._reader.read_next_batch()
        except StopIteration:
            self.close(Outcome("ok", self._rows))
            raise
        except Exception as error:
            told = self._running.failed(error)
            self._calls.remove(call)
            raise told from None
        self._rows += batch.num_rows
        call.sent += batch.nbytes
        call.seen = time.monotonic()
        return batch

    def close(self, outcome: Outcome | Exception) -> None:
        """No more of it is wanted."""
        self._calls.remove(self._running.call)
        self._reader = cast(Any, iter(()))
        self._running.leave(outcome)

    def __del__(self) -> None:
        # gRPC drops a stream whose client has left, and tells nobody.
        self.close(ClientGone())
