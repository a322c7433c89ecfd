"""Jobs around files: temporary files, logs, backups."""

from typing import TYPE_CHECKING

from tasks.registry import job

if TYPE_CHECKING:
    from app.context import Context
    from app.execution.runner import Outcome


@job(
    "cleanup-temp-files",
    cron="30 * * * *",
    queue="file",
    priority=4,
    soft_time_limit=900,
    missed="skip",
    max_age_s=3600,
)
def cleanup_temp_files(context: "Context") -> "Outcome":
    """Delete old files in the temporary folders."""
    from app import cleaning

    return cleaning.cleanup_temp_files(context)


@job("backup-database", cron="0 1 * * *", queue="low_priority", priority=2, soft_time_limit=3600)
def backup_database(context: "Context") -> "Outcome":
    """Write a backup of the database and check it."""
    from app import jobs

    return jobs.backup_database(context)


@job("cleanup-logs", cron="30 4 * * *", queue="file", priority=1, soft_time_limit=900)
def cleanup_logs(context: "Context") -> "Outcome":
    """Delete rotated logs that are too old."""
    from app import cleaning

    return cleaning.cleanup_logs(context)
