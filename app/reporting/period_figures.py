"""The figures of several days together, out of the stored figures of each."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from app.reporting.figures import DURATION_BOUNDS_S, HOURS_OF_A_DAY, STATES, UNKNOWN
from app.reporting.rates import percent, wilson_bounds

Days = Mapping[date, Mapping[str, Any]]

_SUMS = ("total_tasks", "completed", "failed")
"""Figures that grow with the number of days."""
_MEANS = ("tasks_per_day", "average_processing_time")
_RATES = ("completion_rate", "failure_rate")


def task_statistics(days: Days) -> dict[str, Any]:
    """Return totals, rates (percent of all tasks of the days together) and times (seconds).

    The mean time is that of all tasks. There is no median of several days: their percentiles can't be folded.
    """
    states = _summed(figures["status_breakdown"] for figures in days.values())
    counts = {state: states.get(state, 0) for state in STATES}
    total = sum(int(figures["total_tasks"]) for figures in days.values())
    finished = counts["completed"] + counts["failed"]
    lower, upper = wilson_bounds(counts["failed"], total)
    timing = _timing([figures["processing_time"] for figures in days.values()])
    return {
        "total_tasks": total,
        "tasks_per_day": round(total / len(days), 2) if days else None,
        "status_breakdown": counts,
        "completion_rate": percent(counts["completed"], total),
        "failure_rate": percent(counts["failed"], total),
        "failure_rate_lower": lower,
        "failure_rate_upper": upper,
        "finished_tasks": finished,
        "finished_completion_rate": percent(counts["completed"], finished),
        "finished_failure_rate": percent(counts["failed"], finished),
        "average_processing_time": timing["mean"] or 0.0,
        "processing_time": timing,
    }


def performance_statistics(days: Days, hours: float) -> dict[str, Any]:
    """Return tasks per local hour, the busiest and quietest day, throughput and times; `hours` is the days' length."""
    by_hour = [sum(figures["hourly_distribution"][hour] for figures in days.values()) for hour in range(HOURS_OF_A_DAY)]
    finished = sum(figures["status_breakdown"][name] for figures in days.values() for name in ("completed", "failed"))
    totals = [(int(figures["total_tasks"]), day) for day, figures in days.items()]
    # The earlier of equals.
    busiest = max(totals, key=lambda pair: pair[0], default=None)
    quietest = min(totals, key=lambda pair: pair[0], default=None)
    return {
        "hourly_distribution": {str(hour): count for hour, count in enumerate(by_hour)},
        "peak_hour": by_hour.index(max(by_hour)) if any(by_hour) else None,
        "hours_in_period": hours,
        "throughput_per_hour": round(finished / hours, 2) if hours else None,
        "busiest_day": _told(busiest),
        "quietest_day": _told(quietest),
        "duration_histogram": _histogram(days),
    }


def error_statistics(days: Days) -> dict[str, Any]:
    """Return failed tasks, their categories and the retries of all tasks."""
    retries = _summed(figures["retries_by_count"] for figures in days.values())
    known = {int(number): rows for number, rows in retries.items() if number != UNKNOWN}
    tasks = sum(known.values())
    retried = tasks - known.get(0, 0)
    return {
        "total_errors": sum(int(figures["status_breakdown"]["failed"]) for figures in days.values()),
        "error_categories": _summed(figures["error_categories"] for figures in days.values()),
        "retry_statistics": {
            "retried_tasks": retried,
            "retried_share": percent(retried, tasks),
            "total_retries": sum(number * rows for number, rows in known.items()),
        },
    }


def comparison(now: Mapping[str, Any], before: Mapping[str, Any] | None, *, sums_compare: bool) -> dict[str, Any]:
    """Return {value, before, change_percent} of each figure; `before` is None where nothing is known of that period.

    Rates have `change_points` (percentage points) instead: of a percentage a change in percent misleads. Sums grow
    with the number of days: their change is None unless all days of both periods are known (`sums_compare`). Months
    differ in length even then: `tasks_per_day` is the fair measure.
    """
    found = {}
    for name in (*_SUMS, *_MEANS, *_RATES):
        value, earlier = _figure(now, name), None if before is None else _figure(before, name)
        if name in _RATES:
            change = {"change_points": None if value is None or earlier is None else round(value - earlier, 2)}
        else:
            fair = name not in _SUMS or sums_compare
            change = {"change_percent": _change(value, earlier) if fair else None}
        found[name] = {"value": value, "before": earlier} | change
    return found


def _figure(tasks: Mapping[str, Any], name: str) -> float | None:
    value: float | None = tasks["status_breakdown"][name] if name in {"completed", "failed"} else tasks[name]
    return value


def _change(value: float | None, before: float | None) -> float | None:
    return round(100 * (value - before) / before, 2) if before and value is not None else None


def _summed(tables: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in tables:
        total.update(one)
    return dict(sorted(total.items()))


def _timing(timings: list[Mapping[str, Any]]) -> dict[str, Any]:
    timed = [timing for timing in timings if timing["count"]]
    count = sum(int(timing["count"]) for timing in timed)
    return {
        "count": count,
        "mean": round(sum(timing["mean"] * timing["count"] for timing in timed) / count, 3) if count else None,
        "minimum": min((timing["minimum"] for timing in timed), default=None),
        "maximum": max((timing["maximum"] for timing in timed), default=None),
    }


def _told(found: tuple[int, date] | None) -> dict[str, Any] | None:
    return None if found is None else {"date": found[1].isoformat(), "total_tasks": found[0]}


def _histogram(days: Days) -> list[dict[str, Any]]:
    bounds = ((0, *DURATION_BOUNDS_S), (*DURATION_BOUNDS_S, None))
    counted = [figures["duration_histogram"] for figures in days.values() if "duration_histogram" in figures]
    sums = [sum(column) for column in zip(*counted, strict=True)] or [0] * len(bounds[0])
    return [{"from": start, "below": below, "tasks": tasks} for start, below, tasks in zip(*bounds, sums, strict=True)]
