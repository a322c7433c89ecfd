"""Totals, rates and processing times."""

from dataclasses import asdict
from typing import Any

from app.reporting.facts import Facts
from app.reporting.rates import percent, wilson_bounds


def build(facts: Facts) -> dict[str, Any]:
    """Return counts, rates in percent of all tasks (and of the finished ones alone), and times in seconds.

    The times are those of every task that has one, whatever its state. Where no task has one,
    `average_processing_time` is 0.0 and the others are None.
    """
    figures = facts.figures
    finished = figures.completed + figures.failures
    lower, upper = wilson_bounds(figures.failures, figures.total)
    return {
        "total_tasks": figures.total,
        "status_breakdown": dict(figures.by_state),
        "completion_rate": percent(figures.completed, figures.total),
        "failure_rate": percent(figures.failures, figures.total),
        "failure_rate_lower": lower,
        "failure_rate_upper": upper,
        # Pending rows depress the rates above; these are of what has come to an end.
        "finished_tasks": finished,
        "finished_completion_rate": percent(figures.completed, finished),
        "finished_failure_rate": percent(figures.failures, finished),
        "average_processing_time": figures.timing.mean or 0.0,
        "processing_time": asdict(figures.timing),
        "queue_wait": asdict(figures.waiting),
    }
