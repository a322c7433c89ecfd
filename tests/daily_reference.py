"""The daily report worked out row by row in plain Python: what the database must agree with to the digit."""

import math
import statistics
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from daily_rows import STATUSES, task
from hypothesis import strategies as st

from app.core.clock import local_day_window

MESSAGES = {
    "二维码识别失败：图片模糊": "二维码识别错误",
    "Cannot decode QR Code in image": "二维码识别错误",
    "物流接口返回空轨迹": "物流查询错误",
    "文档模板缺少字段": "文档生成错误",
    "任务执行超时（300 秒）": "任务超时",
    "数据库连接断开": "数据库错误",
    "未知异常": "其他错误",
    None: "其他错误",
}
BOUNDS_S = (0, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 3600, math.inf)


def duration_of(row: dict[str, Any]) -> float | None:
    if row["processing_time"] is not None:
        return float(row["processing_time"])
    if row["started_at"] is None or row["completed_at"] is None:
        return None
    return (row["completed_at"] - row["started_at"]) / timedelta(seconds=1)


def wait_of(row: dict[str, Any]) -> float | None:
    return None if row["started_at"] is None else (row["started_at"] - row["created_at"]) / timedelta(seconds=1)


def usable(seconds: float | None) -> bool:
    return seconds is not None and 0 <= seconds <= 366 * 86400


def percentile(ordered: list[int], fraction: float) -> float:
    position = fraction * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low + (position - math.floor(position)) * (high - low)


def rate(part: int, whole: int) -> float:
    return round(part / whole * 100, 2) if whole else 0.0


def usable_times(rows: list[dict[str, Any]], of: Callable[[dict[str, Any]], float | None]) -> list[int]:
    """Return the times in whole microseconds, the shortest first."""
    return sorted(int(seconds * 1e6 + 0.5) for row in rows if usable(seconds := of(row)) and seconds is not None)


def spread_of(ordered: list[int]) -> dict[str, Any]:
    if not ordered:
        return {"count": 0} | dict.fromkeys(("mean", "median", "p95", "p99", "minimum", "maximum"))
    found = {
        "mean": statistics.fmean(ordered),
        "median": statistics.median(ordered),
        "p95": percentile(ordered, 0.95),
        "p99": percentile(ordered, 0.99),
        "minimum": ordered[0],
        "maximum": ordered[-1],
    }
    return {"count": len(ordered)} | {name: round(value / 1e6, 3) for name, value in found.items()}


def is_absurd(row: dict[str, Any]) -> bool:
    seconds = duration_of(row)
    finish = row["completed_at"]
    return (seconds is not None and seconds > 366 * 86400) or (
        finish is not None and not usable((finish - row["created_at"]) / timedelta(seconds=1))
    )


def expected(rows: list[dict[str, Any]], day: date, zone: ZoneInfo) -> dict[str, Any]:
    states = Counter("unknown" if row["status"] == "怪异" else row["status"] for row in rows)
    hours = Counter(row["created_at"].astimezone(zone).hour for row in rows)
    done = states["completed"] + states["failed"]
    start, end = local_day_window(day, zone)
    hours_in_day = (end - start) / timedelta(hours=1)
    slow = sorted(
        (row for row in rows if usable(duration_of(row))),
        key=lambda row: (-int(duration_of(row) * 1e6 + 0.5), row["id"]),
    )
    failed = sorted((row for row in rows if row["status"] == "failed"), key=lambda row: -row["id"])
    return {
        "total": len(rows),
        "states": {name: states[name] for name in (*STATUSES[:5], "unknown")},
        "rates": [rate(states["completed"], len(rows)), rate(states["failed"], len(rows))],
        "finished": [rate(states["completed"], done), rate(states["failed"], done)],
        "times": spread_of(usable_times(rows, duration_of)),
        "waits": spread_of(usable_times(rows, wait_of)),
        "histogram": [
            sum(low * 1e6 <= us < high * 1e6 for us in usable_times(rows, duration_of))
            for low, high in pairwise(BOUNDS_S)
        ],
        "throughput": round(done / hours_in_day, 2),
        "hours": {str(hour): hours[hour] for hour in range(24)},
        "peak": min((hour for hour in hours if hours[hour] == max(hours.values())), default=None),
        "slowest": [row["id"] for row in slow[:5]],
        "categories": dict(Counter(MESSAGES[row["error_message"]] for row in failed)),
        "failed": [row["id"] for row in failed[:50]],
        "retries": {str(number): count for number, count in Counter(row["retry_count"] for row in rows).items()},
        "retries total": sum(row["retry_count"] for row in rows),
        "messages": len({row["error_message"] for row in failed}),
        "unknown": states["unknown"],
        "retried": rate(sum(row["retry_count"] > 0 for row in rows), len(rows)),
        "no_finish": sum(row["status"] in {"completed", "failed"} and row["completed_at"] is None for row in rows),
        "negative": sum((duration_of(row) or 0) < 0 for row in rows),
        "absurd": sum(is_absurd(row) for row in rows),
    }


