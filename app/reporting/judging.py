"""The series of a day judged by the stored days before it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from app.reporting.series import SERIES, Figures, Series
from app.reporting.trend_model import HISTORY_DAYS, History, Judgement, judge, to_y, weekday_of

REPLAYED_DAYS = {"total_tasks": HISTORY_DAYS}
"""Days before the judged one that are judged again, to know which were unusual; more where the band is drawn."""
_REPLAYED_ELSE = 28
_WEEK = 7
LOADED_DAYS = 2 * HISTORY_DAYS + _WEEK
"""Days before the judged one that anything here can depend on."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A series with its verdicts."""

    series: Series
    history: History
    """As it stood before the last day."""
    by_day: Mapping[date, Judgement]


def judge_series(series: Series, days: Mapping[date, Figures], day: date) -> Judged:
    """Judge `day` by the days before it, as far as `days` knows them.

    Masks and level shifts come from judging the last weeks again one after the other: they depend on stored figures
    alone, and a reader can do the same. It begins on a Monday, so that all days of a week see the same masks; what
    was unusual before that is left to the medians, which bear it.
    """
    number = day.toordinal()
    first = number - REPLAYED_DAYS.get(series.name, _REPLAYED_ELSE)
    first -= weekday_of(first)
    history, by_day = History(), {}
    for at in range(first - HISTORY_DAYS, number + 1):
        one = date.fromordinal(at)
        sample = series.sample(days[one]) if one in days else None
        if at < first:
            if sample is not None:
                history.known[at] = to_y(sample.x)
        elif at == number or sample is not None:
            by_day[one] = judged = judge(history, at, sample)
            if sample is not None and at < number:
                history.add(at, to_y(sample.x), judged)
    return Judged(series=series, history=history, by_day=by_day)


def judge_day(days: Mapping[date, Figures], day: date) -> dict[str, Judged]:
    """Judge every series of `day`."""
    return {name: judge_series(series, days, day) for name, series in SERIES.items()}


def verdict_of(judged: Judged, figures: Figures, day: date) -> dict[str, Any]:
    """Return a report's verdict on one series: JSON-able, in the series' own unit."""
    series, found = judged.series, judged.by_day[day]
    sample, band, change = series.sample(figures), found.band, None
    if sample is not None and band is not None and band.expected:
        change = round(100 * (sample.x - band.expected) / band.expected, 2)
    return {
        "series": series.name,
        "unit": series.unit,
        "value": None if sample is None else in_unit(series, sample.x),
        **band_of(series, found),
        "z": None if band is None else round(band.z, 3),
        "change_percent": change,
        "method": None if band is None else band.fit.method,
        "n_history": found.n_history,
        "verdict": found.verdict,
        "reason": found.reason,
    }


def band_of(series: Series, found: Judgement | None) -> dict[str, float | None]:
    """Return `expected`, `lower` and `upper` in the series' own unit; None where nothing was judged."""
    names = ("expected", "lower", "upper")
    if found is None or found.band is None:
        return dict.fromkeys(names)
    return {name: in_unit(series, getattr(found.band, name)) for name in names}


def in_unit(series: Series, x: float) -> float:
    """Return a value of the model in the series' own unit, rounded to three digits."""
    value = round(x / series.scale, 3)
    return value if series.highest is None else min(value, series.highest)


def days_before(day: date) -> tuple[date, date]:
    """Return the first and the last of the days that judging `day` may look at."""
    return day - timedelta(days=LOADED_DAYS), day - timedelta(days=1)
