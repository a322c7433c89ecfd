"""A day against the seven days before it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from app.core.clock import local_day_window
from app.reporting.day_reader import DayReader
from app.reporting.rollups import Rollups, rollup_of

DAYS = 7
STABLE_PERCENT = 5.0
"""Changes of up to this many percent are called stable."""
_SERIES = ("total_tasks", "failure_rate", "average_processing_time")

_FEWEST_DAYS = 5
# 1.4826 MAD estimates the standard deviation of normal data; three of them is the usual robust outlier rule
# (Leys et al. 2013). Half the median and ten units keep quiet series from crying wolf over small changes.
_MAD_FACTOR = 3 * 1.4826
_SHARE_OF_MEDIAN = 0.5
_UNITS = 10.0
METHOD = "anomaly if |value - median| > max(3 * 1.4826 * MAD, 0.5 * median, 10)"


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
    """Return the seven days before `day`, oldest first, from their roll-ups.

    A finished day without a roll-up is computed from its rows and stored. Days before the oldest row are left
    out: nothing is known of them, which is not the same as nothing having happened.
    """
    wanted = [day - timedelta(days=back) for back in range(DAYS, 0, -1)]
    known = rollups.load(wanted[0], wanted[-1])
    for missing in _computable(reader, rollups, [past for past in wanted if past not in known]):
        known[missing] = rollup_of(reader.read(missing))
        rollups.store(missing, known[missing])
    return [PastDay(day=past, figures=known[past]) for past in wanted if past in known]


def _computable(reader: DayReader, rollups: Rollups, missing: list[date]) -> list[date]:
    if not missing:
        return []
    ends = {day: local_day_window(day, reader.zone)[1] for day in missing}
    oldest = reader.oldest_before(ends[missing[-1]])
    now = rollups.clock.now()
    return [day for day in missing if oldest is not None and oldest < ends[day] <= now]


def trend_analysis(today: PastDay, past: Sequence[PastDay]) -> dict[str, Any]:
    """Return the report's `trend_analysis`; what can't be compared is None."""
    change = _change_percent(today.figures["total_tasks"], _values(past, "total_tasks"))
    verdicts = [_verdict(series, today.value(series), _values(past, series)) for series in _SERIES]
    week_ago = today.day - timedelta(days=DAYS)
    return {
        "past_7_days": [day.summary() for day in past],
        "days_compared": len(past),
        "trend_percent": change,
        "trend_direction": _direction(today.figures["total_tasks"], change, len(past)),
        "same_weekday_last_week": next((day.summary() for day in past if day.day == week_ago), None),
        "seven_day_mean": {series: _rounded(statistics.mean, _values(past, series)) for series in _SERIES},
        "seven_day_median": {series: _rounded(statistics.median, _values(past, series)) for series in _SERIES},
        "verdicts": verdicts,
        "anomalies": [verdict for verdict in verdicts if verdict["verdict"] == "anomaly"],
    }


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


def _verdict(series: str, value: float | None, past: list[float]) -> dict[str, Any]:
    known = {"series": series, "value": value, "days": len(past), "method": METHOD}
    if value is None or len(past) < _FEWEST_DAYS:
        return known | {"verdict": "insufficient data", "median": None, "mad": None, "lower": None, "upper": None}
    median = statistics.median(past)
    mad = statistics.median(abs(one - median) for one in past)
    band = max(_MAD_FACTOR * mad, _SHARE_OF_MEDIAN * median, _UNITS)
    return known | {
        "verdict": "anomaly" if abs(value - median) > band else "normal",
        "median": round(median, 3),
        "mad": round(mad, 3),
        "lower": round(max(0.0, median - band), 3),
        "upper": round(median + band, 3),
    }
