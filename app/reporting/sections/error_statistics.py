"""Failures by category, retries, and the failed tasks themselves."""

from typing import Any

from app.reporting.facts import Facts
from app.reporting.figures import UNKNOWN
from app.reporting.rates import percent


def build(facts: Facts) -> dict[str, Any]:
    """Return failed tasks per category, retries of all tasks, and details of the newest failed tasks."""
    details = facts.figures.details
    return {
        "total_errors": facts.figures.failures,
        "error_categories": dict(details.categories),
        "distinct_messages": details.distinct_messages,
        "retry_statistics": _retries(facts.figures.by_retries),
        "failed_tasks": list(details.failed),
    }


def _retries(by_count: dict[str, int]) -> dict[str, Any]:
    known = {int(number): rows for number, rows in by_count.items() if number != UNKNOWN}
    tasks = sum(known.values())
    retried = tasks - known.get(0, 0)
    total = sum(number * rows for number, rows in known.items())
    return {
        "by_count": dict(by_count),
        "retried_tasks": retried,
        "retried_share": percent(retried, tasks),
        "total_retries": total,
        "average_retries": round(total / tasks, 3) if tasks else 0.0,
        "max_retries": max(known, default=0),
    }
