"""One clock for the whole program: wall time in UTC, monotonic time for durations, and local days."""

import time
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo


class Clock(Protocol):
    """What the program may ask about time."""

    def now(self) -> datetime:
        """Return the present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never jump; only differences mean anything."""
        ...


class SystemClock:
    """The host's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class ManualClock:
    """A clock that moves only when told; used by tests and simulations."""

    def __init__(self, now: datetime) -> None:
        self._now = now.astimezone(UTC)
        self._monotonic = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    def advance(self, step: timedelta) -> None:
        """Move both readings forward by `step`."""
        self._now += step
        self._monotonic += step.total_seconds()


def local_day_window(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the half-open window [start, end) of a local calendar day as UTC instants.

    23 or 25 hours long when the clocks change. Where midnight does not exist (a change at 00:00), the
    day starts at the first instant that does: fold=0 of the missing midnight maps to just that instant.
    """
    return _midnight(day, zone), _midnight(day + timedelta(days=1), zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)


def local_date(instant: datetime, zone: ZoneInfo) -> date:
    """Return the calendar day of `instant` in `zone`."""
    return instant.astimezone(zone).date()
