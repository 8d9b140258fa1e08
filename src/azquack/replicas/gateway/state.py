"""What a gateway knows of its replica, as the supervisor sends it: the other processes, and the lease."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from azquack.catalog.lease.grant import Grant
from azquack.gateway.ports import Progress
from azquack.node.address import Access, NodeAddress
from azquack.process.health import Board
from azquack.process.pipes import Message
from azquack.replicas.gateway.questions import Questions

log = logging.getLogger(__name__)


class Replica:
    """The processes, as of the last message about them; `board` gets their health.

    `token` is what the nodes let the gateway in with, `tell` sends an event to the supervisor. One that is `leased`
    answers only while it owns the catalog. `on_demand` are processes that are started when they are asked for; nodes
    of `peers` belong to others.
    """

    def __init__(
        self,
        board: Board,
        token: str,
        tell: Callable[..., None],
        *,
        leased: bool,
        on_demand: Mapping[Access, str],
        peers: Collection[str],
    ) -> None:
        self._board = board
        self._token = token
        self._tell = tell
        self._on_demand = on_demand
        self._peers = peers
        self.questions = Questions(tell)
        self._leased = leased
        self._told = False
        self.grant: Grant | None = None
        self.children: list[Message] = []

    def learn(self, children: list[Message], lease: Message | None) -> None:
        """Take in the state of all processes, and the lease as it is held."""
        self._told = True
        self.children = children
        self.grant = Grant.from_message(lease) if lease else None
        for child in children:
            if child["vital"]:
                self._board.note(child["name"], "" if child["ready"] else child["last_exit"] or "not up yet")
            if child["ready"]:
                for name, problem in child["probed"].get("probes", {}).items():
                    self._board.note(name, problem)

    @property
    def standby(self) -> bool:
        """Whether it waits for the catalog, which another replica owns."""
        return self._leased and self._told and self.grant is None

    @property
    def ready(self) -> bool:
        """Whether it serves, or waits as a standby.

        A platform that ends the old replica only once the new one is ready would otherwise wait for ever.
        """
        return self._board.ready or self.standby

    def may_answer(self) -> bool:
        """Whether what a node answered may leave the gateway: with a lease, only while that is held."""
        return not self._leased or (self.grant is not None and self.grant.held())

    def start_node(self, access: Access) -> None:
        """Has the supervisor start a node that is started on demand."""
        if (child := self._on_demand.get(access)) is not None:
            self._tell("start", child=child)

    def end_node(self, node: str, reason: str) -> None:
        """Has the supervisor restart a node of this replica; a peer's own gateway has to look after its own."""
        log.warning("ending a node", extra={"node": node, "reason": reason})
        if node not in self._peers:
            self._tell("end", child=node, reason=reason)

    async def interrupt(self, node: str, connection: int) -> bool | None:
        """Has `node` interrupt what runs in a connection: whether it is there; None where it cannot be done or known.

        A node of a peer is not asked: only its own supervisor reaches its process.
        """
        if node in self._peers:
            return None
        answer = await self.questions.ask(node, "interrupt", connection=connection)
        done: bool | None = answer["done"] if answer else None
        return done

    async def progress(self, node: str, connections: Collection[int]) -> dict[int, Progress]:
        """How far the statements of these connections of `node` are, of those of which that is known."""
        if node in self._peers:
            return {}
        answer = await self.questions.ask(node, "progress", connections=list(connections))
        told = answer.get("progress", {}) if answer else {}
        return {int(connection): Progress(*each) for connection, each in told.items()}

    def nodes(self) -> Iterator[NodeAddress]:
        """The nodes that are up."""
        for child in self.children:
            report = child["report"]
            if child["ready"] and "access" in report:
                yield NodeAddress(child["name"], "127.0.0.1", report["port"], self._token, report["access"])

    def backup(self) -> Message | None:
        """How the backups stand, or None when this replica takes none."""
        return next((c["probed"]["backup"] for c in self.children if "backup" in c["probed"]), None)

    def status(self) -> dict[str, Any]:
        """What `azquack status` shows of this replica."""
        reports = [child["report"] for child in self.children]
        return {
            "versions": next((r["versions"] for r in reports if "versions" in r), {}),
            "sessions": sum(child["probed"].get("sessions") or 0 for child in self.children),
            "ready": self.ready,
            "standby": self.standby,
            "epoch": self.grant.epoch if self.grant else None,
            "restarts": sum(child["restarts"] for child in self.children),
            "processes": [
                {key: child[key] for key in ("name", "ready", "pid", "since", "restarts", "last_exit")}
                | {"skipped": child["report"].get("skipped", [])}
                for child in self.children
            ],
        }


class ReplicaCollector(Collector):
    """The metrics of a replica's processes, and of its lease where it has one."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    def collect(self) -> Iterator[Metric]:
        """Every metric."""
        up = GaugeMetricFamily("azquack_process_up", "1 when the process answers.", labels=["process"])
        restarts = CounterMetricFamily(
            "azquack_process_restarts", "Restarts of the process, and why the last one ended.",
            labels=["process", "last_exit"],
        )  # fmt: skip
        for child in self._replica.children:
            up.add_metric([child["name"]], child["ready"])
            restarts.add_metric([child["name"], child["last_exit"]], child["restarts"])
        skipped = GaugeMetricFamily(
            "azquack_process_skipped_statements",
            "Statements at its start in which it died.",
            labels=["process"],
        )
        for child in self._replica.children:
            skipped.add_metric([child["name"]], len(child["report"].get("skipped", [])))
        interrupts = GaugeMetricFamily(
            "azquack_interrupts_proven",
            "1 when the node can interrupt one statement; 0 when one that must end ends the node.",
            labels=["process"],
        )
        for child in self._replica.children:
            if "interrupts" in child["report"]:
                interrupts.add_metric([child["name"]], child["report"]["interrupts"])
        yield from (up, restarts, skipped, interrupts)
        grant = self._replica.grant
        yield GaugeMetricFamily(
            "azquack_lease_held",
            "1 when this replica may answer; always 1 without a lease.",
            self._replica.may_answer(),
        )
        if grant is not None:
            yield GaugeMetricFamily("azquack_lease_epoch", "Epoch of this owner of the catalog.", grant.epoch)
