"""The contestants of `night.py` that need a process of their own; arguments as JSON on stdin, the result on stdout."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import measure
import structlog
from sample import opened
from sqlalchemy import delete, select

from app.core.clock import SystemClock, local_day_window
from app.core.database import Database
from app.core.own_tables import daily_rollup
from app.core.source_tables import SourceSettings, map_source_tables

_REPEATS = 5


def report(url: str, day: str, zone: str) -> dict[str, Any]:
    """Ours: the daily report, first with no day stored yet, then as every night: the days before are stored."""
    from app.reporting.daily_report import build_daily_report  # noqa: PLC0415
    from app.reporting.settings import ReportingSettings  # noqa: PLC0415

    chosen, place = date.fromisoformat(day), ZoneInfo(zone)
    with opened(url) as database:
        _clear_days(database, chosen - timedelta(days=400))
        seconds = []
        for _ in range(_REPEATS + 1):
            started = time.perf_counter()
            built = build_daily_report(
                database, map_source_tables(SourceSettings()), ReportingSettings(), chosen, place, SystemClock(), {}
            )
            seconds.append(time.perf_counter() - started)
            _clear_days(database, chosen)
    rows = built.document["rows_read"]
    return {"first_seconds": seconds[0], "seconds": sorted(seconds[1:])[_REPEATS // 2], "rows": rows}


def rows_in_python(url: str, day: str, zone: str) -> dict[str, Any]:
    """The day and the seven before it, pulled into Python as plain rows and counted there."""
    last, place = date.fromisoformat(day), ZoneInfo(zone)
    start, end = local_day_window(last - timedelta(days=7), place)[0], local_day_window(last, place)[1]
    with opened(url) as database:
        tasks = map_source_tables(SourceSettings()).tasks.table
        started = time.perf_counter()
        with database.read() as connection:
            chosen = select(tasks).where(tasks.c.created_at >= start, tasks.c.created_at < end)
            rows = connection.execute(chosen).all()
        by_hour: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            local = row.created_at.astimezone(place)
            by_hour[local.date(), local.hour, row.status, row.retry_count] += 1
        times = sorted(row.processing_time for row in rows if row.processing_time is not None)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": sum(by_hour.values()), "longest": times[-1] if times else None}


def _clear_days(database: Database, first: date) -> None:
    """Forget the stored figures from `first` on."""
    with database.write() as connection:
        connection.execute(delete(daily_rollup).where(daily_rollup.c.day >= first))


WORKS: dict[str, Callable[..., dict[str, Any]]] = {
    "report": report,
    "rows_in_python": rows_in_python,
}

if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    measure.answer(WORKS[sys.argv[1]](**json.load(sys.stdin)))
