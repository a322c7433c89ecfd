"""Weekly and monthly reports, folded from the stored figures of their days."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal
from zoneinfo import ZoneInfo

from app.core.clock import local_day_window
from app.core.errors import BadArgument
from app.reporting.period_figures import comparison, error_statistics, performance_statistics, task_statistics
from app.reporting.rollups import SCHEMA_VERSION, Rollups
from app.reporting.trend import PastDay

Kind = Literal["weekly", "monthly"]
Days = Mapping[date, dict[str, Any]]
_DAYS_OF_A_WEEK = 7


@dataclass(frozen=True, kw_only=True)
class Period:
    """A week (ISO 8601: from Monday to Sunday) or a month."""

    kind: Kind
    name: str
    """`2026-W11` or `2026-03`."""
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """Every day of it."""
        return [self.first + timedelta(days=after) for after in range((self.last - self.first).days + 1)]

    @property
    def before(self) -> "Period":
        """The week or month before."""
        return period_of(self.kind, self.first - timedelta(days=1))

    @property
    def file_name(self) -> str:
        """The name of the report's file."""
        return f"{self.kind}_report_{self.name}.json"


def period_of(kind: Kind, day: date) -> Period:
    """Return the week or month that holds `day`."""
    if kind == "weekly":
        year, week, weekday = day.isocalendar()
        first = day - timedelta(days=weekday - 1)
        last = first + timedelta(days=_DAYS_OF_A_WEEK - 1)
        return Period(kind=kind, name=f"{year}-W{week:02d}", first=first, last=last)
    first = day.replace(day=1)
    following = (first + timedelta(days=31)).replace(day=1)
    return Period(kind=kind, name=f"{first:%Y-%m}", first=first, last=following - timedelta(days=1))


def parse_period(kind: Kind, text: str) -> Period:
    """Return the period written as `2026-W11` or `2026-03`. Raises BadArgument quoting anything else."""
    example = "2026-W11" if kind == "weekly" else "2026-03"
    pattern = r"\d{4}-W\d{2}" if kind == "weekly" else r"\d{4}-\d{2}"
    try:
        if re.fullmatch(pattern, text, re.ASCII):
            return period_of(kind, date.fromisoformat(f"{text}-1" if kind == "weekly" else f"{text}-01"))
    except (ValueError, OverflowError):
        pass
    raise BadArgument(f"{text!r} is no {'week' if kind == 'weekly' else 'month'}; write it as {example}")


def build_period_report(rollups: Rollups, period: Period) -> dict[str, Any]:
    """Return the report of a week or month, JSON-able: sums over the days whose figures are stored.

    Days that are over and have none are named in `missing_days` and count nowhere. Raises the errors of
    `Database.read`.
    """
    earlier = period.before
    known = rollups.load(earlier.first, period.last)
    days, before = _within(period, known), _within(earlier, known)
    now = rollups.clock.now()
    over = [day for day in period.days if local_day_window(day, rollups.zone)[1] <= now]
    tasks = task_statistics(days)
    return {
        "kind": period.kind,
        "period": period.name,
        "first_day": period.first.isoformat(),
        "last_day": period.last.isoformat(),
        "timezone": rollups.zone.key,
        "schema_version": SCHEMA_VERSION,
        "generated_at": now.astimezone(rollups.zone).isoformat(timespec="seconds"),
        "period_over": len(over) == len(period.days),
        "days_in_period": len(period.days),
        "days_known": len(days),
        "days_to_come": len(period.days) - len(over),
        "missing_days": [day.isoformat() for day in over if day not in days],
        "task_statistics": tasks,
        "performance_statistics": performance_statistics(days, _hours(days, rollups.zone)),
        "error_statistics": error_statistics(days),
        "days": [PastDay(day=day, figures=figures).summary() for day, figures in days.items()],
        "comparison": _comparison(period, days, earlier, before, tasks),
    }


def _within(period: Period, known: Days) -> dict[date, dict[str, Any]]:
    return {day: known[day] for day in period.days if day in known}


def _hours(days: Days, zone: ZoneInfo) -> float:
    windows = [local_day_window(day, zone) for day in days]
    return sum((end - start).total_seconds() for start, end in windows) / 3600


def _comparison(period: Period, days: Days, earlier: Period, before: Days, tasks: dict[str, Any]) -> dict[str, Any]:
    whole = len(days) == len(period.days) and len(before) == len(earlier.days)
    return {
        "period": earlier.name,
        "days_known": len(before),
        "days_in_period": len(earlier.days),
        "figures": comparison(tasks, task_statistics(before) if before else None, sums_compare=whole),
    }
