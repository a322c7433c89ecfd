"""Tasks whose processing was begun long ago and never ended."""

from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, and_, func, select, update
from sqlalchemy.exc import DBAPIError

from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import GengfuError
from app.core.redaction import redact
from app.core.source_tables import SourceTables
from app.upkeep.settings import UpkeepSettings

BATCH = 1000
"""Rows set to failed in one transaction."""
EXAMPLES = 20
_log = structlog.get_logger("gengfu.upkeep")


def check_timeouts(database: Database, source: SourceTables, settings: UpkeepSettings, clock: Clock) -> dict[str, Any]:
    """Find tasks processing for more than `processing_minutes`, and set them to failed where the settings say so.

    Returns success, processing_tasks, timed_out_tasks, without_start (processing, start unknown: never timed out),
    marked_failed, examples (ids, at most 20). A task that changes meanwhile is left alone. When the database stops
    answering in mid-work, `success` is false, `error` says why, and marked_failed is what was kept.
    Raises DatabaseUnavailable, DatabaseBusy, SchemaMismatch while nothing was changed.
    """
    if not source.tasks.has("started_at"):
        return {"success": True, "skipped": "the task table has no started_at; map it in [source.tasks.columns]"}
    now = clock.now().replace(microsecond=0)
    timed_out = _timed_out(source, now - timedelta(minutes=settings.processing_minutes))
    result = {"success": True, **_figures(database, source, timed_out), "marked_failed": 0}
    if settings.timeout_action == "fail" and result["timed_out_tasks"]:
        _mark_all(database, source, timed_out, _failed_values(source, settings, now), result)
    if result["timed_out_tasks"]:
        _log.info("tasks_timed_out", timed_out=result["timed_out_tasks"], marked_failed=result["marked_failed"])
    return result


def _timed_out(source: SourceTables, cutoff: datetime) -> ColumnElement[bool]:
    tasks = source.tasks.table.c
    return and_(tasks.status.in_(source.statuses.processing), tasks.started_at < cutoff)


def _figures(database: Database, source: SourceTables, timed_out: ColumnElement[bool]) -> dict[str, Any]:
    tasks = source.tasks.table.c
    figures = select(
        func.count(), func.count().filter(timed_out), func.count().filter(tasks.started_at.is_(None))
    ).where(tasks.status.in_(source.statuses.processing))
    oldest = select(tasks.id).where(timed_out).order_by(tasks.started_at, tasks.id).limit(EXAMPLES)
    with database.read() as connection:
        processing, late, without_start = connection.execute(figures).one()
        examples = list(connection.execute(oldest).scalars())
    return {
        "processing_tasks": processing,
        "timed_out_tasks": late,
        "without_start": without_start,
        "examples": examples,
    }


def _failed_values(source: SourceTables, settings: UpkeepSettings, now: datetime) -> dict[str, Any]:
    values = {
        "status": source.statuses.failed[0],
        "error_message": f"任务超时: 处理超过 {settings.processing_minutes} 分钟仍未完成, 由维护任务标记为失败",
        # Without an end the row would never reach the age at which it is cleaned up.
        "completed_at": now,
        "updated_at": now,
    }
    return {logical: value for logical, value in values.items() if source.tasks.has(logical)}


def _mark_all(
    database: Database,
    source: SourceTables,
    timed_out: ColumnElement[bool],
    values: dict[str, Any],
    result: dict[str, Any],
) -> None:
    last_id: int | None = None
    try:
        while True:
            last_id, marked = _mark_batch(database, source, timed_out, values, last_id)
            result["marked_failed"] += marked
            if last_id is None:
                return
    except (GengfuError, DBAPIError) as error:
        result.update(success=False, error=redact(" ".join(str(error).split())))


def _mark_batch(
    database: Database,
    source: SourceTables,
    timed_out: ColumnElement[bool],
    values: dict[str, Any],
    after: int | None,
) -> tuple[int | None, int]:
    """Mark one batch; return its last id (None: there is no more) and how many rows were changed."""
    table = source.tasks.table
    batch = select(table.c.id).where(timed_out).order_by(table.c.id).limit(BATCH)
    if after is not None:
        batch = batch.where(table.c.id > after)
    with database.maintain() as connection:
        ids = list(connection.execute(batch).scalars())
        if not ids:
            return None, 0
        # The condition again: a task that ended since the SELECT keeps its result.
        changed = connection.execute(
            update(table).where(table.c.id.in_(ids), timed_out).values(_by_column(table, values))
        )
    return (ids[-1] if len(ids) == BATCH else None), changed.rowcount


def _by_column(table: Any, values: dict[str, Any]) -> dict[Any, Any]:
    return {table.c[logical]: value for logical, value in values.items()}
