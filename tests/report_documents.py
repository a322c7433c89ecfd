"""Stored reports for tests of what people see of them."""

from datetime import date, timedelta
from typing import Any

DAY = date(2026, 3, 9)


def history(last: date = DAY, days: int = 57, *, missing: frozenset[int] = frozenset()) -> list[dict[str, Any]]:
    return [
        {
            "date": (last - timedelta(days=back)).isoformat(),
            "total_tasks": 1000 + back,
            "completed": 990,
            "failed": 10,
            "failure_rate": 1.0,
            "average_processing_time": 4.0,
            "expected": 1010.0,
            "lower": 900.0,
            "upper": 1100.0,
            "verdict": "anomaly" if back == 3 else "normal",
        }
        for back in reversed(range(days))
        if back not in missing
    ]


def verdict(series: str, word: str = "normal", **more: Any) -> dict[str, Any]:
    return {
        "series": series,
        "value": 1250,
        "expected": 1200.4,
        "lower": 1000.2,
        "upper": 1400.6,
        "z": 0.5,
        "method": "trend",
        "n_history": 56,
        "verdict": word,
        "reason": "",
    } | more


def document(day: str = "2026-03-09", **more: Any) -> dict[str, Any]:
    """Return a whole daily report."""
    return {
        "date": day,
        "timezone": "Asia/Shanghai",
        "revision": 2,
        "day_over": True,
        "generated_at": "2026-03-10T02:00:05+08:00",
        "task_statistics": _tasks(),
        "performance_statistics": _performance(),
        "error_statistics": _errors(),
        "system_statistics": _system(),
        "trend_analysis": _trend(),
        "data_quality": {"no_finish_time": 3, "unknown_status": 0, "unmapped_columns": ["retry_count"]},
    } | more


def _tasks() -> dict[str, Any]:
    return {
        "total_tasks": 1250,
        "status_breakdown": {"completed": 1100, "failed": 45, "pending": 15, "processing": 90},
        "completion_rate": 88.0,
        "failure_rate": 3.6,
        "failure_rate_lower": 2.7,
        "failure_rate_upper": 4.79,
        "average_processing_time": 45.2,
        "processing_time": {"count": 1145, "mean": 45.2, "median": 38.114, "p95": 121.5, "p99": 310.25},
        "queue_wait": {"mean": 3.2},
    }


def _performance() -> dict[str, Any]:
    slow = {"id": 7, "task_id": "慢任务", "task_type": "文档生成", "status": "completed", "processing_time": 321.5}
    return {
        "hourly_distribution": {str(hour): 50 + hour for hour in range(24)},
        "peak_hour": 23,
        "slowest_tasks": [slow],
        "throughput_per_hour": 47.71,
        "duration_histogram": [
            {"from": 0, "below": 1, "tasks": 0},
            {"from": 1, "below": 60, "tasks": 900},
            {"from": 60, "below": None, "tasks": 245},
        ],
    }


def _errors() -> dict[str, Any]:
    failed = {
        "id": 1234567,
        "task_id": "t-1",
        "task_type": "物流查询",
        "created_at": "2026-03-09T23:02:11+08:00",
        "category": "物流查询错误",
        "message": "物流接口无响应",
        "retries": 3,
    }
    return {
        "total_errors": 45,
        "error_categories": {"二维码识别错误": 12, "物流查询错误": 33},
        "failed_tasks": [failed],
        "retry_statistics": {"retried_tasks": 70, "retried_share": 5.6},
    }


def _system() -> dict[str, Any]:
    disk = {"mount": "/data", "total_gb": 500.0, "used_gb": 350.2, "free_gb": 149.8, "usage_percent": 70.04}
    return {
        "disk_usage": disk,
        "queue_statistics": {"available": True, "queues": {"receipt": 3}},
        "resources": {"cpu_percent": 12.5, "memory_percent": 48.2},
    }


def _trend() -> dict[str, Any]:
    return {
        "past_7_days": history()[-8:-1],
        "history": history(),
        "trend_percent": 25.0,
        "trend_direction": "up",
        "verdicts": [verdict("total_tasks"), verdict("failed", "anomaly", value=45)],
    }


def hostile(text: str) -> dict[str, Any]:
    """Return a report that holds `text` wherever text of the application or its host can stand."""
    found = document()
    task = {"id": text, "task_id": text, "task_type": text, "created_at": text, "status": text}
    found["error_statistics"] |= {
        "error_categories": {text: 5},
        "failed_tasks": [task | {"category": text, "message": text, "retries": 1}],
    }
    found["performance_statistics"]["slowest_tasks"] = [task | {"processing_time": 1.5}]
    found["task_statistics"]["status_breakdown"] = {text: 5}
    found["system_statistics"] = {
        "disk_usage": {"mount": text, "total_gb": 5.0, "used_gb": 2.0, "free_gb": 3.0, "usage_percent": 40.0},
        "queue_statistics": {"available": True, "queues": {text: 1}},
    }
    found["trend_analysis"] = {
        "past_7_days": [{"date": text, "total_tasks": 5}],
        "trend_direction": text,
        "verdicts": [verdict(text, text, method=text)],
    }
    found["data_quality"] = {text: 1, "unmapped_columns": [text]}
    return found | {"timezone": text, "generated_at": text, "revision": text}
