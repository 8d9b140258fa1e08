"""The Flight process of a replica: `python -m azquack.replicas.flight`, started by the supervisor."""

from __future__ import annotations

import os

from azquack.errors import AzQuackError
from azquack.node.config import NodeConfig
from azquack.node.process import Node
from azquack.process import logs, machine
from azquack.process.directories import private_directory
from azquack.process.pipes import ParentPipe
from azquack.replicas.flight.process import FlightProcess


def main() -> int:
    """The process: 0 after a stop, 1 after a failed start (whose error the supervisor gets)."""
    parent = ParentPipe()
    message = parent.receive()
    if message is None:
        return 1
    config = NodeConfig.from_message(message)
    logs.configure(config.name, config.log_level)
    machine.first_to_go()
    with private_directory() as directory:
        node = Node(config, directory, parent.send)
        try:
            node.open()
            process = FlightProcess(node, message["flight"])
            process.start()
        except AzQuackError as error:
            parent.send("failed", error=str(error), may_pass=error.may_pass)
            return 1
        parent.send("ready", port=process.port, skipped=list(config.skip))
        while (said := parent.receive()) is not None:
            if said["op"] == "ping":
                node.connection.cursor().execute("SELECT 1").fetchall()
                parent.send("pong")
            elif said["op"] == "stop":
                process.stop()
                parent.send("stopped")
                break
    return 0


if __name__ == "__main__":
    code = main()
    # gRPC and DuckDB's own client may hang in their destructors.
    os._exit(code)
