"""Which backups are kept: pure functions over their times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from azquack.config.settings import Settings

_PERIODS: dict[str, Callable[[datetime], tuple[int, ...]]] = {
    "hourly": lambda time: (*time.timetuple()[:4],),
    "daily": lambda time: (*time.timetuple()[:3],),
    "weekly": lambda time: (*time.isocalendar()[:2],),
}


@dataclass(frozen=True, slots=True)
class Retention:
    """The newest `recent` are kept, and the last one of each of so many hours, days and weeks."""

    recent: int = 12
    hourly: int = 24
    daily: int = 7
    weekly: int = 4

    @classmethod
    def from_settings(cls, settings: Settings) -> Retention:
        """From the `backup_` settings."""
        return cls(
            settings.backup_recent, settings.backup_hourly, settings.backup_daily, settings.backup_weekly
        )

    def kept(self, times: Sequence[datetime]) -> set[datetime]:
        """Those of `times` that stay; hours, days and weeks in which nothing changed do not count."""
        newest_first = sorted(times, reverse=True)
        return {newest_first[each] for each in self.places(newest_first)}

    def places(self, newest_first: Sequence[datetime]) -> set[int]:
        """The same for times that are in order already, by their places in it: several may be one moment."""
        keep = set(range(min(max(self.recent, 1), len(newest_first))))
        for name, period in _PERIODS.items():
            seen: set[tuple[int, ...]] = set()
            for place, time in enumerate(newest_first):
                if period(time) not in seen and len(seen) < getattr(self, name):
                    seen.add(period(time))
                    keep.add(place)
        return keep
