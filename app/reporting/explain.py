"""The whole computation behind a verdict, with every number that a reader needs to do it again."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from app.core.errors import BadArgument
from app.core.settings_file import nearest
from app.reporting.judging import Judged, days_before, judge_series, verdict_of
from app.reporting.rollups import Rollups
from app.reporting.series import SERIES, Sample
from app.reporting.trend_model import (
    HISTORY_DAYS,
    LEAST_CHANGE,
    LEAST_SCALE,
    LEAST_UNITS,
    RECENT_DAYS,
    Band,
    Fit,
    to_y,
    weekday_of,
)

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step of the computation."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """A verdict and how it came about."""

    verdict: dict[str, Any]
    """As it stands in the report."""
    steps: tuple[Step, ...]


def explain(rollups: Rollups, day: date, series: str) -> Explanation:
    """Return how the verdict on a stored day's series came about.

    Raises BadArgument for a series that there is none of and for a day without stored figures.
    """
    if series not in SERIES:
        raise BadArgument(f"there is no series {series!r}{nearest(series, SERIES)}; it is one of {', '.join(SERIES)}")
    days = rollups.load(days_before(day)[0], day)
    if day not in days:
        raise BadArgument(
            f"no figures of {day} are stored for {rollups.zone.key}; `gengfu report backfill --from {day} --to {day}` "
            "computes them"
        )
    judged = judge_series(SERIES[series], days, day)
    sample = SERIES[series].sample(days[day])
    steps = tuple(Step(title=title, lines=tuple(lines)) for title, lines in _steps(judged, sample, day))
    return Explanation(verdict=verdict_of(judged, days[day], day), steps=steps)


def _steps(judged: Judged, sample: Sample | None, day: date) -> Iterator[tuple[str, Iterator[str]]]:
    found = judged.by_day[day]
    yield "value", _value(judged, sample, day)
    yield f"history: known days of the last {HISTORY_DAYS}", _history(judged, day)
    if found.band is not None and sample is not None:
        yield f"expected: {found.band.fit.method}", _expected(found.band.fit, day)
        yield "scale", _scale(found.band, sample)
        yield "band", _band(judged, found.band, sample)
    yield "verdict", iter((found.verdict, found.reason))


def _value(judged: Judged, sample: Sample | None, day: date) -> Iterator[str]:
    if sample is None:
        yield f"{judged.series.name} of {day}: none"
        return
    yield f"{judged.series.name} of {day}: x = {sample.x:.6g} ({_model_unit(judged)})"
    yield f"y = log(x + 1) = {to_y(sample.x):.6f}"


def _model_unit(judged: Judged) -> str:
    return "milliseconds" if judged.series.unit == "s" else judged.series.unit


def _history(judged: Judged, day: date) -> Iterator[str]:
    history, last = judged.history, day.toordinal()
    for number in range(last - HISTORY_DAYS, last):
        at = date.fromordinal(number)
        if number in history.known:
            yield f"{at} {_WEEKDAYS[at.weekday()]}: y = {history.known[number]:.6f}"
        elif number in history.masked:
            yield f"{at} {_WEEKDAYS[at.weekday()]}: y = {history.masked[number]:.6f}, unusual and left out"
    for number, by in history.shifts.items():
        yield f"level shift on {date.fromordinal(number)}: {by:+.6f} is contained in every y before it"


def _expected(fit: Fit, day: date) -> Iterator[str]:
    if fit.method != "trend":
        for number, y in fit.used.items():
            yield f"{date.fromordinal(number)}: y = {y:.6f}"
        yield f"expected y = their median = {fit.y_expected:.6f}"
        return
    yield "weekday factor = median over the weeks of y - median of the seven days around it"
    for weekday, factor in fit.factors.items():
        yield f"{_WEEKDAYS[weekday]}: {factor:+.6f}"
    yield f"the last {RECENT_DAYS} days, their weekday factor taken off, and their distance from the line:"
    for number, y in fit.used.items():
        age = number - day.toordinal()
        yield f"{date.fromordinal(number)}: {y:.6f}, residual {y - fit.level - fit.slope * age:+.6f}"
    yield f"slope a day = median of the slopes of all pairs = {fit.slope:+.6f}"
    yield f"level of {day} = median of y - slope * days to it = {fit.level:.6f}"
    factor = fit.factors.get(weekday_of(day.toordinal()), 0.0)
    yield f"expected y = level + factor = {fit.level:.6f} {factor:+.6f} = {fit.y_expected:.6f}"


_SPREAD = {
    "trend": "1.4826 * median of the absolute residuals",
    "same weekday": "1.4826 * median of the absolute differences from week to week",
    "seven-day median": "the larger of 1.4826 * median of the absolute distances and a quarter of the largest",
}


def _noise(found: Band, sample: Sample) -> str:
    tasks = max(found.expected * sample.tasks_per_unit if sample.tasks is None else sample.tasks, 1.0)
    if sample.share:
        return f"sqrt(n) / (n + {sample.tasks_per_unit:.6g} tasks a percent), n = {tasks:.6g} tasks"
    return f"1 / sqrt({tasks:.6g} tasks)"


def _scale(found: Band, sample: Sample) -> Iterator[str]:
    yield f"spread = {_SPREAD[found.fit.method]} = {found.fit.sigma:.6f}"
    yield f"noise of counting = {_noise(found, sample)} = {sample.noise(found.expected):.6f}"
    yield f"s = the largest of both and {LEAST_SCALE} = {found.scale:.6f}"


def _band(judged: Judged, found: Band, sample: Sample) -> Iterator[str]:
    units = LEAST_UNITS / sample.tasks_per_unit
    yield f"expected x = exp(expected y) - 1 = {found.expected:.6g} ({_model_unit(judged)})"
    yield f"z = (y - expected y) / s = {found.z:.4f}; unusual from {found.fit.band:g} on"
    yield f"and from a change of {LEAST_CHANGE:.0%} and of {units:.6g} {_model_unit(judged)} on"
    yield f"together: below {found.lower:.6g} or above {found.upper:.6g}"
