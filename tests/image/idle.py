"""What the replicas cost while nobody is connected: `python -m tests.image.idle [--seconds 60]`, as root.

Builds the image, runs both roles and a second query node with stand-ins of Azure, lets them settle, and prints
for each container the cores that it uses and the memory that it holds, and for each service the bytes a second.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.cluster import read_line
from tests.image.containers import ROOT, Container, missing
from tests.image.deployment import CATALOG_PORT, NODE_PORT, Deployment, build


def traffic(seconds: float, services: set[int]) -> dict[int, int]:
    """Bytes of IPv4 TCP packets on loopback in `seconds`, to and from each port of `services`."""
    counted: Counter[int] = Counter()
    with socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(0x0800)) as raw:
        raw.bind(("lo", 0x0800))
        raw.settimeout(0.5)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                packet = raw.recv(65535)
            except TimeoutError:
                continue
            if packet[9] != socket.IPPROTO_TCP:
                continue
            ports = struct.unpack_from("!HH", packet, (packet[0] & 15) * 4)
            for port in services.intersection(ports):
                counted[port] += len(packet)
    return dict(counted)


def used(container: Container) -> dict[str, tuple[float, int]]:
    """(seconds of CPU, bytes of memory with shared pages in parts) of each process of the container.

    The CPU is with that of its children which have ended.
    """
    found = {}
    for process in container.processes():
        fields = (process / "stat").read_text().rpartition(")")[2].split()
        cpu = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
        shares = (process / "smaps_rollup").read_text().split()
        memory = int(shares[shares.index("Pss:") + 1]) << 10
        what = (process / "cmdline").read_text().split("\0")[-2]
        found[f"{what.removeprefix('azquack.')} {process.name}"] = (cpu, memory)
    return found


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.image.idle", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long to measure (60)")
    parser.add_argument("--ports", type=int, nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ports:
        print(json.dumps(traffic(arguments.seconds, set(arguments.ports))), flush=True)
        return 0
    if why := missing():
        print(f"idle: {why}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="idle-") as directory:
        source, state = Path(directory) / "source", Path(directory) / "state"
        for path in (source, state):
            path.mkdir()
        build(source, "no secret")
        deployment = Deployment(state)
        try:
            deployment.start()
            deployment.sql("CREATE TABLE t AS SELECT range AS i FROM range(1000)")
            time.sleep(30)  # what a start leaves behind: imports, the first backup
            measure(deployment, arguments.seconds)
        finally:
            deployment.destroy()
    return 0


def measure(deployment: Deployment, seconds: float) -> None:
    """Prints what `deployment` uses in `seconds`."""
    services = deployment.service_ports() | {"catalog": int(CATALOG_PORT), "node": int(NODE_PORT)}
    before = {each.name: used(each) for each in deployment.containers}
    counting = subprocess.Popen(
        deployment.namespace.command(
            sys.executable, "-m", "tests.image.idle", "--seconds", str(seconds),
            "--ports", *map(str, services.values()),
        ),
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    )  # fmt: skip
    counted = json.loads(read_line(counting, "nobody counted the traffic", timeout=seconds + 60))
    counting.wait(30)
    for container in deployment.containers:
        after = used(container)
        cores = {
            name: (cpu - before[container.name].get(name, (0.0,))[0]) / seconds
            for name, (cpu, _) in after.items()
        }
        memory = sum(held for _, held in after.values())
        print(
            f"{container.name.rpartition('-')[2]:10} {sum(cores.values()):.4f} cores {memory / 1e6:6.0f} MB"
        )
        for name, (_, held) in after.items():
            print(f"    {name.split()[0]:10} {cores[name]:.4f} cores {held / 1e6:6.0f} MB")
    for name, port in services.items():
        print(f"{name:10} {counted.get(str(port), 0) / seconds:6.0f} bytes/s there and back")


if __name__ == "__main__":
    sys.exit(main())
