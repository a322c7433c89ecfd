"""When a file system will be full: a slow estimate over a week and a fast one over the last three hours.

A straight line through the last hours cries wolf on every disk that fills by day and is cleaned at night. Both
estimates compare like with like: an hour with the same hour of the days before.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import pairwise
from statistics import fmean, median
from typing import Literal

Verdict = Literal["full", "filling fast", "filling", "steady", "insufficient data"]
Sample = tuple[datetime, float]

DAYS = 7
"""Days that are compared with the days before them."""
LEAST_DAYS = 3
"""Days without which neither estimate says anything."""
FAST_HOURS = 3
FAST_HORIZON_H = 24.0
"""What three hours show tells nothing about the day after tomorrow."""
FAST_FLOOR = 0.0005
"""Share of the space by which an hour must exceed the usual one: below it lies the noise of logs and caches."""
HISTORY = timedelta(days=2 * DAYS + 1)
"""How far back samples are of use: two weeks, each hour compared with the day before."""
FAST_SHARE = 0.25
"""Share of the usual growth of three hours by which they must exceed it."""
_HORIZON_H = 365 * 24.0
_GAP_S = 5400.0
"""Between samples further apart than this nothing is known: one jump would look like steady growth."""
_LEAST_HOURS = 12
_HOUR_S = 3600.0
_DAY_H = 24


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """When there will be nothing left; hours and instant are None unless the verdict says that it fills."""

    verdict: Verdict
    reason: str
    """One line with the figures behind it."""
    samples: int
    """Samples of the last 15 days it rests on."""
    method: Literal["slow", "fast"] | None = None
    confidence: float | None = None
    """Slow: share of the days that did not fall; fast: share of the seven days before that could be compared (0-1)."""
    rate_per_hour: float | None = None
    """Bytes or inodes an hour by `method`; where it is steady, by the slow estimate."""
    hours_left: float | None = None
    full_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class _Rate:
    """What one estimate says; `hours_left` is None where the file system does not fill by it."""

    per_hour: float
    confidence: float
    told: str
    hours_left: float | None = None


def forecast(
    samples: Iterable[Sample], now: datetime, *, used: float, free: float, shown: Callable[[float], str]
) -> Forecast:
    """Return when `free` (bytes or inodes) will be gone, given earlier samples of what was used.

    `used` and `free` were measured at `now`. Samples of the future (a clock that was set back) are passed over. The
    sooner of both estimates counts. `shown` writes an amount for people.
    """
    if free <= 0:
        return Forecast(verdict="full", reason="nothing is free", samples=1, hours_left=0.0, full_at=now)
    history = _History([*samples, (now, used)], now)
    slow, fast = _slow(history, free, shown), _fast(history, used, free, shown)
    if fast is not None and fast.hours_left is not None and fast.hours_left < _soonest(slow):
        return _filling(history, "fast", fast)
    if slow is None:
        return Forecast(verdict="insufficient data", reason=_missing(history), samples=len(history))
    if slow.hours_left is not None:
        return _filling(history, "slow", slow)
    recent = "the last three hours can't be compared with other days" if fast is None else fast.told
    return Forecast(
        verdict="steady", reason=f"{slow.told}; {recent}", samples=len(history), rate_per_hour=slow.per_hour
    )


def _soonest(slow: _Rate | None) -> float:
    return _HORIZON_H if slow is None or slow.hours_left is None else slow.hours_left


def _filling(history: "_History", method: Literal["slow", "fast"], rate: _Rate) -> Forecast:
    hours = rate.hours_left or 0.0
    return Forecast(
        verdict="filling" if method == "slow" else "filling fast",
        reason=rate.told,
        samples=len(history),
        method=method,
        confidence=round(rate.confidence, 2),
        rate_per_hour=rate.per_hour,
        hours_left=round(hours, 1),
        full_at=history.now + timedelta(hours=hours),
    )


def _missing(history: "_History") -> str:
    return f"{len(history.changes)} days can be compared with the day before, {LEAST_DAYS} are needed"


def _slow(history: "_History", free: float, shown: Callable[[float], str]) -> _Rate | None:
    """The median difference between an hour and the same hour of the day before, over seven days.

    Of seven days one may have fallen: a clean-up by hand does not stop a leak. Where each of the last two weeks ended
    about where it began somebody cleans weekly, and what is left over from week to week counts.
    """
    changes = history.changes
    if len(changes) < LEAST_DAYS:
        return None
    daily = median(history.differences)
    kept = sum(change >= 0 for change in changes) / len(changes)
    told = f"{shown(daily)} a day (median of {len(history.differences)} hours against the day before)"
    if (left_over := history.left_over_weekly(daily)) is not None:
        daily = left_over
        told = f"{shown(daily)} a day over two weeks, cleaned weekly"
    rate = _Rate(per_hour=daily / _DAY_H, confidence=kept, told=told)
    if daily <= 0 or kept < (DAYS - 1) / DAYS:
        return rate
    # The highest point of a day is what meets the limit, so its usual rise is not to be had any more.
    swing = max(0.0, history.usual_rise - daily)
    hours = max(0.0, free - swing) / rate.per_hour
    if hours > _HORIZON_H:
        return rate
    return _Rate(
        per_hour=rate.per_hour,
        confidence=kept,
        told=f"{told}; {shown(free)} free, {shown(swing)} of it for the usual rise of a day",
        hours_left=hours,
    )


def _fast(history: "_History", used: float, free: float, shown: Callable[[float], str]) -> _Rate | None:
    """The pace of the last three hours, where each of them grew faster than is usual at its time of day.

    One large copy is no pace: a single hour never suffices. `usual` are the same three hours of the seven days before.
    """
    latest = history.growth(0)
    usual = [growth for day in range(1, DAYS + 1) if (growth := history.growth(day * _DAY_H)) is not None]
    if latest is None or len(usual) < LEAST_DAYS:
        return None
    floor = FAST_FLOOR * (used + free)
    totals = [sum(day) for day in usual]
    middle, most = median(totals), max(totals)
    # A day that is merely the fastest of eight comes every week: the excess must be twice the largest of them, and no
    # small part of what is usual.
    quicker = sum(latest) > middle + max(2 * (most - middle), FAST_SHARE * abs(middle)) and all(
        hour > _bound([day[place] for day in usual], floor) for place, hour in enumerate(latest)
    )
    rate = sum(latest) / FAST_HOURS
    told = f"{shown(sum(latest))} in the last three hours, usual {shown(middle)}"
    hours = free / rate if quicker and rate > 0 else None
    return _Rate(
        per_hour=rate,
        confidence=len(usual) / DAYS,
        told=told,
        hours_left=hours if hours is not None and hours <= FAST_HORIZON_H else None,
    )


def _bound(usual: list[float], floor: float) -> float:
    """What an hour must exceed: the median, and four times the spread of the other days or the floor."""
    middle = median(usual)
    spread = 1.4826 * median(abs(growth - middle) for growth in usual)
    return middle + max(4 * spread, floor)


class _History:
    """What was used at any earlier time, as far as samples tell."""

    def __init__(self, samples: Iterable[Sample], now: datetime) -> None:
        known = {at.timestamp(): used for at, used in samples if now - HISTORY <= at <= now}
        self.now = now
        self._times = sorted(known)
        self._used = [known[at] for at in self._times]

    def __len__(self) -> int:
        return len(self._times)

    @cached_property
    def differences(self) -> list[float]:
        """Each of the last 168 hours less the same hour of the day before, where both are known."""
        return [difference for day in self._days for difference in day]

    @cached_property
    def changes(self) -> list[float]:
        """The median difference of each of the last seven days of which at least half the hours are known."""
        return [median(day) for day in self._days if len(day) >= _LEAST_HOURS]

    @cached_property
    def usual_rise(self) -> float:
        """How far use rises within a day from this time of day on: the median of the seven days before."""
        rises: list[float] = []
        for day in range(1, DAYS + 1):
            hours = [self.used(day * _DAY_H - hour) for hour in range(_DAY_H + 1)]
            if (start := hours[0]) is not None:
                rises.append(max(used for used in hours if used is not None) - start)
        return median(rises) if rises else 0.0

    def left_over_weekly(self, daily: float) -> float | None:
        """Return the rise per day over two weeks if each rose by less than a quarter of what `daily` makes of a week.

        None for a file system that is not cleaned weekly, or not known for two weeks.
        """
        ends = [end for week in range(3) if (end := self._mean(week * DAYS * _DAY_H)) is not None]
        if daily <= 0 or len(ends) < 3 or max(later - earlier for later, earlier in pairwise(ends)) >= DAYS * daily / 4:  # noqa: PLR2004 - two weeks have three ends
            return None
        return (ends[0] - ends[-1]) / (2 * DAYS)

    def growth(self, ago: int) -> list[float] | None:
        """Return the growth of each of three hours up to `ago` hours back, newest first; None where one is unknown."""
        levels = [self.used(ago + hour) for hour in range(FAST_HOURS + 1)]
        known = [level for level in levels if level is not None]
        if len(known) < len(levels):
            return None
        return [later - earlier for later, earlier in pairwise(known)]

    def used(self, ago: float) -> float | None:
        """Return what was used `ago` hours back, from the samples beside it; None where they are too far apart."""
        at = self.now.timestamp() - ago * _HOUR_S
        right = bisect_left(self._times, at)
        if right < len(self._times) and self._times[right] == at:
            return self._used[right]
        if right in (0, len(self._times)):
            return None
        begin, end = self._times[right - 1], self._times[right]
        if end - begin > _GAP_S:
            return None
        share = (at - begin) / (end - begin)
        return self._used[right - 1] + share * (self._used[right] - self._used[right - 1])

    @cached_property
    def _days(self) -> list[list[float]]:
        return [self._compared(range(day * _DAY_H, (day + 1) * _DAY_H)) for day in range(DAYS)]

    def _compared(self, hours: Iterable[int]) -> list[float]:
        pairs = ((self.used(hour), self.used(hour + _DAY_H)) for hour in hours)
        return [later - earlier for later, earlier in pairs if later is not None and earlier is not None]

    def _mean(self, ago: int) -> float | None:
        known = [used for hour in range(_DAY_H) if (used := self.used(ago + hour)) is not None]
        return fmean(known) if len(known) >= _LEAST_HOURS else None
