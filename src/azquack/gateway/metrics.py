"""The gateway's Prometheus metrics, in a registry of their own."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

NAMES, OLD_NAMES = "azquack_gateway_", "azquack_door_"
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class OldNames(Collector):
    """The metrics of `registry` by the names that they had in 0.1, for the one release in which both are shown."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        """Each with the name that takes its place in its help."""
        for metric in self._registry.collect():
            if metric.name.startswith(NAMES):
                told = f"The old name of {metric.name}, which will go in the next release."
                old = Metric(metric.name.replace(NAMES, OLD_NAMES, 1), told, metric.type)
                old.samples = [
                    each._replace(name=each.name.replace(NAMES, OLD_NAMES, 1)) for each in metric.samples
                ]
                yield old


class Metrics:
    """One set per gateway; `registry` is what the sidecar shows."""

    def __init__(self) -> None:
        self.registry, registry = CollectorRegistry(), CollectorRegistry()
        self.registry.register(registry)
        self.registry.register(OldNames(registry))
        self._requests = Counter(
            "azquack_gateway_requests",
            "Requests by message type and outcome.",
            ["type", "outcome"],
            registry=registry,
        )
        self._latency = Histogram(
            "azquack_gateway_request_seconds",
            "Seconds from a request's head to the end of its answer.",
            ["type"],
            buckets=BUCKETS,
            registry=registry,
        )
        self._bytes = Counter("azquack_gateway_bytes", "Bytes of bodies.", ["direction"], registry=registry)
        self._in, self._out = self._bytes.labels("in"), self._bytes.labels("out")
        # To find the series of a request by its labels costs more than to count it.
        self._series: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self.sessions = Gauge(
            "azquack_gateway_sessions",
            "Sessions that this gateway has seen and that have not ended.",
            ["principal", "node"],
            registry=registry,
        )
        self.refusals = Counter(
            "azquack_gateway_refusals", "Refusals by reason.", ["reason"], registry=registry
        )
        self.slowed = Counter(
            "azquack_gateway_slowed",
            "Requests that waited, as their address or principal asks too fast.",
            registry=registry,
        )
        self.foreign = Counter(
            "azquack_catalog_foreign_statements",
            "Statements refused by a catalog, as neither DuckLake nor AzQuack sends them.",
            registry=registry,
        )
        self.group_sizes = Histogram(
            "azquack_gateway_group_inserts",
            "Small inserts that one commit held.",
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=registry,
        )
        self.running = Gauge("azquack_gateway_statements", "Statements that run.", registry=registry)
        self.queued = Gauge("azquack_gateway_queue", "Statements that wait for a slot.", registry=registry)
        self.connections = Gauge("azquack_gateway_connections", "Open client sockets.", registry=registry)
        self.node_up = Gauge(
            "azquack_gateway_node_up", "1 when the node is well.", ["node"], registry=registry
        )

    def request(self, kind: str, outcome: str, seconds: float, received: int, sent: int) -> None:
        """Notes a request that is over, and the bytes of its two bodies."""
        series = self._series.get((kind, outcome))
        if series is None:
            series = self._requests.labels(kind, outcome), self._latency.labels(kind)
            self._series[kind, outcome] = series
        series[0].inc()
        series[1].observe(seconds)
        self._in.inc(received)
        self._out.inc(sent)
