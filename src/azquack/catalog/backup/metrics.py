"""How old the newest backup is, for Prometheus."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from azquack.catalog.backup.status import BackupStatus


class BackupCollector(Collector):
    """The metrics of a `BackupStatus`; `read` gives its newest message, or None when there is no backup process."""

    def __init__(self, read: Callable[[], Mapping[str, Any] | None]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        """Every metric, none without a backup process."""
        message = self._read()
        if message is None:
            return
        status = BackupStatus(**message)
        now = time.time()
        yield GaugeMetricFamily(
            "azquack_backup_age_seconds",
            "Age of the newest state of the catalog that a backup holds; what a loss now would cost.",
            now - max(status.checked, status.last) if status.last else float("inf"),
        )
        yield GaugeMetricFamily(
            "azquack_backup_last_timestamp_seconds", "When the newest backup was taken.", status.last
        )
        yield GaugeMetricFamily("azquack_backup_size_bytes", "Size of the newest backup.", status.size)
        yield GaugeMetricFamily("azquack_backups_kept", "Backups in the place.", status.kept)
        yield CounterMetricFamily("azquack_backups_taken", "Backups taken since the start.", status.taken)
        yield CounterMetricFamily("azquack_backups_failed", "Backups that failed.", status.failed)
