"""Native inserts: the rows of an APPEND, checked and written anew before a node sees them."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module

from azquack.errors import Refusal, WireError
from azquack.quack import wire

# Beyond this many bytes the rows are checked beside the event loop.
INLINE = 96 << 10
THREADS = 2


class Inserts:
    """Reads APPENDs of at most `limit` bytes, as they come and once their rows are written in full."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._threads = ThreadPoolExecutor(THREADS, "inserts")
        self._ready = False

    async def clean(self, message: bytes, header: wire.Header, connection_id: str) -> bytes:
        """The APPEND `message` anew, for session `connection_id`. Raises `Refusal` for one that is not whole."""
        if not self._ready:
            # With it comes numpy: 21 MB, and a moment, that a gateway without native inserts does not need.
            await asyncio.to_thread(import_module, "azquack.quack.wire.chunks")
            self._ready = True
        from azquack.quack.wire.chunks import clean_append

        try:
            if len(message) <= INLINE:
                return clean_append(message, header, connection_id, self._limit)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._threads, clean_append, message, header, connection_id, self._limit
            )
        except WireError as error:
            raise Refusal("chunk", f"This insert is not one that DuckDB 1.5 writes: {error}") from None
