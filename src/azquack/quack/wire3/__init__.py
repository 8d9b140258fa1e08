"""Quack 3, the remote protocol of DuckDB 2.x, as pure functions over bytes: no sockets, no state.

What its clients send is read, what a server answers is written. Framing, types and chunks are those of Quack 1
(`wire/`); `translation.py` stands between the two.
"""

from azquack.quack.wire3.answers import (
    connected,
    count_pending,
    error,
    fetched,
    prepared,
    sent,
    success,
)
from azquack.quack.wire3.messages import (
    QUACK_VERSION,
    WHOLE,
    Acknowledgement,
    Batch,
    Cancel,
    Disconnect,
    Fetch,
    Finalize,
    Header,
    Heartbeat,
    Kind,
    Login,
    Message,
    Prepare,
    Rows,
)
from azquack.quack.wire3.reading import parse, parse_header, parse_login

__all__ = [
    "QUACK_VERSION",
    "WHOLE",
    "Acknowledgement",
    "Batch",
    "Cancel",
    "Disconnect",
    "Fetch",
    "Finalize",
    "Header",
    "Heartbeat",
    "Kind",
    "Login",
    "Message",
    "Prepare",
    "Rows",
    "connected",
    "count_pending",
    "error",
    "fetched",
    "parse",
    "parse_header",
    "parse_login",
    "prepared",
    "sent",
    "success",
]
