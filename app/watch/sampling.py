"""What the program measures of itself and its surroundings, for jobs and monitor alike."""

from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from app.context import Context
from app.core.clock import local_date, local_day_window
from app.core.errors import GengfuError
from app.health.checks.broker import check_broker
from app.health.checks.disk import check_disks
from app.health.disk_history import DiskHistory
from app.health.samples import SampleStore
from app.outcomes import nearest_existing
from app.reporting.report_files import report_name
from app.reporting.rollups import Rollups
from app.schedule.cron import next_due
from app.schedule.in_force import InForce, Schedules
from app.schedule.limits import ended_runs, schedule_facts
from app.schedule.pauses import paused_jobs
from app.schedule.signs import MONITOR, Signs
from app.service.settings import QUEUES

log = structlog.get_logger("gengfu.jobs")

_DAILY = "generate-daily-statistics"
_DAYS = 7
"""As long as failed rows are kept: a day further back may have lost rows, and can't be counted any more."""


def disk_paths(context: Context) -> list[Path]:
    """Return where we write and where we delete; a folder that is not there yet counts as its nearest parent."""
    return [nearest_existing(path) for path in (context.settings.home, *context.roots.values())]


def measured_disks(context: Context) -> dict[str, Any]:
    """Return the result of `check_disks` for every configured disk."""
    return check_disks(disk_paths(context), context.settings.health.disk)


def disk_history(context: Context) -> DiskHistory:
    """Return the kept samples of all disks."""
    store = SampleStore(database=context.database, clock=context.clock)
    return DiskHistory(store=store, reports=context.settings.paths.daily_reports, zone=context.zone)


def broker_facts(context: Context) -> dict[str, Any]:
    """Return what the broker says of itself and its queues; see `check_broker`."""
    measured = context.queue_meter() if context.queue_meter is not None else None
    return check_broker(context.broker_url, QUEUES, context.clock, measured=measured)


def broken_limits(context: Context, minimum_s: Mapping[str, float] | None) -> list[dict[str, Any]] | None:
    """Return every limit of runs that is broken now, as plain facts; None where the database can't be asked.

    `minimum_s` (job -> seconds) is what the registry declares; with None only `[schedule.jobs]` says it.
    """
    minimums = _configured_minimums(context) if minimum_s is None else minimum_s
    try:
        return schedule_facts(context.database, context.clock.now(), minimums)
    except GengfuError as error:
        # A database that is away is what the check of the database tells.
        log.warning("schedule_not_judged", error=str(error))
        return None


def missing_reports(context: Context) -> dict[str, Any]:
    """Return `missing`: the daily reports of the last week that were due and stand neither in the store nor in a file.

    Each is {date, late_h}. What was due before its schedule was in force, as on the first day of an installation, and
    what a paused job left out while it is paused, is not missing. Raises the errors of `Database`.
    """
    now = context.clock.now()
    schedule = Schedules(context.database).of(_DAILY)
    if schedule is None or _DAILY in paused_jobs(context.database):
        return {"missing": []}
    due = dict(_due_reports(context, schedule, now))
    rollups = Rollups(database=context.database, zone=context.zone, clock=context.clock)
    stored = rollups.revisions(min(due), max(due)) if due else {}
    folder = context.settings.paths.daily_reports
    missing = [day for day in due if day not in stored and not (folder / report_name(day)).exists()]
    hours = {day: round((now - due[day]) / timedelta(hours=1), 2) for day in missing}
    return {"missing": [{"date": day.isoformat(), "late_h": hours[day]} for day in missing]}


def _due_reports(context: Context, schedule: InForce, now: datetime) -> Iterator[tuple[date, datetime]]:
    """Yield the days whose reports were due in the last week, with the first slot that was to write each."""
    today = local_date(now, context.zone)
    for back in range(_DAYS - 1, -1, -1):
        start, end = local_day_window(today - timedelta(days=back), context.zone)
        first = next_due(schedule.cron, schedule.zone, max(start - timedelta(seconds=1), schedule.since))
        if first < end and first <= now:
            yield today - timedelta(days=back + 1), first


def ended_today(context: Context) -> dict[str, Any]:
    """Return `jobs`: of each job how many of its runs of the last 24 hours succeeded and failed; see `ended_runs`."""
    return {"jobs": ended_runs(context.database, context.clock.now())}


def monitor_silent_s(context: Context) -> float | None:
    """Return how long no monitor has looked (seconds); None where none is expected to, or nobody can tell."""
    now = context.clock.now()
    try:
        sign = Signs(context.database).find(MONITOR)
    except GengfuError as error:
        log.warning("monitor_not_seen", error=str(error))
        return None
    return None if sign is None else round(sign.age_s(now), 1)


def _configured_minimums(context: Context) -> dict[str, float]:
    jobs = context.settings.schedule.jobs
    return {name: override.minimum_s for name, override in jobs.items() if override.minimum_s is not None}
