"""The slowest tasks and the hours of the day."""

from typing import Any

from app.reporting.facts import Facts


def build(facts: Facts) -> dict[str, Any]:
    """Return the slowest tasks, tasks created per local hour, and the busiest hour (the earlier of equals)."""
    figures = facts.figures
    hours = figures.by_hour
    finished = figures.completed + figures.failures
    return {
        "slowest_tasks": list(figures.details.slowest),
        "hourly_distribution": {str(hour): count for hour, count in enumerate(hours)},
        "peak_hour": hours.index(max(hours)) if any(hours) else None,
        "hours_in_day": facts.hours,
        "throughput_per_hour": round(finished / facts.hours, 2),
    }