def told(document: dict[str, Any]) -> dict[str, Any]:
    tasks, performance = document["task_statistics"], document["performance_statistics"]
    errors, quality = document["error_statistics"], document["data_quality"]
    return {
        "total": tasks["total_tasks"],
        "states": tasks["status_breakdown"],
        "rates": [tasks["completion_rate"], tasks["failure_rate"]],
        "finished": [tasks["finished_completion_rate"], tasks["finished_failure_rate"]],
        "times": tasks["processing_time"],
        "waits": tasks["queue_wait"],
        "histogram": [one["tasks"] for one in performance["duration_histogram"]],
        "throughput": performance["throughput_per_hour"],
        "hours": performance["hourly_distribution"],
        "peak": performance["peak_hour"],
        "slowest": [one["id"] for one in performance["slowest_tasks"]],
        "categories": errors["error_categories"],
        "failed": [one["id"] for one in errors["failed_tasks"]],
        "retries": errors["retry_statistics"]["by_count"],
        "retries total": errors["retry_statistics"]["total_retries"],
        "messages": errors["distinct_messages"],
        "unknown": quality["unknown_status"],
        "retried": errors["retry_statistics"]["retried_share"],
        "no_finish": quality["no_finish_time"],
        "negative": quality["negative_durations"],
        "absurd": quality["absurd_times"],
    }


def generated_rows(zone: ZoneInfo, day: date) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of the day and a little around it, among them every kind of missing and impossible time."""
    start, end = local_day_window(day, zone)
    inside = st.integers(-3600 * 10**6, int((end - start).total_seconds() + 3600) * 10**6)
    later = st.none() | st.integers(-5 * 10**6, 4000 * 10**6).map(lambda us: timedelta(microseconds=us))
    row = st.fixed_dictionaries(
        {
            "created_at": inside.map(lambda us: start + timedelta(microseconds=us)),
            "status": st.sampled_from(STATUSES),
            "wait": later,
            "work": later,
            "processing_time": st.none() | st.sampled_from([-1.5, 0.0, 1e9, math.inf]) | st.floats(0, 5000, width=32),
            "retry_count": st.integers(0, 4),
            "error_message": st.sampled_from(list(MESSAGES)),
        }
    )
    return st.lists(row, max_size=60).map(lambda rows: [_as_task(number, one) for number, one in enumerate(rows, 1)])


def _as_task(number: int, drawn: dict[str, Any]) -> dict[str, Any]:
    wait, work = drawn.pop("wait"), drawn.pop("work")
    started = None if wait is None else drawn["created_at"] + wait
    completed = None if work is None else (started or drawn["created_at"]) + work
    return task(
        number, drawn.pop("created_at"), drawn.pop("status"), started_at=started, completed_at=completed, **drawn
    )


def in_day(rows: list[dict[str, Any]], day: date, zone: ZoneInfo) -> list[dict[str, Any]]:
    return [row for row in rows if row["created_at"].astimezone(zone).date() == day]
