"""The use cases, a few lines each; the only place that combines capabilities."""

import inspect
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import structlog

from app.cleaning import cleanup_expired_tasks, cleanup_logs, cleanup_temp_files
from app.context import Context
from app.core.atomic_json import write_json
from app.core.clock import local_date
from app.core.errors import BadArgument, GengfuError, UnknownJob
from app.core.redaction import redact
from app.core.settings_file import nearest
from app.counted_days import rewrite_outdated
from app.execution.runner import JobRun, Outcome, run_job
from app.health.checks.system import resources
from app.health.disk_report import append_disk_report, disk_report_path
from app.health.summary import system_health as look_at_everything
from app.outcomes import trouble_of, with_alerts
from app.reporting.daily_report import build_daily_report
from app.reporting.periods import Kind, Period, build_period_report, parse_period, period_of
from app.reporting.report_files import parse_day
from app.reporting.rollups import Rollups
from app.schedule.runs import Origin
from app.service.settings import QUEUES
from app.settings import Settings
from app.upkeep import backup, pending, timeouts, tracking
from app.watch.sampling import broken_limits, broker_facts, disk_history, disk_paths, measured_disks, monitor_silent_s
from app.watch.telling import hand_over, notify

log = structlog.get_logger("gengfu.jobs")

_EARLIEST_YEAR = 1970


def generate_daily_statistics(context: Context, *, day: str | None = None) -> Outcome:
    """Write the report of a local day (`YYYY-MM-DD`; yesterday if none is given) and have it judged.

    Returns the report's own keys with `success` and `report_path`. A day further back is not judged: what was wrong
    then may be well since. Raises BadArgument for a day that is none.
    """
    chosen = _day(day, context)
    context.prepare_database()
    report = build_daily_report(
        context.database,
        context.source,
        context.settings.reporting,
        chosen,
        context.zone,
        context.clock,
        _system_statistics(context),
    )
    path = context.settings.paths.daily_reports / report.path_name
    # Rows of that day are gone since it was first counted: the earlier report tells more than a new one would.
    kept = bool(report.rows_removed) and path.exists()
    trouble = {} if kept else trouble_of(lambda: write_json(path, report.document))
    page = {} if trouble else _page(context, path)
    rewritten = [] if trouble else rewrite_outdated(context, chosen)
    facts = {
        "success": True,
        "report_path": str(path),
        "report_kept": kept,
        "reports_rewritten": [one.isoformat() for one in rewritten],
        **trouble,
        **page,
    }
    # The same report can be written later: the attempt is made again.
    return Outcome(
        result={**report.document, **facts},
        observed={"daily": report.document} if chosen == _day(None, context) else {},
        report=None if trouble else path,
        temporary=bool(trouble),
    )


def generate_weekly_report(context: Context, *, week: str | None = None) -> Outcome:
    """Write the report of a week (`2026-W11`; the newest that is over if none is given) from its days' stored figures.

    Returns the report's own keys with `success`, `report_path` and `page_path`. Raises BadArgument for a week that is
    none or has not begun.
    """
    return _period_report(context, "weekly", week)


def generate_monthly_report(context: Context, *, month: str | None = None) -> Outcome:
    """Write the report of a month (`2026-03`); see `generate_weekly_report`."""
    return _period_report(context, "monthly", month)


def check_disk_space(context: Context) -> Outcome:
    """Measure every configured disk, keep the sample, tell when it will be full; needs no database."""
    measured = measured_disks(context)
    at = context.clock.now().astimezone(context.zone)
    history = disk_history(context)
    measured = history.with_forecasts(measured, at, away=history.keep(measured, at))
    path = disk_report_path(context.settings.paths.daily_reports, at)
    set_aside: list[Path | None] = []
    trouble = trouble_of(lambda: set_aside.append(append_disk_report(path, measured, at)))
    result = {**measured, "report_path": str(path), **trouble}
    if any(set_aside):
        result["damaged_report_kept_as"] = str(set_aside[0])
    return Outcome(result=result, observed={"disk": measured}, report=None if trouble else path)


def look_at_disks(context: Context) -> dict[str, Any]:
    """Return what `check_disk_space` would find, and keep, judge and tell nothing."""
    measured = measured_disks(context)
    away = None
    try:
        context.prepare_own_tables()
    except GengfuError as error:
        away = str(error)
    return disk_history(context).with_forecasts(measured, context.clock.now(), away=away)


def send_alert_notification(context: Context, *, alerts: Any) -> Outcome:
    """Tell people about alerts (a list of {type, message, severity, ...}); a malformed one is refused by its index."""
    return Outcome(result=notify(context, alerts))


def check_pending_tasks(context: Context) -> Outcome:
    """Count tasks that wait for longer than they should."""
    context.prepare_database()
    return with_alerts(pending.check_pending(context.database, context.source, context.settings.upkeep, context.clock))


def check_timeout_tasks(context: Context) -> Outcome:
    """Find tasks that are processed for longer than they may be."""
    context.prepare_database()
    return with_alerts(
        timeouts.check_timeouts(context.database, context.source, context.settings.upkeep, context.clock)
    )


def update_all_pending_tracking(context: Context) -> Outcome:
    """Ask the tracking service about open receipts."""
    context.prepare_database()
    return with_alerts(
        tracking.update_pending_tracking(context.database, context.source, context.settings.upkeep, context.clock)
    )


def backup_database(context: Context) -> Outcome:
    """Write a checked backup of the database."""
    settings = context.settings.upkeep
    folder = context.settings.paths.below_home(Path(settings.backup_folder))
    return with_alerts(backup.backup_database(context.database, settings, folder, context.clock, context.zone))


