"""What a door knows of the other processes of its replica, told by the supervisor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from azquack.channel import Message
from azquack.door.ports import NodeAddress
from azquack.health import Board


class Replica:
    """The processes, as of the last message about them; `board` gets their health.

    `token` is what the nodes let the door in with.
    """

    def __init__(self, board: Board, token: str) -> None:
        self._board = board
        self._token = token
        self._children: list[Message] = []

    def learn(self, children: list[Message]) -> None:
        """Take in the state of all processes."""
        self._children = children
        for child in children:
            if child["vital"]:
                self._board.note(child["name"], "" if child["ready"] else child["last_exit"] or "not up yet")
            if child["ready"]:
                for name, problem in child["probed"].get("probes", {}).items():
                    self._board.note(name, problem)

    def nodes(self) -> Iterator[NodeAddress]:
        """The nodes that are up."""
        for child in self._children:
            report = child["report"]
            if child["ready"] and "access" in report:
                yield NodeAddress(child["name"], "127.0.0.1", report["port"], self._token, report["access"])

    def backup(self) -> Message | None:
        """How the backups stand, or None when this replica takes none."""
        return next((c["probed"]["backup"] for c in self._children if "backup" in c["probed"]), None)

    def status(self) -> dict[str, Any]:
        """What `azquack status` shows of this replica."""
        reports = [child["report"] for child in self._children]
        return {
            "versions": next((r["versions"] for r in reports if "versions" in r), {}),
            "sessions": sum(child["probed"].get("sessions") or 0 for child in self._children),
            "restarts": sum(child["restarts"] for child in self._children),
            "processes": [
                {key: child[key] for key in ("name", "ready", "pid", "since", "restarts", "last_exit")}
                for child in self._children
            ],
        }
