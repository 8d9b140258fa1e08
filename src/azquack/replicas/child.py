"""One process of a replica: started, watched, restarted, ended.

It is alive when it answers a ping in time, not merely when it exists. One that dies is started again with
growing waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from azquack.errors import AzQuackError, StartError
from azquack.process import malloc
from azquack.process.pipes import Message, decode, encode

log = logging.getLogger(__name__)

PING_EVERY = 5.0
PING_TIMEOUT = 30.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 15.0
# A child that ran this long before it died starts again without a wait.
SETTLED = 3.0


# The ports of the children that have been ready, by name, and by name + HTTP those of their sidecars; a child
# keeps its own over restarts.
Ports = Mapping[str, int]
HTTP = "/http"


@dataclass(frozen=True)
class ChildSpec:
    """One process: `module` is run as `python -m`, what `config` makes is the first message that it gets.

    A replica is not ready without its `vital` processes; of the others it only says that they are down. One
    that is `on_demand` is started when another process of the replica first asks for it; one that is
    `owner_only` runs while the replica owns the catalog. It gets the variables of its
    `environment` that the replica does not have itself. One with a `sidecar` answers the replica's probes. `accept` is
    told what a ready one reports, before anybody else is; what it raises ends the start.
    """

    name: str
    module: str
    config: Callable[[Ports], Message] = field(repr=False)
    start_timeout: float = 60.0
    vital: bool = True
    on_demand: bool = False
    owner_only: bool = False
    sidecar: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    accept: Callable[[Message], Awaitable[None]] | None = field(default=None, repr=False)

    @property
    def replica(self) -> str:
        """Which replica it belongs to, the first part of its name: a pair on a laptop has one supervisor."""
        return self.name.partition("-")[0]


@dataclass
class ChildState:
    """What is known of a child, for status and metrics. Times are UTC. `skipped` are statements in which it died."""

    name: str
    ready: bool = False
    pid: int | None = None
    since: datetime | None = None
    restarts: int = 0
    last_exit: str = ""
    skipped: list[str] = field(default_factory=list)
    report: Message = field(default_factory=dict)
    probed: Message = field(default_factory=dict)


class Child:
    """A process that is kept running."""

    def __init__(
        self,
        spec: ChildSpec,
        ports: Callable[[], Ports],
        on_change: Callable[[], Awaitable[None]],
        on_request: Callable[[str, Message], Awaitable[None]],
    ) -> None:
        self.spec = spec
        self._ports = ports
        self.state = ChildState(spec.name)
        self._on_change = on_change
        self._on_request = on_request
        self._process: asyncio.subprocess.Process | None = None
        self._configured = False
        self._last_pong = 0.0

    async def spawn(self) -> None:
        """Start its process, unless that runs: it loads its modules, and then waits for its configuration."""
        if self._process is None or self._process.returncode is not None:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", self.spec.module,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=16 * 1024 * 1024,
                env={**malloc.ARENAS, **self.spec.environment, **os.environ},
            )  # fmt: skip
            self._configured = False

    async def start(self) -> None:
        """Start it and wait until it is ready. Raises `StartError` with the child's own error.

        One that died while it ran a statement of its configuration is started again without that statement.
        """
        while True:
            await self.spawn()
            assert self._process is not None
            process, self.state.pid = self._process, self._process.pid
            self._configured = True
            skip = {"skip": self.state.skipped} if self.state.skipped else {}
            await self.send(self.spec.config(self._ports()) | skip)
            try:
                # The child bounds its own start; the margin is for one that hangs.
                first, running = await asyncio.wait_for(self._first(), self.spec.start_timeout + 10)
            except TimeoutError:
                await self.kill("it did not start in time")
                raise StartError(
                    f"{self.spec.name} did not start within {self.spec.start_timeout:.0f} s"
                ) from None
            if first is not None and first["event"] == "ready":
                break
            code = await process.wait()
            reason = first["error"] if first else f"{self.spec.name} ended with {_exit_text(code)}"
            if first is None and running and code < 0 and code != -signal.SIGTERM:
                self.state.last_exit = f"{reason} while it ran {running}"
                self.state.skipped.append(running)
                log.error(
                    "a process died in a statement, and starts again without it",
                    extra={"child": self.spec.name, "statement": running, "reason": _exit_text(code)},
                )
                continue
            self.state.last_exit = reason
            raise StartError(reason, may_pass=bool(first and first.get("may_pass")))
        if self.spec.accept is not None:
            try:
                await self.spec.accept(first)
            except AzQuackError as error:
                await self.kill(str(error))
                raise StartError(str(error), may_pass=error.may_pass) from None
        self.state.ready, self.state.since = True, datetime.now(UTC)
        self.state.report = first
        self._last_pong = time.monotonic()
        await self._on_change()

    async def _first(self) -> tuple[Message | None, str]:
        """Its first message that is no mere note of what it runs, and the statement that it ran last."""
        running = ""
        while (message := await self._receive()) is not None and message["event"] == "running":
            running = message["statement"]
        return message, running

    async def keep(self) -> None:
        """Watch it, and start it again for ever; cancel this before `stop`."""
        pause = FIRST_PAUSE
        while True:
            started = time.monotonic()
            await self._watch()
            self.state.ready = False
            self.state.restarts += 1
            await self._on_change()
            pause = FIRST_PAUSE if time.monotonic() - started > SETTLED else pause
            while True:
                log.warning(
                    "restarting a process",
                    extra={"child": self.spec.name, "reason": self.state.last_exit, "pause": round(pause, 1)},
                )
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                with contextlib.suppress(StartError):
                    await self.start()
                    break

    async def send(self, message: Message) -> None:
        """Tell the child something; nothing happens when it is gone, or has no configuration yet."""
        if self._process is None or self._process.stdin is None or not self._configured:
            return
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._process.stdin.write(encode(message))
            await self._process.stdin.drain()

    async def stop(self, grace: float) -> None:
        """Ask it to end; kill it after `grace` seconds."""
        if self._process is None or self._process.returncode is not None:
            return
        if not self._configured:
            await self.kill("it was not needed")
            return
        await self.send({"op": "stop"})
        try:
            await asyncio.wait_for(self._process.wait(), grace)
        except TimeoutError:
            await self.kill(f"it did not end within {grace:.0f} s")
        self.state.ready = False

    async def _watch(self) -> None:
        """Until the process ends: read what it says, ping it, kill it when it does not answer."""
        process = self._process
        assert process is not None
        pinger = asyncio.create_task(self._ping())
        try:
            while (message := await self._receive()) is not None:
                if message["event"] == "pong":
                    self._last_pong = time.monotonic()
                elif message["event"] == "probed":
                    self.state.probed = message
                    await self._on_change()
                else:
                    await self._on_request(self.spec.name, message)
            code = await process.wait()
            if not self.state.last_exit:
                self.state.last_exit = f"it ended with {_exit_text(code)}"
        finally:
            pinger.cancel()

    async def _ping(self) -> None:
        self.state.last_exit = ""
        while True:
            await self.send({"op": "ping"})
            await asyncio.sleep(PING_EVERY)
            silent = time.monotonic() - self._last_pong
            if silent > PING_TIMEOUT:
                await self.kill(f"it did not answer for {silent:.0f} s")
                return

    async def _receive(self) -> Message | None:
        assert self._process is not None
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        return decode(line) if line else None

    async def kill(self, reason: str) -> None:
        """End it at once; `reason` is what the log and the metrics will say."""
        self.state.last_exit = reason
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


def _exit_text(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    name = signal.Signals(-code).name
    return f"{name}, as the kernel does when memory runs out" if name == "SIGKILL" else name
