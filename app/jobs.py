"""The use cases, a few lines each; the only place that combines capabilities."""

import inspect
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import structlog

from app.alerts.alert import Alert
from app.alerts.notify import send_alerts
from app.alerts.rules import evaluate_cleanup, evaluate_daily, evaluate_disk, evaluate_schedule
from app.context import Context
from app.core.atomic_json import write_json
from app.core.clock import local_date
from app.core.errors import BadArgument, ExitCode, GengfuError, OutputUnwritable, SettingsError, UnknownJob
from app.core.settings_file import nearest
from app.health.checks.broker import check_broker
from app.health.checks.disk import check_disks
from app.health.checks.system import resources
from app.health.disk_report import append_disk_report, disk_report_path
from app.health.summary import system_health as look_at_everything
from app.observability.structured_logs import ACTIVE_LOGS
from app.reporting.daily_report import build_daily_report
from app.reporting.report_files import parse_day
from app.retention.cleanup import CleanupResult, cleanup_expired
from app.retention.report_file import add_to_report, cleanup_report_path
from app.retention.workplace import Workplace
from app.runner import JobRun, Outcome, run_job
from app.schedule.limits import schedule_facts
from app.schedule.runs import Origin
from app.service.settings import QUEUES
from app.settings import Settings
from app.upkeep import backup, pending, timeouts, tracking

log = structlog.get_logger("gengfu.jobs")

_EARLIEST_YEAR = 1970
_EXIT_OF_STATE = {"held": ExitCode.HELD, "partial": ExitCode.PARTIAL, "failed": ExitCode.FAILED}


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
    trouble = {} if kept else _trouble(lambda: write_json(path, report.document))
    alerts = _judged(context, evaluate_daily, report.document)
    facts = {"success": True, "report_path": str(path), "report_kept": kept, "alerts": len(alerts), **trouble}
    # The same report can be written later: the attempt is made again.
    return Outcome(
        result={**report.document, **facts}, alerts=alerts, report=None if trouble else path, temporary=bool(trouble)
    )


def cleanup_expired_tasks(context: Context, *, dry_run: bool = False) -> Outcome:
    """Delete expired tasks with receipts and files, old temporary files and logs; with `dry_run` only count them."""
    if not isinstance(dry_run, bool):
        raise BadArgument(f"dry_run is {dry_run!r}; it takes true or false")
    context.prepare_database()
    return _cleaned(context, cleanup_expired(_workplace(context), run_id=context.run_id, dry_run=dry_run))


def cleanup_temp_files(context: Context) -> Outcome:
    """Delete old files in the temporary folders only."""
    context.prepare_own_tables()
    return _cleaned(context, cleanup_expired(_workplace(context), run_id=context.run_id, only="temp"))


def cleanup_logs(context: Context) -> Outcome:
    """Delete old logs only."""
    context.prepare_own_tables()
    return _cleaned(context, cleanup_expired(_workplace(context), run_id=context.run_id, only="logs"))


def check_disk_space(context: Context) -> Outcome:
    """Measure every configured disk and add the sample to the day's report; needs no database."""
    measured = check_disks(_disk_paths(context), context.settings.health.disk)
    at = context.clock.now().astimezone(context.zone)
    path = disk_report_path(context.settings.paths.daily_reports, at)
    set_aside: list[Path | None] = []
    trouble = _trouble(lambda: set_aside.append(append_disk_report(path, measured, at)))
    alerts = _judged(context, evaluate_disk, measured)
    result = {**measured, "report_path": str(path), "alerts": len(alerts), **trouble}
    if any(set_aside):
        result["damaged_report_kept_as"] = str(set_aside[0])
    return Outcome(result=result, alerts=alerts, report=None if trouble else path)


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
    return _with_alerts(pending.check_pending(context.database, context.source, context.settings.upkeep, context.clock))


def check_timeout_tasks(context: Context) -> Outcome:
    """Find tasks that are processed for longer than they may be."""
    context.prepare_database()
    return _with_alerts(
        timeouts.check_timeouts(context.database, context.source, context.settings.upkeep, context.clock)
    )


def update_all_pending_tracking(context: Context) -> Outcome:
    """Ask the tracking service about open receipts."""
    context.prepare_database()
    return _with_alerts(
        tracking.update_pending_tracking(context.database, context.source, context.settings.upkeep, context.clock)
    )


