"""Tasks that wait too long to be begun."""

from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import func, select

from app.alerts.alert import Alert
from app.core.clock import Clock
from app.core.database import Database
from app.core.source_tables import SourceTables
from app.upkeep.settings import UpkeepSettings

_log = structlog.get_logger("gengfu.upkeep")


def check_pending(database: Database, source: SourceTables, settings: UpkeepSettings, clock: Clock) -> dict[str, Any]:
    """Count pending tasks and those created more than `pending_minutes` ago.

    Returns success, pending_tasks, overdue_tasks, oldest_pending_minutes (None where nothing waits) and `alerts`, the
    list to send: BacklogHigh when more than `pending_warning` tasks are overdue. A task without a creation time, or
    with one in the future, waits but is never overdue. Raises DatabaseUnavailable, DatabaseBusy, SchemaMismatch.
    """
    now = clock.now().replace(microsecond=0)
    tasks = source.tasks.table.c
    overdue = tasks.created_at < now - timedelta(minutes=settings.pending_minutes)
    figures = select(func.count(), func.count().filter(overdue), func.min(tasks.created_at)).where(
        tasks.status.in_(source.statuses.pending)
    )
    with database.read() as connection:
        pending, late, oldest = connection.execute(figures).one()
    result = {
        "success": True,
        "pending_tasks": pending,
        "overdue_tasks": late,
        "oldest_pending_minutes": None if oldest is None else max(0, int((now - oldest).total_seconds() // 60)),
        "alerts": _alerts(late, settings),
    }
    if late:
        _log.info("pending_tasks_overdue", pending=pending, overdue=late)
    return result


def _alerts(overdue: int, settings: UpkeepSettings) -> list[dict[str, Any]]:
    if overdue <= settings.pending_warning:
        return []
    alert = Alert(
        type="backlog",
        alertname="BacklogHigh",
        message=(
            f"{overdue} tasks have been pending for more than {settings.pending_minutes} minutes; "
            f"the threshold is {settings.pending_warning}"
        ),
        severity="warning",
        rule="backlog_high",
        value=overdue,
        threshold=settings.pending_warning,
    )
    return [alert.to_dict()]
