"""A client's own session at its node, in which the gateway asks what only that session knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from azquack.errors import Refusal, StatementError, UpstreamError
from azquack.quack import wire
from azquack.quack.lost import ENDED, INVALID_ID
from azquack.quack.upstream import Upstream
from azquack.quack.upstream import exchange as ask

# By its bare name it would be sought in the lake first.
CONNECTION_NUMBER = "SELECT system.main.current_connection_id()::VARCHAR"
"""What number a session has in its node's DuckDB."""


@dataclass(frozen=True, slots=True)
class NodeSession:
    """How to ask the node through the client's own session: `run` a statement, or get its one `text`.

    Both raise `StatementError` and `UpstreamError`.
    """

    run: Callable[[str], Awaitable[bytes]]
    text: Callable[[str], Awaitable[str]]


def node_session(upstream: Upstream, connection_id: str) -> NodeSession:
    """How to ask in the session that the node calls `connection_id`."""

    async def run(statement: str) -> bytes:
        return await ask(upstream, wire.prepare(connection_id, statement))

    async def text(statement: str) -> str:
        return wire.parse_text(await run(statement))

    return NodeSession(run, text)


@contextmanager
def node_refusals(reason: str) -> Iterator[None]:
    """What goes wrong when a node is asked in a client's session, as a `Refusal` for that client."""
    try:
        yield
    except StatementError as error:
        if str(error) == INVALID_ID:
            raise Refusal("ended", ENDED) from None
        raise Refusal(reason, str(error)) from None
    except UpstreamError as error:
        raise Refusal("node", str(error)) from None
