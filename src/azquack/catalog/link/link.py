"""The link itself: a thread with an event loop of its own inside the query node's process."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import threading

import uvloop

from azquack.catalog.link.catalog import Catalog, Counters
from azquack.catalog.link.commits import Commits, CommittedFiles
from azquack.catalog.link.proxy import Proxy
from azquack.errors import StartError
from azquack.http import Exchange, HttpServer
from azquack.lake.link_options import LinkOptions
from azquack.quack.upstream import Upstream

HTTPS = 443
STOP_SECONDS = 10.0
MAX_BODY = 1 << 30


class CatalogLink:
    """`start` it before the node opens the lake, at `quack:127.0.0.1:<port>` with `token`; `stop` it last.

    `token` is made anew by each link and good for nothing but this link, which listens on loopback only: a
    user who gets hold of the node's secret has no way to the catalog but the one that he is already on.
    """

    def __init__(
        self, options: LinkOptions, internal_token: str, files: CommittedFiles | None = None
    ) -> None:
        self._options = options
        self._internal_token = internal_token
        self._files = files
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._started: threading.Event = threading.Event()
        self._failure: BaseException | None = None
        self.counters = Counters()
        self.token = secrets.token_urlsafe(32)
        self.port = 0

    def start(self) -> int:
        """Listens; the port. The catalog need not be there yet. Raises `StartError`."""
        self._thread = threading.Thread(target=self._main, name="catalog-link", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise StartError(f"the catalog link could not start: {self._failure}")
        return self.port

    def stop(self) -> None:
        """Lets running statements end, ends the sessions at the catalog, closes the port. Idempotent."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(2 * STOP_SECONDS)
        self._thread = None

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(self._serve())
        except BaseException as error:  # what ends the thread is told to whoever waits in start()
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        options = self._options
        tls = options.port == HTTPS if options.tls is None else options.tls
        context = ssl.create_default_context(cafile=options.ca_file) if tls else None
        upstream = Upstream(options.host, options.port, tls=context)
        catalog = Catalog(upstream, self._internal_token, options.answer_seconds, self.counters)
        commits = Commits(catalog, self.counters, options.name, self._files)
        proxy = Proxy(catalog, commits, self.counters, self.token, options.hold_seconds)

        async def answer(exchange: Exchange) -> None:
            await exchange.answer(await proxy.answer(await exchange.whole(MAX_BODY)))

        server = HttpServer(answer)
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(server.connection, "127.0.0.1", 0)
        self.port = listener.sockets[0].getsockname()[1]
        self._loop, self._stopping = loop, asyncio.Event()
        self._started.set()
        await self._stopping.wait()
        listener.close()
        await server.stop(STOP_SECONDS)
        await catalog.close()
