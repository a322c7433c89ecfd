"""Jobs that look after the system itself."""

from typing import TYPE_CHECKING

from tasks.registry import job, minimum_durations

if TYPE_CHECKING:
    from app.context import Context
    from app.execution.runner import Outcome


@job(
    "system-health-check",
    cron="*/5 * * * *",
    queue="file",
    priority=7,
    soft_time_limit=60,
    missed="skip",
    max_age_s=300,
)
def system_health_check(context: "Context") -> "Outcome":
    """Look at database, broker, queues, disks, memory and processor."""
    from app import jobs

    return jobs.system_health_check(context, minimum_s=minimum_durations(context.settings))
