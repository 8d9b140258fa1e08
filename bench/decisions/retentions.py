"""Which backups are kept, and who else could say it: docs/decisions/retention.md."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import grandfatherson

from azquack.catalog.backup.retention import Retention
from bench.decisions.measure import Figures, Table, rounds

NEWEST = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
# A month of backups every five minutes while people work, and none in the nights and on the last four days.
BUSY = [
    moment
    for minutes in range(0, 31 * 24 * 60, 5)
    if 8 <= (moment := NEWEST - timedelta(days=4, minutes=minutes)).hour < 18
]
KEEP = Retention()
Kept = Callable[[Sequence[datetime]], set[datetime]]


def run(count: int) -> list[Table]:
    """The table of `count` rounds."""
    contenders: dict[str, Kept] = {"ours": KEEP.kept, "grandfatherson": with_grandfatherson}
    return [rounds("Retention", {name: partial(measured, each) for name, each in contenders.items()}, count)]


def measured(kept: Kept) -> Figures:
    """CPU, and what stays of a month of backups: none was taken in the last four days, since nothing changed."""
    before = time.process_time()
    stay = kept(BUSY)
    return {
        "CPU": time.process_time() - before,
        "backups kept!": float(len(stay)),
        "days of which the last backup stays!": float(len({each.date() for each in stay})),
    }


def with_grandfatherson(times: Sequence[datetime]) -> set[datetime]:
    naive = {each.replace(tzinfo=None): each for each in times}
    stay: set[datetime] = grandfatherson.to_keep(
        naive, hours=KEEP.hourly, days=KEEP.daily, weeks=KEEP.weekly, now=NEWEST.replace(tzinfo=None)
    )
    return {naive[each] for each in stay} | set(sorted(times)[-KEEP.recent :])
