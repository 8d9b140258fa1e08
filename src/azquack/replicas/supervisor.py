"""The processes of a replica: started in order, kept, ended in the reverse order.

One that refuses its very first start ends the replica, with the child's own error.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence

from azquack.catalog.lease.ownership import Ownership
from azquack.errors import StartError
from azquack.process.pipes import Message
from azquack.replicas.child import HTTP, Child, ChildSpec, ChildState, Ports
from azquack.replicas.starting import StartingSidecar

log = logging.getLogger(__name__)

# Seconds after which a standby that could not serve tries again; another may fare better meanwhile.
RETRY_EVERY = 5.0


OnReady = Callable[[list[ChildState]], Awaitable[None]]


class Supervisor:
    """Starts `specs` in order, keeps them, and ends them in the reverse order.

    With an `ownership`, those that are `owner_only` run while the replica owns the catalog and at no other time.
    `starting` answers the probes until the sidecar does.
    """

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        stop_timeout: float,
        ownership: Ownership | None = None,
        starting: StartingSidecar | None = None,
    ) -> None:
        self.children = [Child(spec, self._ports, self._tell, self._serve) for spec in specs]
        self._stop_timeout = stop_timeout
        self._ownership = ownership
        self._starting = starting
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._end = asyncio.Event()
        if ownership is not None:
            ownership.subscribe(self._tell)

    async def run(self, on_ready: OnReady | None = None) -> None:
        """Run until SIGTERM or SIGINT. Raises `StartError` when a child refuses its first start.

        `on_ready` is told once all serve; that of a standby a second time, once it owns the catalog.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        work = asyncio.create_task(self._work(on_ready))
        ending = asyncio.create_task(self._end.wait())
        try:
            await asyncio.wait({work, ending}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await work
            log.info("stopping")
        finally:
            tasks = [work, ending, *self._watching.values()]
            for task in tasks:
                task.cancel()
            for child in reversed(self.children):
                await child.stop(self._stop_timeout)
            if self._ownership is not None:
                await self._ownership.release()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _work(self, on_ready: OnReady | None) -> None:
        """Start everything and keep it, for ever."""
        if self._starting and self._ownership:
            self._starting.waits_for("the lease and the file of the catalog")
        owns = self._ownership is None or await self._ownership.take()
        await self._start_all(
            [each for each in self.children if not each.spec.on_demand and (owns or not each.spec.owner_only)]
        )
        await self._announce(on_ready)
        if self._ownership is None:
            await self._end.wait()
            return
        if not owns:
            await self._take_over(self._ownership)
            await self._announce(on_ready)
        while True:
            reason = await self._ownership.lost()
            log.warning("this replica lost the catalog", extra={"reason": reason})
            # The gateway sends everybody away from here on, and has none wait for a node that goes.
            await self._tell()
            await self._end_owned(f"the lease was lost: {reason}")
            await self._take_over(self._ownership)

    async def _start_all(self, children: list[Child]) -> None:
        """One after another, as each may need to know of those before; but their modules they load at once."""
        for child in children:
            await child.spawn()
        for child in children:
            await self._start(child)

    async def _start(self, child: Child) -> None:
        if self._starting:
            self._starting.waits_for(f"the process {child.spec.name}")
            if child.spec.sidecar:
                self._starting.close()
        await child.start()
        self._watching[child.spec.name] = asyncio.create_task(child.keep())

    async def _announce(self, on_ready: OnReady | None) -> None:
        if on_ready:
            await on_ready([child.state for child in self.children])

    async def _take_over(self, ownership: Ownership) -> None:
        """Wait until the catalog is ours and its processes serve."""
        while True:
            await self._tell()
            await ownership.wait()
            try:
                await self._start_all(self._owned())
            except StartError as error:
                log.error("the catalog cannot be served", extra={"reason": str(error)})
                await self._end_owned(str(error))
                await ownership.release()
                await asyncio.sleep(RETRY_EVERY)
            else:
                return

    async def _end_owned(self, reason: str) -> None:
        """At once: nothing that they still did would count."""
        for child in reversed(self._owned()):
            if task := self._watching.pop(child.spec.name, None):
                task.cancel()
            await child.kill(reason)
            child.state.ready = False

    def _owned(self) -> list[Child]:
        return [child for child in self.children if child.spec.owner_only]

    async def _serve(self, asker: str, request: Message) -> None:
        """What the child `asker` wants of another: to `start` it on demand, to `end` it, or to `ask` it something.

        A question goes with who asks and its number there, and its `answer` brings both back.
        """
        if request["event"] == "answer":
            to, number = request.pop("for")
            await self._child(to).send({**request, "op": "answer", "number": number})
            return
        child = self._child(request["child"])
        if request["event"] == "ask":
            await child.send({**request["question"], "op": "ask", "for": [asker, request["number"]]})
        elif request["event"] == "end":
            await child.kill(str(request["reason"]))
        elif request["event"] == "start" and child.spec.name not in self._watching:
            self._watching[child.spec.name] = asyncio.create_task(self._start_and_keep(child))

    def _child(self, name: str) -> Child:
        return next(each for each in self.children if each.spec.name == name)

    async def _start_and_keep(self, child: Child) -> None:
        try:
            await child.start()
        except StartError as error:
            log.error("a process did not start", extra={"child": child.spec.name, "reason": str(error)})
            # The next one who asks for it tries again.
            del self._watching[child.spec.name]
            return
        await child.keep()

    def _ports(self) -> Ports:
        ports: dict[str, int] = {}
        for child in self.children:
            for suffix, key in (("", "port"), (HTTP, "http_port")):
                if key in child.state.report:
                    ports[child.spec.name + suffix] = int(child.state.report[key])
        return ports

    async def _tell(self) -> None:
        """Give every child the state of its replica: the gateway routes and reports by it."""
        states = {
            child: {
                "name": child.state.name,
                "ready": child.state.ready,
                "vital": child.spec.vital,
                "pid": child.state.pid,
                "since": child.state.since.isoformat() if child.state.since else None,
                "restarts": child.state.restarts,
                "last_exit": child.state.last_exit,
                "report": child.state.report,
                "probed": child.state.probed,
            }
            for child in self.children
        }
        grant = self._ownership.grant if self._ownership else None
        lease = grant.to_message() if grant else None
        for child in self.children:
            if child.state.ready and child.spec.module != "azquack.node.process":
                own = [state for other, state in states.items() if other.spec.replica == child.spec.replica]
                await child.send({"op": "state", "children": own, "lease": lease})
