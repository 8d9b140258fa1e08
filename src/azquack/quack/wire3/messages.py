"""The messages of a client of Quack 3."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azquack.quack.wire.chunks import Chunk


QUACK_VERSION = 3
# The query id that stands for whatever runs; also that of a client's own questions about the catalog.
WHOLE = 0


class Kind(IntEnum):
    """The third byte of a message."""

    CONNECTION_REQUEST = 1
    CONNECTION_RESPONSE = 2
    PREPARE = 3
    PREPARE_RESPONSE = 4
    FETCH = 7
    FETCH_RESPONSE = 8
    SEND_DATA = 9
    SUCCESS = 10
    DISCONNECT = 11
    CANCEL = 12
    FINALIZE = 13
    SEND_DATA_RESPONSE = 14
    ACKNOWLEDGEMENT = 15
    HEARTBEAT = 16
    ERROR = 100


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the body of every message; `end` is the offset of the body.

    `query_id` is the client's number of its own statement, None when it sent none.
    """

    type: Kind
    connection_id: str
    query_id: int | None
    end: int


@dataclass(frozen=True, slots=True)
class Login:
    """A CONNECTION_REQUEST. `lowest` and `highest` are the Quack versions that the client speaks.

    `heartbeat` is the timeout that it asks for, in seconds; 0: the server's.
    """

    token: str
    version: str = ""
    platform: str = ""
    lowest: int = 0
    highest: int = 0
    client_id: str = ""
    heartbeat: int = 0

    def __repr__(self) -> str:
        return f"Login(version={self.version!r}, platform={self.platform!r})"

    @property
    def speaks_quack_3(self) -> bool:
        """Whether the client can talk with a DuckDB 2.x server."""
        return self.lowest <= QUACK_VERSION <= self.highest


@dataclass(frozen=True, slots=True)
class Prepare:
    """A statement. `inline_rows`: the answer may bring so many rows; None: as many as the server likes."""

    sql: str
    query: int
    inline_rows: int | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Asks for batch `index` (from 1) of the result of `query`; the client has every batch up to `acknowledged`."""

    query: int
    index: int
    acknowledged: int = 0


@dataclass(frozen=True, slots=True)
class Rows:
    """A SEND_DATA as of June 2026: one chunk for `schema.table`, of the INSERT `query`, which a FINALIZE ends."""

    schema: str
    table: str
    query: int
    chunk: Chunk


@dataclass(frozen=True, slots=True)
class Batch:
    """A SEND_DATA as of DuckDB 2.0: batch `index` (from 1) of the stream `stream`, which an SQL statement reads.

    `total`: the stream ends after so many batches.
    """

    stream: str
    chunks: tuple[Chunk, ...]
    index: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Finalize:
    """The rows of the INSERT `query` are complete."""

    query: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ends the statement `query`; `WHOLE`: whatever runs in the session."""

    query: int


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The client has the whole result of `query`."""

    query: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The client is there."""


@dataclass(frozen=True, slots=True)
class Disconnect:
    """The session is over."""


Message = Prepare | Fetch | Rows | Batch | Finalize | Cancel | Acknowledgement | Heartbeat | Disconnect
