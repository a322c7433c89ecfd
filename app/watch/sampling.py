"""What the program measures of itself and its surroundings, for jobs and monitor alike."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import structlog

from app.context import Context
from app.core.errors import GengfuError
from app.health.checks.broker import check_broker
from app.health.checks.disk import check_disks
from app.health.disk_history import DiskHistory
from app.health.samples import SampleStore
from app.outcomes import nearest_existing
from app.schedule.limits import schedule_facts
from app.schedule.signs import MONITOR, Signs
from app.service.settings import QUEUES

log = structlog.get_logger("gengfu.jobs")


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
