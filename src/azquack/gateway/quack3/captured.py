"""A node's answer, held until it was put into other words for the client."""

from __future__ import annotations

import asyncio

from azquack.gateway.statement import Reply


class Captured(Reply):
    """Takes the answer that would go to `client`. A client that leaves loses nothing: it may ask again."""

    def __init__(self, client: Reply) -> None:
        self._client = client
        self._pieces: list[bytes] = []
        self._answered = False
        self.loop: asyncio.AbstractEventLoop = client.loop

    @property
    def address(self) -> str:
        return self._client.address

    @property
    def lost(self) -> bool:
        """Never: of a statement whose answer was taken here, nothing broke off."""
        return False

    @property
    def sent(self) -> int:
        """The bytes of the answer."""
        return sum(map(len, self._pieces))

    @property
    def answered(self) -> bool:
        return self._answered

    @property
    def body(self) -> bytes:
        """The whole answer."""
        return b"".join(self._pieces)

    async def client_gone(self) -> None:
        await self._client.client_gone()

    def begin(self, length: int) -> None:
        self._answered = True

    async def chunk(self, data: bytes, *, more: bool) -> None:
        self._pieces.append(data)

    async def answer(self, body: bytes) -> None:
        self._answered = True
        self._pieces.append(body)
