"""Where a node is, and who is sent there."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Access = Literal["read", "write"]


@dataclass(frozen=True, slots=True)
class NodeAddress:
    """A Quack server behind the gateway, the token to log in there, and who is sent there."""

    name: str
    host: str
    port: int
    token: str = field(repr=False)
    access: Access = "write"
