"""The series that are watched from day to day, and the units in which the model sees them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Figures = Mapping[str, Any]
"""What `rollups.rollup_of` stored of a day."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One day's value of a series."""

    x: float
    """The value in the model's units, not negative."""
    tasks_per_unit: float = 1.0
    """How many tasks (or, for times, milliseconds) a change by one unit is: ten of them are the least that counts."""
    tasks: float | None = None
    """Tasks behind a mean; None where the expected value itself says how many tasks there are."""

    share: bool = False
    """The value is a share of the day's tasks: its noise is that of the tasks counted, seen through log(x + 1)."""

    def noise(self, expected: float) -> float:
        """Return how far chance alone moves log(x + 1): 1 / sqrt(n), n being the tasks behind the expected value.

        Of a share it is sqrt(n) / (n + tasks of one unit): the standard deviation of x divided by x + 1.
        """
        counted = max(expected * self.tasks_per_unit if self.tasks is None else self.tasks, 1.0)
        return math.sqrt(counted) / (counted + (self.tasks_per_unit if self.share else 0.0))


@dataclass(frozen=True, kw_only=True)
class Series:
    """A figure that is followed from day to day."""

    name: str
    """Also the key of the figure in a report's summary of a day."""
    unit: str
    sample: Callable[[Figures], Sample | None]
    """Takes the sample out of a day's stored figures; None where the day has nothing to take it from."""
    scale: float = 1.0
    """Units of the model in one of the series' own."""
    highest: float | None = None
    """No value can be higher (own units)."""


def _total(figures: Figures) -> Sample:
    return Sample(x=float(figures["total_tasks"]))


def _state(name: str) -> Callable[[Figures], Sample]:
    return lambda figures: Sample(x=float(figures["status_breakdown"][name]))


def _failure_rate(figures: Figures) -> Sample | None:
    """Percent; how much of it is chance depends on the failed tasks behind it, not on the percentage."""
    total = figures["total_tasks"]
    return Sample(x=float(figures["failure_rate"]), tasks_per_unit=total / 100, share=True) if total else None


def _average_time(figures: Figures) -> Sample | None:
    """Milliseconds: in seconds the logarithm of x + 1 would be blind to everything that takes less than one."""
    mean = figures["average_processing_time"]
    return None if mean is None else Sample(x=mean * 1000, tasks=float(figures["processing_time"]["count"]))


SERIES = {
    series.name: series
    for series in (
        Series(name="total_tasks", unit="tasks", sample=_total),
        Series(name="completed", unit="tasks", sample=_state("completed")),
        Series(name="failed", unit="tasks", sample=_state("failed")),
        Series(name="failure_rate", unit="percent", sample=_failure_rate, highest=100.0),
        Series(name="average_processing_time", unit="s", sample=_average_time, scale=1000.0),
    )
}
"""Every series by its name."""
