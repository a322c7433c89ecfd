"""The jobs of the night: statistics, clean-up, disk check, alerts; and the reports of weeks and months."""

from typing import TYPE_CHECKING, Any

from tasks.registry import job

if TYPE_CHECKING:
    from app.context import Context
    from app.execution.runner import Outcome


@job("generate-daily-statistics", cron="0 2 * * *", queue="receipt", priority=3, soft_time_limit=1800)
def generate_daily_statistics(context: "Context", day: str | None = None) -> "Outcome":
    """Write the report of a local day (YYYY-MM-DD; yesterday if none is given)."""
    from app import jobs

    return jobs.generate_daily_statistics(context, day=day)


# After the night's statistics of the period's last day.
@job("generate-weekly-report", cron="0 3 * * 1", queue="receipt", priority=3, soft_time_limit=600, enabled=False)
def generate_weekly_report(context: "Context", week: str | None = None) -> "Outcome":
    """Write the report of a week (2026-W11; the newest that is over if none is given)."""
    from app import jobs

    return jobs.generate_weekly_report(context, week=week)


@job("generate-monthly-report", cron="15 3 1 * *", queue="receipt", priority=3, soft_time_limit=600, enabled=False)
def generate_monthly_report(context: "Context", month: str | None = None) -> "Outcome":
    """Write the report of a month (2026-03; the newest that is over if none is given)."""
    from app import jobs

    return jobs.generate_monthly_report(context, month=month)


@job("cleanup-expired-tasks", cron="0 4 * * *", queue="low_priority", priority=2, soft_time_limit=3600)
def cleanup_expired_tasks(context: "Context", dry_run: bool = False) -> "Outcome":  # noqa: FBT001, FBT002 - message argument
    """Delete expired tasks with their receipts and files, old temporary files and old logs."""
    from app import cleaning

    return cleaning.cleanup_expired_tasks(context, dry_run=dry_run)


@job(
    "disk-space-check", cron="15 * * * *", queue="file", priority=5, soft_time_limit=120, missed="skip", max_age_s=3600
)
def check_disk_space(context: "Context") -> "Outcome":
    """Measure every configured disk."""
    from app import jobs

    return jobs.check_disk_space(context)


@job("send-alert-notification", queue="high_priority", priority=9, soft_time_limit=120)
def send_alert_notification(context: "Context", alerts: Any) -> "Outcome":
    """Tell people about a list of alerts: {type, message, severity} each."""
    from app import jobs

    return jobs.send_alert_notification(context, alerts=alerts)
