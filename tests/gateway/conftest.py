"""Fixtures of the gateway: each test gets nodes and gateways of its own, ended when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway.parts import Child, GatewayProcess, NodeProcess

StartNode = Callable[..., NodeProcess]
StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in reversed(started):
        child.stop()


@pytest.fixture
def start_node(children: list[Child]) -> StartNode:
    """Starts a node: `start_node(name, *statements, access=…)`."""

    def start(name: str, *statements: str, access: str = "write") -> NodeProcess:
        node = NodeProcess(name, *statements, access=access)
        children.append(node)
        return node

    return start


@pytest.fixture
def start_gateway(children: list[Child]) -> StartGateway:
    """Starts a gateway: `start_gateway(*nodes, **config)`."""

    def start(*nodes: NodeProcess, **config: Any) -> GatewayProcess:
        gateway = GatewayProcess(*nodes, **config)
        children.append(gateway)
        return gateway

    return start
