"""The gateway of a replica, the same for both roles."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import SecretStr

from azquack.config.settings import Settings
from azquack.node.address import Access
from azquack.process import malloc
from azquack.process.pipes import Message
from azquack.replicas.child import HTTP, ChildSpec, Ports


def node_token(internal_token: str) -> str:
    """What a replica's nodes let gateways in with; drawn from the internal token, so that every gateway knows it."""
    return hmac.new(internal_token.encode(), b"azquack node 1", hashlib.sha256).hexdigest()


def gateway(
    name: str,
    settings: Settings,
    *,
    internal_token: str,
    token: str,
    nodes: Mapping[str, Access],
    checks: Sequence[str],
    room: Mapping[str, Path],
    public: bool,
    leased: bool = False,
    on_demand: Mapping[Access, str] | None = None,
    data_path: str = "",
) -> ChildSpec:
    """The gateway process `name` before `nodes`; ready when every one of `checks` is well.

    It looks at the disks of `room`, the directories that the replica writes to.

    A `public` gateway lets in everybody whom the settings name, behind the policy; the other one lets in `token`
    only. A `leased` one answers only while the replica owns the catalog. `on_demand` are nodes that are
    started when somebody needs one of that access. To `data_path` people write through it ('': nobody does).
    """

    def config(ports: Ports) -> Message:
        return {
            "op": "configure",
            "name": name,
            "host": settings.host,
            "port": ports.get(name, settings.port),
            "http_host": settings.http_host,
            "http_port": ports.get(name + HTTP, settings.http_port),
            "token": token,
            "node_token": node_token(internal_token),
            "seal": internal_token,
            "nodes": [
                {"name": each, "port": ports[each], "access": access}
                for each, access in nodes.items()
                if each in ports
            ],
            "checks": list(checks),
            "room": {each: str(path) for each, path in room.items()},
            "public": public,
            "leased": leased,
            "on_demand": dict(on_demand or {}),
            "data_path": data_path,
            "settings": revealed(settings),
        }

    return ChildSpec(
        name,
        "azquack.replicas.gateway",
        config,
        settings.start_timeout,
        sidecar=True,
        environment=malloc.BUFFERS,
    )


def revealed(settings: Settings) -> Message:
    """Every setting as JSON-shaped data, secrets in clear: only for a child's standard input."""
    return {
        name: value.get_secret_value() if isinstance(value := getattr(settings, name), SecretStr) else value
        for name in Settings.model_fields
    }
