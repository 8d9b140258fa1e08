"""The processes of a replica: started in order, kept, ended in the reverse order.

One that refuses its very first start ends the replica, with the child's own sentence.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Sequence

from azquack.channel import Message
from azquack.child import HTTP, Child, ChildSpec, ChildState, Ports
from azquack.errors import StartError

log = logging.getLogger(__name__)


class Supervisor:
    """Starts `specs` in order, keeps them, and ends them in the reverse order."""

    def __init__(self, specs: Sequence[ChildSpec], *, stop_timeout: float) -> None:
        self.children = [Child(spec, self._ports, self._tell, self._serve) for spec in specs]
        self._stop_timeout = stop_timeout
        self._keepers: dict[str, asyncio.Task[None]] = {}
        self._end = asyncio.Event()

    async def run(self, on_ready: Callable[[list[ChildState]], Awaitable[None]] | None = None) -> None:
        """Run until SIGTERM or SIGINT. Raises `StartError` when a child refuses its first start."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end.set)
        try:
            for child in self.children:
                if child.spec.on_demand:
                    continue
                starting = asyncio.create_task(child.start())
                ending = asyncio.create_task(self._end.wait())
                await asyncio.wait({starting, ending}, return_when=asyncio.FIRST_COMPLETED)
                ending.cancel()
                if not starting.done():
                    starting.cancel()
                    return
                await starting
                self._keepers[child.spec.name] = asyncio.create_task(child.keep())
            if on_ready:
                await on_ready([child.state for child in self.children])
            await self._end.wait()
            log.info("stopping")
        finally:
            for keeper in self._keepers.values():
                keeper.cancel()
            for child in reversed(self.children):
                await child.stop(self._stop_timeout)
            await asyncio.gather(*self._keepers.values(), return_exceptions=True)

    async def _serve(self, request: Message) -> None:
        """What a child asks for: `start` another one that is on demand, or `end` one that went wrong."""
        child = next(each for each in self.children if each.spec.name == request["child"])
        if request["event"] == "end":
            await child.kill(str(request["reason"]))
        elif request["event"] == "start" and child.spec.name not in self._keepers:
            self._keepers[child.spec.name] = asyncio.create_task(self._start_and_keep(child))

    async def _start_and_keep(self, child: Child) -> None:
        try:
            await child.start()
        except StartError as error:
            log.error("a process did not start", extra={"child": child.spec.name, "reason": str(error)})
            # The next one who asks for it tries again.
            del self._keepers[child.spec.name]
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
        """Give every child the state of its replica: the door routes and reports by it."""
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
        for child in self.children:
            if child.state.ready and child.spec.module != "azquack.node":
                own = [state for other, state in states.items() if other.spec.replica == child.spec.replica]
                await child.send({"op": "state", "children": own})