def backup_database(context: Context) -> Outcome:
    """Write a checked backup of the database."""
    settings = context.settings.upkeep
    folder = context.settings.paths.below_home(Path(settings.backup_folder))
    return _with_alerts(backup.backup_database(context.database, settings, folder, context.clock, context.zone))


def system_health_check(context: Context) -> Outcome:
    """Look at database, broker, queues, disks, memory and processor; a dead one is told, not raised."""
    result = look_at_everything(
        database=context.database,
        source=context.source,
        settings=context.settings.health,
        clock=context.clock,
        paths=_disk_paths(context),
        broker=lambda: _broker_facts(context),
    )
    facts = _schedule_facts(context)
    alerts = _judged(context, evaluate_schedule, {"facts": facts})
    return Outcome(result={**result, "schedule": facts, "alerts": len(alerts)}, alerts=alerts)


USE_CASES: dict[str, Callable[..., Outcome]] = {
    "generate-daily-statistics": generate_daily_statistics,
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
    for name, override in settings.schedule.jobs.items():
        if name not in USE_CASES:
            raise SettingsError(f"[schedule.jobs.{name}]: there is no job {name!r}{nearest(name, USE_CASES)}")
        if override.queue is not None and override.queue not in QUEUES:
            raise SettingsError(
                f"[schedule.jobs.{name}] queue: there is no queue {override.queue!r}{nearest(override.queue, QUEUES)}"
            )


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


def _system_statistics(context: Context) -> dict[str, Any]:
    return {
        "disk_usage": check_disks(_disk_paths(context), context.settings.health.disk).get("disk_info"),
        "queue_statistics": _broker_facts(context),
        "resources": resources(context.clock),
    }


def _broker_facts(context: Context) -> dict[str, Any]:
    measured = context.queue_meter() if context.queue_meter is not None else None
    return check_broker(context.broker_url, QUEUES, context.clock, measured=measured)


def _schedule_facts(context: Context) -> list[dict[str, Any]]:
    try:
        return schedule_facts(context.database, context.clock.now(), {})
    except GengfuError as error:
        # A database that is away is what the check of the database tells.
        log.warning("schedule_not_judged", error=str(error))
        return []


def _disk_paths(context: Context) -> list[Path]:
    """Where we write and where we delete; a folder that is not there yet is measured by its nearest parent."""
    return [_existing(path) for path in (context.settings.home, *context.roots.values())]


def _existing(path: Path) -> Path:
    return next((parent for parent in (path, *path.parents) if parent.exists()), path)


def _workplace(context: Context) -> Workplace:
    settings, paths = context.settings.retention, context.settings.paths
    return Workplace(
        database=context.database,
        source=context.source,
        settings=settings,
        folders=context.folders,
        active_logs=ACTIVE_LOGS,
        clock=context.clock,
        lock_file=paths.var / "run" / "cleanup.lock",
    )


def _cleaned(context: Context, done: CleanupResult) -> Outcome:
    document = dict(done.document)
    report = None
    if not document["dry_run"]:
        at = context.clock.now().astimezone(context.zone)
        path = cleanup_report_path(context.settings.paths.daily_reports, at)
        if trouble := _trouble(lambda: add_to_report(path, dict(done.document), at)):
            document |= {**trouble, "errors": [*document["errors"], trouble["error"]]}
        else:
            report = path
    # A look ahead is nobody's alarm.
    alerts = [] if document["dry_run"] else _judged(context, evaluate_cleanup, document)
    return Outcome(
        result={"report_path": str(report) if report else None, **document},
        alerts=alerts,
        report=report,
        exit_code=_EXIT_OF_STATE.get(done.state, ExitCode.OK),
    )


def _trouble(write: Callable[[], object]) -> dict[str, Any]:
    """Write a report; where that fails return what to say of it.

    What was measured or deleted must not be lost with its report: run record, log and alerts still tell it.
    """
    try:
        write()
    except OutputUnwritable as error:
        log.error("report_not_written", error=str(error))  # noqa: TRY400 - told on purpose
        return {"success": False, "error": str(error), "report_path": None}
    return {}


def _judged(
    context: Context, evaluate: Callable[[Any, Any], Iterable[Alert]], document: dict[str, Any]
) -> list[dict[str, Any]]:
    settings = context.settings.alerts
    return [alert.to_dict() for alert in evaluate(document, settings.rules)] if settings.enabled else []


def _with_alerts(result: dict[str, Any]) -> Outcome:
    alerts = result.get("alerts", [])
    return Outcome(result={**result, "alerts": len(alerts)}, alerts=alerts)
