"""What one pass over a day's rows found out, before it is worded as a report."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

NO_FINISH_TIME, NEGATIVE, ABSURD = 1, 2, 4
"""What may be odd about a row: see the fields of `DayFigures`."""
UNKNOWN = "unknown"
STATES = ("pending", "processing", "completed", "failed", "cancelled", UNKNOWN)
HOURS_OF_A_DAY = 24
HOUR, QUARTER_HOUR = timedelta(hours=1), timedelta(minutes=15)
DURATION_BOUNDS_S = (0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 3600)
"""Bounds of the duration histogram in seconds: about two a decade, from a blink to an hour."""


@dataclass(frozen=True, kw_only=True)
class Slots:
    """The parts of a local day in which rows are counted, each within one local hour.

    They are folded into hours here and not in SQL: the zone's offset may change within the day.
    """

    start: datetime
    length: timedelta
    zone: ZoneInfo

    def hour_of(self, slot: int) -> int:
        """Return the local hour in which a slot lies."""
        return (self.start + slot * self.length).astimezone(self.zone).hour


def slots_of(start: datetime, end: datetime, zone: ZoneInfo) -> Slots:
    """Return the slots of a day: hours, or quarters of an hour where the zone's hours don't fall on those.

    Every zone's offset is a multiple of a quarter of an hour (since 1972).
    """
    hours, quarters = (Slots(start=start, length=length, zone=zone) for length in (HOUR, QUARTER_HOUR))
    whole = all(quarters.hour_of(at) == hours.hour_of(at // 4) for at in range((end - start) // QUARTER_HOUR))
    return hours if whole else quarters


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The rows of a day with one state, in one slot, with one number of retries and the same oddities."""

    state: str
    slot: int | None
    """Slots after the start of the day; None where the creation time can't be read."""
    retries: int | None
    """None where the application says nothing; counts above `RETRY_CAP` stand under it."""
    odd: int
    """Which of `NO_FINISH_TIME`, `NEGATIVE` and `ABSURD` hold, added up."""
    rows: int


@dataclass(frozen=True, kw_only=True)
class Sums:
    """One time of all rows of a day, in microseconds."""

    count: int = 0
    """Rows with a usable one."""
    total: int = 0
    least: int | None = None
    most: int | None = None


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What the database found out about all rows of a day together. Times in microseconds."""

    us: Sums = field(default_factory=Sums)
    """Processing times."""
    wait: Sums = field(default_factory=Sums)
    """Times in the queue."""
    us_quantiles: Mapping[str, float | None] = field(default_factory=dict)
    """Percentiles of the processing time by name."""
    wait_quantiles: Mapping[str, float | None] = field(default_factory=dict)
    """Percentiles of the time in the queue by name."""
    below: tuple[int, ...] = (0,) * len(DURATION_BOUNDS_S)
    """Rows with a processing time below each of `DURATION_BOUNDS_S`."""


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Times in seconds, rounded to milliseconds; None where no row has one."""

    count: int
    mean: float | None
    median: float | None
    p95: float | None
    p99: float | None
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, kw_only=True)
class DayDetails:
    """What is told about single tasks, JSON-able, and the error categories."""

    categories: dict[str, int]
    """Error category -> failed rows; only those that occur."""
    distinct_messages: int
    slowest: tuple[dict[str, Any], ...]
    failed: tuple[dict[str, Any], ...]


@dataclass(frozen=True, kw_only=True)
class DayFigures:
    """Everything a report says about the rows of one day."""

    total: int
    by_state: dict[str, int]
    """Logical state -> rows; every state of `STATES` is there."""
    by_hour: tuple[int, ...]
    """Rows created in each local hour; an hour that comes twice when the clocks go back holds both."""
    by_retries: dict[str, int]
    """Number of retries -> rows, in rising order; `unknown` where the application says nothing."""
    timing: Timing
    """Processing times."""
    waiting: Timing
    """Times between creation and start."""
    histogram: tuple[int, ...]
    """Rows with a processing time below each of `DURATION_BOUNDS_S` and not below the one before; then the others."""
    no_finish_time: int
    """Completed or failed rows that don't say when."""
    negative_durations: int
    absurd_times: int
    """Rows with a time that no clock that goes right could have written."""
    details: DayDetails

    @property
    def completed(self) -> int:
        return self.by_state["completed"]

    @property
    def failures(self) -> int:
        return self.by_state["failed"]


def day_figures(
    cells: Sequence[Cell],
    spread: Spread,
    details: DayDetails,
    slots: Slots,
) -> DayFigures:
    """Fold the cells of a day."""
    return DayFigures(
        total=sum(cell.rows for cell in cells),
        by_state=count_by_state(cells),
        by_hour=count_by_hour(cells, slots),
        by_retries=count_by_retries(cells),
        timing=_timing(spread.us, spread.us_quantiles),
        waiting=_timing(spread.wait, spread.wait_quantiles),
        histogram=_histogram(spread.below, spread.us.count),
        no_finish_time=_count_odd(cells, NO_FINISH_TIME),
        negative_durations=_count_odd(cells, NEGATIVE),
        absurd_times=_count_odd(cells, ABSURD),
        details=details,
    )


def count_by_state(cells: Iterable[Cell]) -> dict[str, int]:
    """Return the rows of every logical state, zeros included."""
    counts = dict.fromkeys(STATES, 0)
    for cell in cells:
        counts[cell.state] += cell.rows
    return counts


def count_by_hour(cells: Iterable[Cell], slots: Slots) -> tuple[int, ...]:
    """Return the rows of each local hour 0-23."""
    hours = [0] * HOURS_OF_A_DAY
    for cell in cells:
        if cell.slot is not None:
            hours[slots.hour_of(cell.slot)] += cell.rows
    return tuple(hours)


def count_by_retries(cells: Iterable[Cell]) -> dict[str, int]:
    """Return the rows of each number of retries, in rising order, the unknown ones last."""
    counts: Counter[int | None] = Counter()
    for cell in cells:
        counts[cell.retries] += cell.rows
    known = {str(number): counts[number] for number in sorted(key for key in counts if key is not None)}
    return known | ({UNKNOWN: counts[None]} if None in counts else {})


def _count_odd(cells: Iterable[Cell], what: int) -> int:
    return sum(cell.rows for cell in cells if cell.odd & what)


def _timing(sums: Sums, quantiles: Mapping[str, float | None]) -> Timing:
    return Timing(
        count=sums.count,
        mean=mean_seconds(sums.total, sums.count),
        median=seconds(quantiles.get("median")),
        p95=seconds(quantiles.get("p95")),
        p99=seconds(quantiles.get("p99")),
        minimum=seconds(sums.least),
        maximum=seconds(sums.most),
    )


def _histogram(below: tuple[int, ...], timed: int) -> tuple[int, ...]:
    return tuple(more - less for less, more in pairwise((0, *below, timed)))


def mean_seconds(microseconds: int, count: int) -> float | None:
    """Return the mean in seconds, or None of nothing."""
    return seconds(microseconds / count) if count else None


def seconds(microseconds: float | None) -> float | None:
    """Return microseconds as seconds, rounded to milliseconds."""
    return None if microseconds is None else round(microseconds / 1_000_000, 3)
