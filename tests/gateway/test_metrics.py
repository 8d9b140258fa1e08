"""The metrics of a gateway, also by the names that they had."""

from __future__ import annotations

import re

from prometheus_client import generate_latest

from azquack.gateway.metrics import Metrics


def test_each_metric_is_shown_by_its_old_name_too_for_one_release() -> None:
    metrics = Metrics()
    metrics.request("PREPARE", "ok", 0.2, 10, 20)
    metrics.sessions.labels("ann", "n1").set(3)
    metrics.slowed.inc()
    text = generate_latest(metrics.registry).decode()
    samples = re.findall(r"^azquack_(gateway|door)_(.*) (\S+)$", text, re.MULTILINE)
    new = {(name, value) for kind, name, value in samples if kind == "gateway"}
    assert new == {(name, value) for kind, name, value in samples if kind == "door"}
    assert ('sessions{node="n1",principal="ann"}', "3.0") in new
    families = set(re.findall(r"^# TYPE azquack_gateway_(\w+)", text, re.MULTILINE))
    for each in families:
        assert f"# HELP azquack_door_{each} The old name of azquack_gateway_" in text
