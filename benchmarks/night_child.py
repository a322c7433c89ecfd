"""The contestants of `night.py` that need a process of their own; arguments as JSON on stdin, the result on stdout."""

import json
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import measure
import structlog
from sqlalchemy import delete, select

from app.core.clock import SystemClock, local_day_window
from app.core.database import Database, DatabaseSettings
from app.core.own_tables import daily_rollup
from app.core.source_tables import SourceSettings, map_source_tables

_REPEATS = 5


def cleanup(url: str, folders: dict[str, str], lock_file: str, *, expected: int) -> dict[str, Any]:
    """Ours: the whole clean-up, from lock to result."""
    from app.retention.cleanup import cleanup_expired  # noqa: PLC0415 - each child's memory holds what it needs
    from app.retention.settings import RetentionSettings  # noqa: PLC0415
    from app.retention.workplace import Workplace  # noqa: PLC0415

    watch = _Watch(expected)
    with closing(_Opened(url)) as opened:
        place = Workplace(
            database=opened.database,
            source=opened.source,
            settings=RetentionSettings(max_seconds=86_400),
            folders={name: Path(path) for name, path in folders.items()},
            active_logs=frozenset(),
            clock=SystemClock(),
            lock_file=Path(lock_file),
            on_progress=watch,
        )
        started = time.perf_counter()
        result = cleanup_expired(place, run_id="bench")
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows_seconds": watch.last_row - started, "document": result.document}


class _Watch:
    """Shows how far the clean-up is, and notes when the last row went."""

    def __init__(self, expected: int) -> None:
        self._expected = expected
        self._rows = -1
        self._progress = measure.Progress()
        self.last_row = time.perf_counter()

    def __call__(self, counts: Mapping[str, int]) -> None:
        if counts["tasks"] == self._rows:
            return
        self._rows = counts["tasks"]
        self.last_row = time.perf_counter()
        self._progress.update(f"  clean-up: {self._rows:,} of {self._expected:,} rows")


def orm(url: str, sample: int, cutoffs: dict[str, str]) -> dict[str, Any]:
    """Row by row through an ORM in one transaction, as the first implementation of this system worked."""
    from datetime import datetime  # noqa: PLC0415

    from sqlalchemy.orm import Session, registry  # noqa: PLC0415

    from app.demo import schema  # noqa: PLC0415

    class Task: ...

    class Receipt: ...

    for kind, table in ((Task, schema.tasks), (Receipt, schema.delivery_receipts)):
        registry().map_imperatively(kind, table)
    tasks, receipts = schema.tasks.c, schema.delivery_receipts.c
    cutoff = datetime.fromisoformat(cutoffs["completed"])
    chosen = select(Task).where(tasks.status == "completed", tasks.completed_at < cutoff)
    with closing(_Opened(url)) as opened, Session(opened.database.engine) as session:
        started = time.perf_counter()
        found = session.scalars(chosen.order_by(tasks.completed_at).limit(sample)).all()
        for task in found:
            for receipt in session.scalars(select(Receipt).where(receipts.task_id == task.id)):  # type: ignore[attr-defined]  # mapped above
                session.delete(receipt)
            session.flush()
            session.delete(task)
            session.flush()
        session.commit()
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": len(found)}


def report(url: str, day: str, zone: str) -> dict[str, Any]:
    """Ours: the daily report, first with no day stored yet, then as every night: the days before are stored."""
    from app.reporting.daily_report import build_daily_report  # noqa: PLC0415
    from app.reporting.settings import ReportingSettings  # noqa: PLC0415

    chosen, place = date.fromisoformat(day), ZoneInfo(zone)
    with closing(_Opened(url)) as opened:
        opened.clear_days(chosen - timedelta(days=400))
        seconds = []
        for _ in range(_REPEATS + 1):
            started = time.perf_counter()
            built = build_daily_report(
                opened.database, opened.source, ReportingSettings(), chosen, place, SystemClock(), {}
            )
            seconds.append(time.perf_counter() - started)
            opened.clear_days(chosen)
    rows = built.document["rows_read"]
    return {"first_seconds": seconds[0], "seconds": sorted(seconds[1:])[_REPEATS // 2], "rows": rows}


def rows_in_python(url: str, day: str, zone: str) -> dict[str, Any]:
    """The day and the seven before it, pulled into Python as plain rows and counted there."""
    last, place = date.fromisoformat(day), ZoneInfo(zone)
    start, end = local_day_window(last - timedelta(days=7), place)[0], local_day_window(last, place)[1]
    with closing(_Opened(url)) as opened:
        tasks = opened.source.tasks.table
        started = time.perf_counter()
        with opened.database.read() as connection:
            chosen = select(tasks).where(tasks.c.created_at >= start, tasks.c.created_at < end)
            rows = connection.execute(chosen).all()
        by_hour: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            local = row.created_at.astimezone(place)
            by_hour[local.date(), local.hour, row.status, row.retry_count] += 1
        times = sorted(row.processing_time for row in rows if row.processing_time is not None)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": sum(by_hour.values()), "longest": times[-1] if times else None}


class _Opened:
    """The database of a contestant, connected before anything is measured."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, DatabaseSettings(deadline_s=7200, statement_timeout_s=3600))
        self.source = map_source_tables(SourceSettings())
        with self.database.read() as connection:
            connection.execute(select(1))

    def clear_days(self, first: date) -> None:
        """Forget the stored figures from `first` on."""
        with self.database.write() as connection:
            connection.execute(delete(daily_rollup).where(daily_rollup.c.day >= first))

    def close(self) -> None:
        self.database.dispose()


WORKS: dict[str, Callable[..., dict[str, Any]]] = {
    "cleanup": cleanup,
    "orm": orm,
    "report": report,
    "rows_in_python": rows_in_python,
}

if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    measure.answer(WORKS[sys.argv[1]](**json.load(sys.stdin)))
