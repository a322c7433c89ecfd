"""A day against the days before it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from app.core.clock import local_day_window
from app.reporting.day_reader import DayReader
from app.reporting.judging import Judged, band_of, days_before, judge_day, verdict_of
from app.reporting.rollups import Rollups, rollup_of
from app.reporting.trend_model import HISTORY_DAYS

DAYS = 7
STABLE_PERCENT = 5.0
"""Changes of up to this many percent are called stable."""
_AVERAGED = ("total_tasks", "failure_rate", "average_processing_time")


@dataclass(frozen=True, kw_only=True)
class PastDay:
    """A day and its stored figures."""

    day: date
    figures: Mapping[str, Any]

    def summary(self) -> dict[str, Any]:
        """Return the entry of `past_7_days`."""
        states = self.figures["status_breakdown"]
        return {
            "date": self.day.isoformat(),
            "total_tasks": self.figures["total_tasks"],
            "completed": states["completed"],
            "failed": states["failed"],
            "failure_rate": self.figures["failure_rate"],
            "average_processing_time": self.figures["average_processing_time"],
        }

    def value(self, series: str) -> float | None:
        """Return the figure named, or None where the day has no rows to take it from."""
        if series != "total_tasks" and not self.figures["total_tasks"]:
            return None
        value: float | None = self.figures[series]
        return value


def past_days(reader: DayReader, rollups: Rollups, day: date) -> list[PastDay]:
    """Return the days before `day` that its trend may look at, oldest first, from their roll-ups.

    A finished day of the last seven without a roll-up is computed from its rows and stored. Days before the oldest row
    are left out: nothing is known of them, which is not the same as nothing having happened.
    """
    known = rollups.load(*days_before(day))
    wanted = [day - timedelta(days=back) for back in range(DAYS, 0, -1)]
    for missing in _computable(reader, rollups, [past for past in wanted if past not in known]):
        known[missing] = rollup_of(reader.read(missing))
        rollups.store(missing, known[missing])
    return [PastDay(day=past, figures=known[past]) for past in sorted(known)]


def _computable(reader: DayReader, rollups: Rollups, missing: list[date]) -> list[date]:
    if not missing:
        return []
    ends = {day: local_day_window(day, reader.zone)[1] for day in missing}
    oldest = reader.oldest_before(ends[missing[-1]])
    now = rollups.clock.now()
    return [day for day in missing if oldest is not None and oldest < ends[day] <= now]


def trend_analysis(today: PastDay, past: Sequence[PastDay]) -> dict[str, Any]:
    """Return the report's `trend_analysis`; what can't be compared is None."""
    week_ago = today.day - timedelta(days=DAYS)
    week = [one for one in past if week_ago <= one.day < today.day]
    change = _change_percent(today.figures["total_tasks"], _values(week, "total_tasks"))
    judged = judge_day({one.day: one.figures for one in (*past, today)}, today.day)
    verdicts = [verdict_of(one, today.figures, today.day) for one in judged.values()]
    return {
        "past_7_days": [day.summary() for day in week],
        "days_compared": len(week),
        "trend_percent": change,
        "trend_direction": _direction(today.figures["total_tasks"], change, len(week)),
        "same_weekday_last_week": next((day.summary() for day in week if day.day == week_ago), None),
        "seven_day_mean": {series: _rounded(statistics.mean, _values(week, series)) for series in _AVERAGED},
        "seven_day_median": {series: _rounded(statistics.median, _values(week, series)) for series in _AVERAGED},
        "verdicts": verdicts,
        "anomalies": [verdict for verdict in verdicts if verdict["verdict"] in {"anomaly", "level shift"}],
        "history": [_with_band(one, judged["total_tasks"]) for one in (*past, today) if one.day >= _oldest(today.day)],
    }


def _oldest(day: date) -> date:
    return day - timedelta(days=HISTORY_DAYS)


def _with_band(day: PastDay, judged: Judged) -> dict[str, Any]:
    found = judged.by_day.get(day.day)
    verdict = None if found is None else found.verdict
    return day.summary() | band_of(judged.series, found) | {"verdict": verdict}


def _values(past: Sequence[PastDay], series: str) -> list[float]:
    return [value for day in past if (value := day.value(series)) is not None]


def _rounded(summary: Any, values: list[float]) -> float | None:
    return round(float(summary(values)), 3) if values else None


def _change_percent(total: int, past: list[float]) -> float | None:
    mean = statistics.mean(past) if past else 0
    return round(100 * (total - mean) / mean, 2) if mean else None


def _direction(total: int, change: float | None, days: int) -> str | None:
    if not days:
        return None
    if change is None:  # seven empty days
        return "up" if total else "stable"
    if abs(change) <= STABLE_PERCENT:
        return "stable"
    return "up" if change > 0 else "down"
