"""A gateway in a process of its own: `python -m tests.gateway.run_gateway` reads its config from standard input.

The first line is `{"nodes": [...], "secret": …, "limits": {...}, "principals": {token: [name, role]},
"principals_file": path or null, "native_names": bool, "audit": path or null, "policy": bool, "group_commit": bool,
"only_gateway": bool, "trusted_proxies": text, "fence": bool}`; a `principals_file` is a real one, in their place;
further lines are `{"nodes": [...]}`, `{"revoke": name}`,
`{"drain": name}`, `{"fence": bool}` or `{"standby": bool}`.
The port is printed once it accepts, then a line per node asked for or statement abandoned.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from azquack.gateway.audit import Audit
from azquack.gateway.limits import Limits
from azquack.gateway.metrics import Metrics
from azquack.gateway.ports import NoReplica, Principal
from azquack.gateway.quack.app import Gateway, Mode, Records, Rights
from azquack.gateway.quack.server import GatewayServer, Listening
from azquack.gateway.routing import Nodes
from azquack.gateway.seal import Seal
from azquack.gateway.views import LakeViews
from azquack.node.address import Access, NodeAddress
from azquack.policy.policy import Policy
from azquack.principals import FileSource, Principals, Role
from azquack.principals import Principal as Person

# Looking up this token takes as long as an issuer of JWTs that does not answer.
SLOW = "slow-token"


class People:
    """Principals by token; a stand-in for the stores that AzQuack has."""

    def __init__(self, people: dict[str, Any]) -> None:
        self._people = {
            token: Person(name, Role(role), hashlib.sha256(token.encode()).hexdigest()[:16], None, *more)
            for token, (name, role, *more) in people.items()
        }

    def authenticate(self, token: str) -> Principal | None:
        if token == SLOW:
            print("slow login", flush=True)
            time.sleep(3)
        return self._people.get(token)

    def reason(self, token: str) -> str:
        return ""

    def current(self, name: str, fingerprint: str) -> Principal | None:
        known = [person for person in self._people.values() if person.name == name]
        return known[0] if known and known[0].fingerprint == fingerprint else None

    def restricted(self) -> bool:
        return False

    def named(self, name: str) -> list[Person]:
        return []

    def revoke(self, name: str) -> None:
        self._people = {token: person for token, person in self._people.items() if person.name != name}


class Replica(NoReplica):
    """Prints what it is asked for."""

    def __init__(self, fence: bool) -> None:
        self.fence = fence

    def may_answer(self) -> bool:
        return self.fence

    def start_node(self, access: Access) -> None:
        print(f"asked {access}", flush=True)

    def end_node(self, node: str, reason: str) -> None:
        print(f"runaway {node}: {reason}", flush=True)


async def main() -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    config = json.loads(await lines.readline())
    people = People(config["principals"])
    addresses = [NodeAddress(**each) for each in config["nodes"]]
    nodes = Nodes(addresses)
    audit = None
    if config.get("audit"):
        audit = Audit(_appender(Path(config["audit"])), text=True)
    replica = Replica(config.get("fence", True))
    policy = Policy() if config.get("policy") else None
    who = (
        Principals([FileSource(Path(config["principals_file"]))]) if config.get("principals_file") else people
    )
    views = None
    if policy is not None:
        views = LakeViews(policy.lake, who, 60.0, alone=config.get("only_gateway", False), over_quack=False)
    mode = Mode(
        native_names=config.get("native_names", True),
        alone=config.get("only_gateway", False),
        group_commit=config.get("group_commit", False),
    )
    rights = Rights(who, Seal(config["secret"]), policy, views)
    limits = Limits(**config.get("limits", {}))
    gateway = Gateway(nodes, rights, Records(Metrics(), audit), mode, limits, replica)
    server = GatewayServer(gateway, _listening(config))
    await server.start()
    print(server.port, flush=True)
    while line := await lines.readline():
        order = json.loads(line)
        if "nodes" in order:
            addresses = [NodeAddress(**each) for each in order["nodes"]]
        if "revoke" in order:
            people.revoke(order["revoke"])
        if "drain" in order:
            nodes.drain(order["drain"])
        replica.fence = order.get("fence", replica.fence)
        replica.standby = order.get("standby", replica.standby)
        nodes.update(addresses)
        print("done", flush=True)
    await server.stop()


def _appender(file: Path) -> Callable[[str], object]:
    def write(line: str) -> None:
        with file.open("a") as log:
            log.write(line)

    return write


def _listening(config: dict[str, Any]) -> Listening:
    files: Any = {name: Path(path) for name, path in config.get("tls", {}).items()}
    return Listening(port=config.get("port", 0), trusted_proxies=config.get("trusted_proxies", ""), **files)


if __name__ == "__main__":
    uvloop.run(main())
