"""Jobs that look after the system itself."""

from app import jobs
from app.context import Context
from app.runner import Outcome
from tasks.registry import job


@job(
    "system-health-check",
    cron="*/5 * * * *",
    queue="file",
    priority=7,
    soft_time_limit=60,
    missed="skip",
    max_age_s=300,
)
def system_health_check(context: Context) -> Outcome:
    """Look at database, broker, queues, disks, memory and processor."""
    return jobs.system_health_check(context)
