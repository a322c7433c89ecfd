"""What a day's value should have been, judged by the days before it.

Days are numbered (`date.toordinal`). Works on y = log(x + 1), in which weekdays, growth and noise are shares and not
amounts. Medians throughout: up to a quarter of the days may be wrong without the band following them (Theil, H. (1950);
Sen, P. K. (1968), "Estimates of the regression coefficient based on Kendall's tau", JASA 63).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from app.reporting.series import Sample

HISTORY_DAYS = 56
"""Days before the judged one that the model looks at: each weekday eight times."""
RECENT_DAYS = 28
"""Days that level and slope are taken from."""
SHIFT_DAYS = 5
"""Unusual days of one sign in a row after which the new level is the usual one."""
BAND = 4.0
DOUBLE_BAND = 8.0
LEAST_CHANGE = 0.2
LEAST_UNITS = 10.0
LEAST_SCALE = 0.08
"""No series is trusted to be quieter than 8 %."""
TREND_DAYS, WEEKDAY_DAYS, MEDIAN_DAYS = 21, 14, 7
"""Known days from which on the three methods are used."""
_RECENT_LEAST = 14
_MAD_TO_SIGMA = 1.4826
_WEEK = 7
_AROUND = 3

Method = Literal["trend", "same weekday", "seven-day median"]
Word = Literal["normal", "anomaly", "level shift", "insufficient data"]

WITHIN = "within the band"
SMALL_CHANGE = "outside the noise, but the change is under 20 %"
FEW_UNITS = "outside the noise, but the change is under ten units"
OUTSIDE = "outside the band"
SHIFTED = "outside the band for the fifth day in a row: the new level from here on"
NO_VALUE = "the day has no value"
FEW_DAYS = "fewer than 7 days of history"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """What is expected of a day, with everything that a reader needs to compute it again. All in y = log(x + 1)."""

    method: Method
    n_history: int
    """Known days of the last 56 that are not masked."""
    y_expected: float
    sigma: float
    """The spread of the days behind it, 1.4826 times the median absolute residual, before the floors."""
    band: float
    """|z| from which on a day is unusual."""
    used: Mapping[int, float]
    """The days behind level and scale, with what stands for them (weekday factor taken off where there is one)."""
    factors: Mapping[int, float] = field(default_factory=dict)
    """Weekday (0 is Monday) -> how much higher it is than the week around it."""
    level: float = 0.0
    """Of the day itself, without its weekday."""
    slope: float = 0.0
    """A day."""


@dataclass(frozen=True, kw_only=True)
class Band:
    """What a day's value was measured by, in the model's units."""

    fit: Fit
    expected: float
    lower: float
    upper: float
    """At a value beyond `lower` or `upper` all three conditions of an unusual day hold."""
    scale: float
    z: float


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A verdict on one day."""

    verdict: Word
    reason: str
    n_history: int
    band: Band | None = None
    """None where there was too little to measure the day by."""

    @property
    def sign(self) -> int:
        """1 or -1 for an unusual day above or below, else 0."""
        if self.verdict not in {"anomaly", "level shift"} or self.band is None:
            return 0
        return 1 if self.band.z > 0 else -1


class History:
    """The days of one series in their order, as far as they are known: unusual ones masked, level shifts evened out."""

    def __init__(self) -> None:
        self.known: dict[int, float] = {}
        """Day -> y, for the days that are not masked."""
        self.masked: dict[int, float] = {}
        self.shifts: dict[int, float] = {}
        """First day of a new level -> what was added to all days before it."""
        self._deviations: dict[int, float | None] = {}
        self._factors: dict[tuple[int, int, int], float | None] = {}
        self._run: list[tuple[int, float, Judgement]] = []

    def add(self, day: int, y: float, judged: Judgement) -> None:
        """Put a judged day behind the others; the fifth unusual one of a sign brings the new level."""
        if not judged.sign:
            self._run.clear()
            self.known[day] = y
            return
        if self._run and self._run[-1][2].sign != judged.sign:
            self._run.clear()
        self.masked[day] = y
        self._run.append((day, y, judged))
        if judged.verdict == "level shift":
            self._shift()

    def run_of(self, sign: int) -> int:
        """Return how many unusual days of that sign stand at the end."""
        return len(self._run) if self._run and self._run[-1][2].sign == sign else 0

    def window(self, day: int, days: int) -> dict[int, float]:
        """Return what is known of the `days` days before `day`, oldest first."""
        known = self.known
        return {one: known[one] for one in range(day - days, day) if one in known}

    def factor(self, weekday: int, first: int, last: int) -> float | None:
        """Return how much higher that weekday is than the week around it: the median of its days from `first` on.

        A day is left out where one of the seven around it is not known or lies behind `last`; None if no day is left.
        """
        first += (weekday - weekday_of(first)) % _WEEK
        last -= _AROUND + (weekday_of(last - _AROUND) - weekday) % _WEEK
        # From day to day two of the seven weekdays change.
        if (weekday, first, last) not in self._factors:
            found = (self._deviation(middle) for middle in range(first, last + 1, _WEEK))
            known = [deviation for deviation in found if deviation is not None]
            self._factors[weekday, first, last] = _median(known) if known else None
        return self._factors[weekday, first, last]

    def _deviation(self, middle: int) -> float | None:
        if middle not in self._deviations:
            around = [self.known.get(one) for one in range(middle - _AROUND, middle + _AROUND + 1)]
            whole = [y for y in around if y is not None]
            self._deviations[middle] = self.known[middle] - _median(whole) if len(whole) == _WEEK else None
        return self._deviations[middle]

    def _shift(self) -> None:
        first = self._run[0][0]
        steps = [y - judged.band.fit.y_expected for _, y, judged in self._run if judged.band is not None]
        self.shifts[first] = by = _median(steps)
        self.known = {day: y + by for day, y in self.known.items()}
        for day, y, _ in self._run:
            self.known[day] = y
            del self.masked[day]
        self._run.clear()
        self._deviations.clear()
        self._factors.clear()


