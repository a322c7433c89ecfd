"""When the sample application's tasks were created: days, weekdays and hours differ as they do in an office."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from itertools import accumulate
from random import Random
from zoneinfo import ZoneInfo

DAYS = 60
_HOUR = timedelta(hours=1)
# Monday to Sunday.
_WEEKDAYS = (1.05, 1.1, 1.0, 1.05, 0.95, 0.35, 0.25)
# From 0 h; the dip is lunch.
_HOURS = (2, 1, 1, 1, 1, 2, 5, 14, 45, 90, 105, 95, 38, 52, 98, 104, 92, 70, 36, 24, 18, 12, 7, 4)
_DAY_SPREAD = 0.12  # standard deviation of a day's logarithm: most days within an eighth of the usual
_YESTERDAY_AT_LEAST = 1.0  # the first report shown must have something to tell, even on a Monday


def arrivals(tasks: int, random: Random, now: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield exactly `tasks` instants of the 60 days before `now`, ascending."""
    hours = list(_hours(now))
    weights = _weights(hours, random, now, zone)
    scale = tasks / sum(weights)
    done = 0
    for (start, seconds), reached in zip(hours, accumulate(weights), strict=True):
        until = round(reached * scale)
        for offset in sorted(random.random() * seconds for _ in range(until - done)):
            yield start + timedelta(seconds=offset)
        done = until


def _hours(now: datetime) -> Iterator[tuple[datetime, float]]:
    """Yield start and length (seconds) of each hour, oldest first; the present one lasts until `now`."""
    present = now.replace(minute=0, second=0, microsecond=0)
    for back in range(DAYS * 24 - 1, 0, -1):
        yield present - back * _HOUR, 3600.0
    if now > present:
        yield present, (now - present).total_seconds()


def _weights(hours: list[tuple[datetime, float]], random: Random, now: datetime, zone: ZoneInfo) -> list[float]:
    factors: dict[date, float] = {}
    yesterday = now.astimezone(zone).date() - timedelta(days=1)
    weights = []
    for start, seconds in hours:
        local = start.astimezone(zone)
        day = local.date()
        if day not in factors:
            usual = _WEEKDAYS[day.weekday()] * random.lognormvariate(0, _DAY_SPREAD)
            factors[day] = max(usual, _YESTERDAY_AT_LEAST) if day == yesterday else usual
        weights.append(factors[day] * _HOURS[local.hour] * seconds / 3600)
    return weights
