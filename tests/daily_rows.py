"""The application's rows for tests of the daily report, and the report over them."""

import json
from collections.abc import Iterable
from datetime import date, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import delete, insert

from app.core.clock import ManualClock, local_day_window
from app.core.database import Database
from app.core.own_tables import daily_rollup
from app.core.settings_reader import read
from app.core.source_tables import SourceSettings, map_source_tables
from app.demo import schema
from app.reporting.daily_report import DailyReport, build_daily_report
from app.reporting.settings import ReportingSettings

DAY = date(2026, 3, 9)
"""The day before the manual clock's."""
SHANGHAI = ZoneInfo("Asia/Shanghai")
SYSTEM = {"disk_usage": {"total_gb": 500.0}, "queue_statistics": {}, "resources": {}}
STATUSES = ("pending", "processing", "completed", "failed", "cancelled", "怪异")


def report(
    database: Database, clock: ManualClock, day: date = DAY, zone: ZoneInfo = SHANGHAI, **more: Any
) -> DailyReport:
    source = map_source_tables(more.pop("source", SourceSettings()))
    return build_daily_report(database, source, read(ReportingSettings, more), day, zone, clock, SYSTEM)


def task(number: int, created: datetime, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "task_id": f"任务-{number}",
        "task_type": "receipt",
        "status": status,
        "created_at": created,
        "started_at": None,
        "completed_at": None,
        "updated_at": created,
        "processing_time": None,
        "retry_count": 0,
        "error_message": None,
    } | more


_AT_ONCE = 20_000


def put(database: Database, rows: Iterable[dict[str, Any]]) -> None:
    left = iter(rows)
    with database.write(deadline_s=600) as connection:
        connection.execute(delete(schema.tasks))
        connection.execute(delete(daily_rollup))
        while portion := list(islice(left, _AT_ONCE)):
            connection.execute(insert(schema.tasks), portion)


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    json.dumps(document, allow_nan=False)
    return {key: value for key, value in document.items() if key not in {"generated_at", "query_seconds"}}


def start_of(day: date = DAY, zone: ZoneInfo = SHANGHAI) -> datetime:
    return local_day_window(day, zone)[0]
