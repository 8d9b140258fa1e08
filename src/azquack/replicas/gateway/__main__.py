"""The gateway process of a replica: `python -m azquack.replicas.gateway`, started by the supervisor."""

from __future__ import annotations

import asyncio
import os
import threading

import uvloop

from azquack.errors import AzQuackError
from azquack.process import logs
from azquack.process.pipes import Message, ParentPipe
from azquack.replicas.gateway.process import GatewayProcess


async def serve(config: Message, parent: ParentPipe) -> None:
    """Serve until the supervisor says stop or is gone. Raises what `GatewayProcess.start` raises."""
    process = GatewayProcess(config, parent.send)
    await process.start()
    messages: asyncio.Queue[Message | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def listen_to_parent() -> None:
        while True:
            message = parent.receive()
            loop.call_soon_threadsafe(messages.put_nowait, message)
            if message is None:
                return

    threading.Thread(target=listen_to_parent, daemon=True).start()
    parent.send("ready", port=process.port, http_port=process.http_port)
    while (message := await messages.get()) is None or message["op"] != "stop":
        if message is None:
            # The supervisor was killed: nobody is left to whom an orderly end would matter.
            os._exit(1)
        if message["op"] == "ping":
            parent.send("pong")
        elif message["op"] == "state":
            process.learn(message["children"], message["lease"])
        elif message["op"] == "answer":
            process.answered(message)
    await process.stop()
    parent.send("stopped")


def main() -> int:
    """The process: 0 after a stop, 1 after a failed start (whose error the supervisor gets)."""
    parent = ParentPipe()
    config = parent.receive()
    if config is None:
        return 1
    logs.configure(config["name"], config["settings"]["log_level"])
    try:
        uvloop.run(serve(config, parent))
    except AzQuackError as error:
        parent.send("failed", error=str(error))
        return 1
    return 0


if __name__ == "__main__":
    os._exit(main())
