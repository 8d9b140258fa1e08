"""The Flight process of a query replica."""

from __future__ import annotations

from collections.abc import Callable

from azquack.config.settings import Settings
from azquack.replicas.child import ChildSpec, Ports
from azquack.replicas.gateway.spec import revealed

NAME = "query-flight"
# What gRPC receives lies at any address: Arrow moves what must not, and need not say so for each batch.
ARROW = {"ACERO_ALIGNMENT_HANDLING": "reallocate"}


def flight(
    settings: Settings, node: Callable[[Ports], dict[str, object]], *, seal: str, over_quack: bool
) -> ChildSpec:
    """The process, which opens the lake as `node` says; the replica serves on without it.

    With `seal` its tickets are sealed. `over_quack`: the catalog is behind a link.
    """

    def config(ports: Ports) -> dict[str, object]:
        return {
            **node(ports),
            "flight": {
                "port": ports.get(NAME, settings.flight_port),
                "seal": seal,
                "over_quack": over_quack,
                "settings": revealed(settings),
            },
        }

    return ChildSpec(
        NAME, "azquack.replicas.flight", config, settings.start_timeout, vital=False, environment=ARROW
    )
