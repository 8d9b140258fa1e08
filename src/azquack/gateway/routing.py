"""The nodes behind a gateway: which are well, and which one a login goes to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager, suppress

from azquack.errors import StatementError, UpstreamError, WireError
from azquack.node.address import Access, NodeAddress
from azquack.quack.upstream import Session, Upstream

# Seconds between probes of a node that is well, each of which costs it a login, and of one that is not.
PROBE_SECONDS = 5.0
PROBE_AGAIN = 2.0
PROBE_TIMEOUT = 5.0
# Seconds that the end of a session of the gateway's own may take.
CLOSE_TIMEOUT = 1.0


class Node:
    """One node: its address, its connections, how busy it is."""

    def __init__(self, address: NodeAddress) -> None:
        self.address = address
        self.upstream = Upstream(address.host, address.port)
        self.healthy = True
        self.draining = False
        self.sessions = 0
        self.running = 0
        self._probed = -math.inf

    @property
    def name(self) -> str:
        return self.address.name

    @asynccontextmanager
    async def own_session(self) -> AsyncIterator[Session]:
        """A session of the gateway's own, which holds nothing at the node afterwards.

        Raises `UpstreamError`, `StatementError`, `WireError`.
        """
        session = await Session.login(self.upstream, self.address.token)
        try:
            yield session
        finally:
            # Who has no more patience with the node comes here too, and must not wait for it again.
            with suppress(StatementError, UpstreamError, WireError, TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await session.close()

    def is_due(self, now: float) -> bool:
        """Whether it should be probed; `now` in seconds of the loop."""
        return not self.healthy or now - self._probed >= PROBE_SECONDS

    async def probe(self) -> None:
        """Logs in and out; `healthy` tells how that went."""
        self._probed = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                session = await Session.login(self.upstream, self.address.token)
                await session.close()
        except (UpstreamError, StatementError, WireError, TimeoutError):
            self.healthy = False
        else:
            self.healthy = True


class Nodes:
    """All nodes by name. `update`, `drain` and `restore` work while the gateway is open."""

    def __init__(self, addresses: Iterable[NodeAddress] = ()) -> None:
        self._nodes: dict[str, Node] = {}
        self._changed = asyncio.Event()
        self.update(addresses)

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes.values())

    def update(self, addresses: Iterable[NodeAddress]) -> None:
        """Makes these the nodes. One whose address changed starts afresh; its old sessions are over."""
        new: dict[str, Node] = {}
        for address in addresses:
            known = self._nodes.get(address.name)
            new[address.name] = known if known and known.address == address else Node(address)
        self._nodes = new
        self._changed.set()

    def drain(self, name: str) -> None:
        """Sends no further login to node `name`; its sessions go on."""
        self._nodes[name].draining = True

    def restore(self, name: str) -> None:
        """Ends a drain."""
        self._nodes[name].draining = False
        self._changed.set()

    def find(self, name: str) -> Node | None:
        """Node `name`, well or not."""
        return self._nodes.get(name)

    def least_busy(self, access: Access, *, besides: Iterable[Node] = ()) -> Node | None:
        """The healthy node of this access with the fewest running statements, then sessions."""
        avoid = set(besides)
        fit = [
            node
            for node in self._nodes.values()
            if node.healthy and not node.draining and node.address.access == access and node not in avoid
        ]
        return min(fit, key=lambda node: (node.running, node.sessions), default=None)

    async def wait_for(self, access: Access, seconds: float, *, unless: Callable[[], bool]) -> Node | None:
        """`least_busy`, waiting up to `seconds` for one to come, and not while `unless()`."""
        try:
            async with asyncio.timeout(seconds):
                while (node := self.least_busy(access)) is None and not unless():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return None
        return node

    async def watch(self) -> None:
        """Probes the nodes for ever; run it as a task beside the gateway."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.gather(*(node.probe() for node in self if node.is_due(loop.time())))
            self._changed.set()
            await asyncio.sleep(PROBE_AGAIN)

    async def close(self) -> None:
        """Closes the idle connections to every node."""
        for node in self:
            await node.upstream.close()
