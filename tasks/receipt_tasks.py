"""Jobs around tasks and their receipts."""

from typing import TYPE_CHECKING

from tasks.registry import job

if TYPE_CHECKING:
    from app.context import Context
    from app.execution.runner import Outcome


@job(
    "check-pending-tasks",
    cron="*/10 * * * *",
    queue="high_priority",
    priority=9,
    soft_time_limit=60,
    missed="skip",
    max_age_s=600,
)
def check_pending_tasks(context: "Context") -> "Outcome":
    """Count tasks that wait for longer than they should."""
    from app import jobs

    return jobs.check_pending_tasks(context)


@job(
    "update-all-pending-tracking",
    cron="*/30 * * * *",
    queue="receipt",
    priority=8,
    soft_time_limit=600,
    missed="skip",
    max_age_s=1800,
)
def update_all_pending_tracking(context: "Context") -> "Outcome":
    """Ask the tracking service about every open receipt."""
    from app import jobs

    return jobs.update_all_pending_tracking(context)


@job(
    "check-timeout-tasks",
    cron="*/15 * * * *",
    queue="high_priority",
    priority=6,
    soft_time_limit=120,
    missed="skip",
    max_age_s=900,
)
def check_timeout_tasks(context: "Context") -> "Outcome":
    """Find tasks that are processed for longer than they may be."""
    from app import jobs

    return jobs.check_timeout_tasks(context)