def to_y(x: float) -> float:
    """Return the logarithm that the model works on."""
    return math.log1p(x)


def weekday_of(day: int) -> int:
    """Return 0 for a Monday."""
    return (day - 1) % _WEEK


def judge(history: History, day: int, sample: Sample | None) -> Judgement:
    """Judge a day by the days before it."""
    fit = _fit(history, day)
    days = len(history.window(day, HISTORY_DAYS)) if fit is None else fit.n_history
    if sample is None or fit is None:
        reason = NO_VALUE if sample is None else FEW_DAYS
        return Judgement(verdict="insufficient data", reason=reason, n_history=days)
    expected = max(0.0, math.expm1(fit.y_expected))
    scale = max(fit.sigma, LEAST_SCALE, sample.noise(expected))
    z = (to_y(sample.x) - fit.y_expected) / scale
    verdict, reason = _verdict(history, sample, expected, z, fit.band)
    reach, units = fit.band * scale, LEAST_UNITS / sample.tasks_per_unit
    lower = min(math.expm1(fit.y_expected - reach), expected * (1 - LEAST_CHANGE), expected - units)
    upper = max(math.expm1(fit.y_expected + reach), expected * (1 + LEAST_CHANGE), expected + units)
    return Judgement(
        verdict=verdict,
        reason=reason,
        n_history=days,
        band=Band(fit=fit, expected=expected, lower=max(0.0, lower), upper=upper, scale=scale, z=z),
    )


def _verdict(history: History, sample: Sample, expected: float, z: float, band: float) -> tuple[Word, str]:
    if abs(z) < band:
        return "normal", WITHIN
    change = abs(sample.x - expected)
    if change < LEAST_CHANGE * expected:
        return "normal", SMALL_CHANGE
    if change * sample.tasks_per_unit < LEAST_UNITS:
        return "normal", FEW_UNITS
    if history.run_of(1 if z > 0 else -1) + 1 >= SHIFT_DAYS:
        return "level shift", SHIFTED
    return "anomaly", OUTSIDE


def _fit(history: History, day: int) -> Fit | None:
    past = history.window(day, HISTORY_DAYS)
    recent = {one: y for one, y in past.items() if one >= day - RECENT_DAYS}
    if len(past) >= TREND_DAYS and len(recent) >= _RECENT_LEAST:
        return _trend(history, day, past, recent)
    weekdays = {one: y for one, y in past.items() if (one - day) % _WEEK == 0}
    if len(past) >= WEEKDAY_DAYS and weekdays:
        return _same_weekday(past, weekdays)
    if len(past) >= MEDIAN_DAYS:
        return _seven_days(past)
    return None


def _trend(history: History, day: int, past: dict[int, float], recent: dict[int, float]) -> Fit:
    factors = _weekday_factors(history, day)
    used = {one: y - factors.get((one - 1) % _WEEK, 0.0) for one, y in recent.items()}
    ages = [one - day for one in used]
    values = list(used.values())
    slope = _slope(ages, values)
    level = _median(value - slope * age for age, value in zip(ages, values, strict=True))
    residuals = [abs(value - slope * age - level) for age, value in zip(ages, values, strict=True)]
    return Fit(
        method="trend",
        n_history=len(past),
        y_expected=level + factors.get(weekday_of(day), 0.0),
        sigma=_MAD_TO_SIGMA * _median(residuals),
        band=BAND,
        used=used,
        factors=factors,
        level=level,
        slope=slope,
    )


def _weekday_factors(history: History, day: int) -> dict[int, float]:
    found = {weekday: history.factor(weekday, day - HISTORY_DAYS, day - 1) for weekday in range(_WEEK)}
    return {weekday: factor for weekday, factor in found.items() if factor is not None}


def _slope(ages: list[int], values: list[float]) -> float:
    """The median slope of all pairs: 378 of them, for each of some two hundred judged days of a report."""
    lags = range(1, len(ages))
    if ages[-1] - ages[0] == len(ages) - 1:  # no day is missing
        return _median([(later - value) / lag for lag in lags for later, value in zip(values[lag:], values)])  # noqa: B905
    return _median(
        [
            (later - value) / (at - age)
            for lag in lags
            for later, value, at, age in zip(values[lag:], values, ages[lag:], ages)  # noqa: B905
        ]
    )


def _median(values: Iterable[float]) -> float:
    """As `statistics.median`, without its cost: it is asked ten thousand times for a report."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def _same_weekday(past: dict[int, float], weekdays: dict[int, float]) -> Fit:
    """The scale is that of the differences from week to week: two or three Mondays have no spread of their own."""
    steps = [abs(y - past[day - _WEEK]) for day, y in past.items() if day - _WEEK in past]
    return Fit(
        method="same weekday",
        n_history=len(past),
        y_expected=_median(weekdays.values()),
        sigma=_MAD_TO_SIGMA * _median(steps) if steps else 0.0,
        band=BAND,
        used=weekdays,
    )


def _seven_days(past: dict[int, float]) -> Fit:
    """The band is at least twice as wide as the week was: the median is that of working days, and Sunday no alarm."""
    used = dict(list(past.items())[-_WEEK:])
    middle = _median(used.values())
    off = [abs(y - middle) for y in used.values()]
    return Fit(
        method="seven-day median",
        n_history=len(past),
        y_expected=middle,
        sigma=max(_MAD_TO_SIGMA * _median(off), 2 * max(off) / DOUBLE_BAND),
        band=DOUBLE_BAND,
        used=used,
    )
