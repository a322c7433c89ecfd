"""The use cases, a few lines each; the only place that combines capabilities."""

import inspect
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import structlog

from app.alerts.notify import send_alerts
from app.alerts.rules import evaluate_daily, evaluate_disk, evaluate_schedule
from app.cleaning import cleanup_expired_tasks, cleanup_logs, cleanup_temp_files
from app.context import Context
from app.core.atomic_json import write_json
from app.core.clock import local_date
from app.core.errors import BadArgument, GengfuError, UnknownJob
from app.core.redaction import redact
from app.core.settings_file import nearest
from app.health.checks.broker import check_broker
from app.health.checks.disk import check_disks
from app.health.checks.system import resources
from app.health.disk_history import DiskHistory
from app.health.disk_report import append_disk_report, disk_report_path
from app.health.samples import SampleStore
from app.health.summary import system_health as look_at_everything
from app.outcomes import judged, nearest_existing, trouble_of, with_alerts
from app.reporting.daily_report import build_daily_report
from app.reporting.periods import Kind, Period, build_period_report, parse_period, period_of
from app.reporting.report_files import parse_day
from app.reporting.rollups import Rollups
from app.runner import JobRun, Outcome, run_job
from app.schedule.limits import schedule_facts
from app.schedule.runs import Origin
from app.service.settings import QUEUES
from app.settings import Settings
from app.upkeep import backup, pending, timeouts, tracking

log = structlog.get_logger("gengfu.jobs")

_EARLIEST_YEAR = 1970


def generate_daily_statistics(context: Context, *, day: str | None = None) -> Outcome:
    """Write the report of a local day (`YYYY-MM-DD`; yesterday if none is given) and judge it.

    Returns the report's own keys with `success`, `report_path` and `alerts`. Raises BadArgument for a day that is none.
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
    alerts = judged(context, evaluate_daily, report.document)
    page = {} if trouble else _page(context, path)
    facts = {"success": True, "report_path": str(path), "report_kept": kept, "alerts": len(alerts), **trouble, **page}
    # The same report can be written later: the attempt is made again.
    return Outcome(
        result={**report.document, **facts}, alerts=alerts, report=None if trouble else path, temporary=bool(trouble)
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
    measured = check_disks(_disk_paths(context), context.settings.health.disk)
    at = context.clock.now().astimezone(context.zone)
    history = disk_history(context)
    measured = history.with_forecasts(measured, at, away=history.keep(measured, at))
    path = disk_report_path(context.settings.paths.daily_reports, at)
    set_aside: list[Path | None] = []
    trouble = trouble_of(lambda: set_aside.append(append_disk_report(path, measured, at)))
    alerts = judged(context, evaluate_disk, measured)
    result = {**measured, "report_path": str(path), "alerts": len(alerts), **trouble}
    if any(set_aside):
        result["damaged_report_kept_as"] = str(set_aside[0])
    return Outcome(result=result, alerts=alerts, report=None if trouble else path)


def look_at_disks(context: Context) -> dict[str, Any]:
    """Return what `check_disk_space` would find, and keep, judge and tell nothing."""
    measured = check_disks(_disk_paths(context), context.settings.health.disk)
    away = None
    try:
        context.prepare_own_tables()
    except GengfuError as error:
        away = str(error)
    return disk_history(context).with_forecasts(measured, context.clock.now(), away=away)


def send_alert_notification(context: Context, *, alerts: Any) -> Outcome:
    """Tell people about alerts (a list of {type, message, severity, ...}); a malformed one is refused by its index."""
    paths = context.settings.paths
    result = send_alerts(
        alerts,
        settings=context.settings.alerts,
        clock=context.clock,
        zone=context.zone,
        logs=paths.logs,
        reports=paths.alert_reports,
    )
    return Outcome(result=result)


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
        paths=_disk_paths(context),
        broker=lambda: _broker_facts(context),
    )
    _keep_disk_sample(context, result["checks"]["disk"])
    facts = _schedule_facts(context, _configured_minimums(context) if minimum_s is None else minimum_s)
    alerts = judged(context, evaluate_schedule, {"facts": facts})
    return Outcome(result={**result, "schedule": facts, "alerts": len(alerts)}, alerts=alerts)


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
    return run_job(
        context, name, lambda inner: use_case(inner, **arguments), origin=Origin(trigger="shell"), hand_over=tell_alerts
    )


def tell_alerts(context: Context, alerts: list[dict[str, Any]]) -> None:
    """Tell alerts in this process: where there is no broker, or none that answers."""
    run_job(
        context,
        "send-alert-notification",
        lambda inner: send_alert_notification(inner, alerts=alerts),
        origin=Origin(trigger="shell"),
    )


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
        "disk_usage": check_disks(_disk_paths(context), context.settings.health.disk).get("disk_info"),
        "queue_statistics": _broker_facts(context),
        "resources": resources(context.clock),
    }


def _broker_facts(context: Context) -> dict[str, Any]:
    measured = context.queue_meter() if context.queue_meter is not None else None
    return check_broker(context.broker_url, QUEUES, context.clock, measured=measured)


def _configured_minimums(context: Context) -> dict[str, float]:
    jobs = context.settings.schedule.jobs
    return {name: override.minimum_s for name, override in jobs.items() if override.minimum_s is not None}


def _schedule_facts(context: Context, minimum_s: Mapping[str, float]) -> list[dict[str, Any]]:
    try:
        return schedule_facts(context.database, context.clock.now(), minimum_s)
    except GengfuError as error:
        # A database that is away is what the check of the database tells.
        log.warning("schedule_not_judged", error=str(error))
        return []


def disk_history(context: Context) -> DiskHistory:
    """Return the kept samples of all disks."""
    store = SampleStore(database=context.database, clock=context.clock)
    return DiskHistory(store=store, reports=context.settings.paths.daily_reports, zone=context.zone)


def _keep_disk_sample(context: Context, measured: dict[str, Any]) -> None:
    """Every health check is a sample: the forecast then sees five minutes where the disk check sees an hour."""
    if measured.get("mounts"):
        trouble_of(lambda: disk_history(context).keep_anywhere(measured, context.clock.now()))


def _disk_paths(context: Context) -> list[Path]:
    """Where we write and where we delete; a folder that is not there yet is measured by its nearest parent."""
    return [nearest_existing(path) for path in (context.settings.home, *context.roots.values())]
