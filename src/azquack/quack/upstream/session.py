"""A session at a Quack server."""

from __future__ import annotations

from azquack.errors import StatementError, UpstreamError, WireError
from azquack.quack import wire
from azquack.quack.upstream.pool import Upstream


class Session:
    """A login at a Quack server: `login`, then `run` statements, then `close`."""

    def __init__(self, upstream: Upstream, connection_id: str) -> None:
        self._upstream = upstream
        self.connection_id = connection_id

    @classmethod
    async def login(cls, upstream: Upstream, token: str, *, version: str = "v1.5.5") -> Session:
        """Logs in with `token`. Raises `UpstreamError`, or `StatementError` with the server's sentence."""
        answer = await exchange(upstream, wire.connection_request(wire.ConnectionRequest(token, version)))
        return cls(upstream, wire.parse_connection_response(answer).connection_id)

    async def run(self, sql: str) -> bytes:
        """Runs one statement; the PREPARE_RESPONSE that answers it."""
        return await exchange(self._upstream, wire.prepare(self.connection_id, sql))

    async def text(self, sql: str) -> str:
        """The value of a statement whose result is one row of one VARCHAR."""
        return wire.parse_text(await self.run(sql))

    async def close(self) -> None:
        """Ends the session on the server, which rolls its transaction back."""
        await exchange(self._upstream, wire.disconnect(self.connection_id))


async def exchange(upstream: Upstream, message: bytes) -> bytes:
    """Sends one message; the answer's bytes. `StatementError` when the answer is a Quack error."""
    async with await upstream.send(message) as response:
        answer = await response.body()
    if response.status != 200:
        # The ingress of Container Apps says 507 after tries of its own: the message may have arrived, once or more.
        raise UpstreamError(
            f"The Quack server, or an ingress before it, answered with HTTP status {response.status}",
            sent=True,
        )
    try:
        kind = wire.parse_header(answer).type
    except WireError:
        raise UpstreamError("What answers there does not speak Quack 1", sent=True) from None
    if kind is wire.MessageType.ERROR:
        raise StatementError(wire.parse_error(answer))
    return answer
