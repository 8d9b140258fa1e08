"""Fixtures of the door: each test gets nodes and doors of its own, ended when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.gateway.parts import Child, DoorProcess, NodeProcess

StartNode = Callable[..., NodeProcess]
StartDoor = Callable[..., DoorProcess]


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
def start_door(children: list[Child]) -> StartDoor:
    """Starts a door: `start_door(*nodes, **plan)`."""

    def start(*nodes: NodeProcess, **plan: Any) -> DoorProcess:
        door = DoorProcess(*nodes, **plan)
        children.append(door)
        return door

    return start
