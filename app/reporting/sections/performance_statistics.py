"""The slowest tasks, the hours of the day, and how long tasks take."""

from typing import Any

from app.reporting.facts import Facts
from app.reporting.figures import DURATION_BOUNDS_S


def build(facts: Facts) -> dict[str, Any]:
    """Return the slowest tasks, tasks created per local hour, and the busiest hour (the earlier of equals).

    `duration_histogram` counts the tasks with a time from `from` (included) to `below` (excluded, None: no end),
    seconds; `throughput_per_hour` is finished tasks per hour of the day's real length.
    """
    figures = facts.figures
    hours = figures.by_hour
    finished = figures.completed + figures.failures
    return {
        "slowest_tasks": list(figures.details.slowest),
        "hourly_distribution": {str(hour): count for hour, count in enumerate(hours)},
        "peak_hour": hours.index(max(hours)) if any(hours) else None,
        "hours_in_day": facts.hours,
        "throughput_per_hour": round(finished / facts.hours, 2) if facts.hours else 0.0,
        "duration_histogram": [
            {"from": start, "below": below, "tasks": count}
            for start, below, count in zip(
                (0, *DURATION_BOUNDS_S), (*DURATION_BOUNDS_S, None), figures.histogram, strict=True
            )
        ],
    }