def system_health_check(context: Context, *, minimum_s: Mapping[str, float] | None = None) -> Outcome:
    """Look at database, broker, queues, disks, memory and processor; a dead one is told, not raised.

    `minimum_s` (job -> seconds) is what the registry declares; without it only `[schedule.jobs]` says it.
    """
    result = look_at_everything(
        database=context.database,
        source=context.source,
        settings=context.settings.health,
        clock=context.clock,
        paths=disk_paths(context),
        broker=lambda: broker_facts(context),
    )
    _keep_disk_sample(context, result["checks"]["disk"])
    facts = broken_limits(context, minimum_s)
    observed: dict[str, Any] = {} if facts is None else {"schedule": {"facts": facts}}
    silent_s = monitor_silent_s(context)
    if silent_s is not None:
        observed["monitoring"] = {"silent_s": silent_s}
    return Outcome(result={**result, "schedule": facts or [], "monitor_silent_s": silent_s}, observed=observed)


USE_CASES: dict[str, Callable[..., Outcome]] = {
    "generate-daily-statistics": generate_daily_statistics,
    "generate-weekly-report": generate_weekly_report,
    "generate-monthly-report": generate_monthly_report,
    "cleanup-expired-tasks": cleanup_expired_tasks,
    "disk-space-check": check_disk_space,
    "send-alert-notification": send_alert_notification,
    "check-pending-tasks": check_pending_tasks,
    "check-timeout-tasks": check_timeout_tasks,
    "update-all-pending-tracking": update_all_pending_tracking,
    "cleanup-temp-files": cleanup_temp_files,
    "cleanup-logs": cleanup_logs,
    "backup-database": backup_database,
    "system-health-check": system_health_check,
}
"""Every job by its name, for running without Celery."""


def check_schedule(settings: Settings) -> None:
    """Raise SettingsError where `[schedule.jobs]` names a job or a queue that does not exist."""
    settings.schedule.refuse_unknown(USE_CASES, QUEUES)


def run_here(context: Context, name: str, **arguments: Any) -> JobRun:
    """Run a job in this process, without broker, and tell its alerts here. Raises UnknownJob with the nearest name."""
    if name not in USE_CASES:
        raise UnknownJob(f"there is no job {name!r}{nearest(name, USE_CASES)}; `celery_beat_manager.py list` shows all")
    use_case = USE_CASES[name]
    try:
        inspect.signature(use_case).bind(context, **arguments)
    except TypeError as error:
        raise BadArgument(f"job {name!r} can't run with these arguments: {error}") from error
    origin = Origin(trigger="shell")
    return run_job(context, name, lambda inner: use_case(inner, **arguments), origin=origin, hand_over=hand_over)


def _day(text: Any, context: Context) -> date:
    if text is None:
        return local_date(context.now, context.zone) - timedelta(days=1)
    if not isinstance(text, str):
        raise BadArgument(f"{text!r} is no day; write it as YYYY-MM-DD")
    chosen = parse_day(text)
    if chosen > local_date(context.clock.now(), context.zone):
        raise BadArgument(f"{text} lies in the future; there is nothing to report yet")
    if chosen.year < _EARLIEST_YEAR:
        raise BadArgument(f"{text} lies before {_EARLIEST_YEAR}; no task is that old")
    return chosen


def _period_report(context: Context, kind: Kind, name: Any) -> Outcome:
    context.prepare_own_tables()
    rollups = Rollups(database=context.database, zone=context.zone, clock=context.clock)
    period = _period(kind, name, context)
    document = build_period_report(rollups, period)
    paths = context.settings.paths
    path = (paths.weekly_reports if kind == "weekly" else paths.monthly_reports) / period.file_name
    trouble = trouble_of(lambda: write_json(path, document))
    page = {} if trouble else _page(context, path)
    result = {**document, "success": True, "report_path": str(path), **trouble, **page}
    return Outcome(result=result, report=None if trouble else path, temporary=bool(trouble))


def _period(kind: Kind, name: Any, context: Context) -> Period:
    if name is None:
        return period_of(kind, local_date(context.now, context.zone)).before
    period = parse_period(kind, str(name))
    if period.first > local_date(context.clock.now(), context.zone):
        raise BadArgument(f"{name} lies in the future; there is nothing to report yet")
    return period


def _page(context: Context, report: Path) -> dict[str, Any]:
    """Draw the page of a stored report; where that fails return what to say of it, for the figures are safe."""
    try:
        # `status` and `list` import this module and draw nothing; importing what draws takes some 50 ms.
        from app.reporting.page_files import write_page  # noqa: PLC0415

        return {"page_path": str(write_page(report, context.settings.general.language))}
    except Exception as error:  # a page must never cost the report; it is told with its stack
        log.exception("page_not_drawn", report=str(report), error=redact(str(error)))
        return {"page_path": None, "page_error": f"{type(error).__name__}: {redact(str(error))}"}


def _system_statistics(context: Context) -> dict[str, Any]:
    return {
        "disk_usage": measured_disks(context).get("disk_info"),
        "queue_statistics": broker_facts(context),
        "resources": resources(context.clock),
    }


def _keep_disk_sample(context: Context, measured: dict[str, Any]) -> None:
    """Every health check is a sample: the forecast then sees five minutes where the disk check sees an hour."""
    if measured.get("mounts"):
        trouble_of(lambda: disk_history(context).keep_anywhere(measured, context.clock.now()))
