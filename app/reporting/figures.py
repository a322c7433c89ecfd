"""What one pass over a day's rows found out, before it is worded as a report."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

UNKNOWN = "unknown"
STATES = ("pending", "processing", "completed", "failed", "cancelled", UNKNOWN)
HOURS_OF_A_DAY = 24
QUARTER_HOUR = timedelta(minutes=15)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """The rows of a day with one state, one quarter of an hour and one number of retries. Times in microseconds."""

    state: str
    quarter: int | None
    """Quarters of an hour after the start of the day; None where the creation time can't be read."""
    retries: int | None
    """None where the application says nothing; counts above `RETRY_CAP` stand under it."""
    rows: int
    timed: int
    """Rows with a usable processing time."""
    us_sum: int
    us_min: int | None
    us_max: int | None
    waited: int
    """Rows with a usable time in the queue."""
    wait_sum: int
    wait_max: int | None
    no_finish_time: int
    negative_durations: int
    absurd_times: int


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Processing times in seconds, rounded to milliseconds; None where no row has one."""

    count: int
    mean: float | None
    median: float | None
    p95: float | None
    p99: float | None
    minimum: float | None
    maximum: float | None


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """Times between creation and start in seconds, rounded to milliseconds."""

    count: int
    mean: float | None
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
    waiting: Waiting
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
    quantiles: dict[str, float | None],
    details: DayDetails,
    start: datetime,
    zone: ZoneInfo,
) -> DayFigures:
    """Fold the cells of the day that begins at `start`; `quantiles` are microseconds by name."""
    return DayFigures(
        total=sum(cell.rows for cell in cells),
        by_state=count_by_state(cells),
        by_hour=count_by_hour(cells, start, zone),
        by_retries=count_by_retries(cells),
        timing=timing_of(cells, quantiles),
        waiting=waiting_of(cells),
        no_finish_time=sum(cell.no_finish_time for cell in cells),
        negative_durations=sum(cell.negative_durations for cell in cells),
        absurd_times=sum(cell.absurd_times for cell in cells),
        details=details,
    )


def count_by_state(cells: Iterable[Cell]) -> dict[str, int]:
    """Return the rows of every logical state, zeros included."""
    counts = dict.fromkeys(STATES, 0)
    for cell in cells:
        counts[cell.state] += cell.rows
    return counts


def count_by_hour(cells: Iterable[Cell], start: datetime, zone: ZoneInfo) -> tuple[int, ...]:
    """Return the rows of each local hour 0-23.

    Quarters of an hour are folded here and not in SQL: every zone's offset is a multiple of them, and the offset
    may change within the day.
    """
    hours = [0] * HOURS_OF_A_DAY
    for cell in cells:
        if cell.quarter is not None:
            hours[(start + cell.quarter * QUARTER_HOUR).astimezone(zone).hour] += cell.rows
    return tuple(hours)


def count_by_retries(cells: Iterable[Cell]) -> dict[str, int]:
    """Return the rows of each number of retries, in rising order, the unknown ones last."""
    counts: Counter[int | None] = Counter()
    for cell in cells:
        counts[cell.retries] += cell.rows
    known = {str(number): counts[number] for number in sorted(key for key in counts if key is not None)}
    return known | ({UNKNOWN: counts[None]} if None in counts else {})


def timing_of(cells: Iterable[Cell], quantiles: dict[str, float | None]) -> Timing:
    """Return the processing times; `quantiles` are microseconds by name."""
    timed = [cell for cell in cells if cell.timed]
    count = sum(cell.timed for cell in timed)
    return Timing(
        count=count,
        mean=mean_seconds(sum(cell.us_sum for cell in timed), count),
        median=seconds(quantiles.get("median")),
        p95=seconds(quantiles.get("p95")),
        p99=seconds(quantiles.get("p99")),
        minimum=seconds(min((cell.us_min for cell in timed if cell.us_min is not None), default=None)),
        maximum=seconds(max((cell.us_max for cell in timed if cell.us_max is not None), default=None)),
    )


def waiting_of(cells: Iterable[Cell]) -> Waiting:
    """Return the times in the queue."""
    waited = [cell for cell in cells if cell.waited]
    count = sum(cell.waited for cell in waited)
    return Waiting(
        count=count,
        mean=mean_seconds(sum(cell.wait_sum for cell in waited), count),
        maximum=seconds(max((cell.wait_max for cell in waited if cell.wait_max is not None), default=None)),
    )


def mean_seconds(microseconds: int, count: int) -> float | None:
    """Return the mean in seconds, or None of nothing."""
    return seconds(microseconds / count) if count else None


def seconds(microseconds: float | None) -> float | None:
    """Return microseconds as seconds, rounded to milliseconds."""
    return None if microseconds is None else round(microseconds / 1_000_000, 3)
