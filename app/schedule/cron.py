"""When a job is due: five-field cron expressions in a time zone (DST rules of cronsim), and `@every Ns`."""

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim

from app.schedule.settings import interval_seconds

_OF_EVERY_HOUR = re.compile(r"^(Every \w+ minute) of every hour$")  # goes without saying


def next_due(cron: str, zone: ZoneInfo, after: datetime) -> datetime:
    """Return the first instant (UTC) strictly after `after` at which `cron` is due in `zone`."""
    if seconds := interval_seconds(cron):
        return _multiple(after, seconds) + timedelta(seconds=seconds)
    return next(CronSim(cron, after.astimezone(zone))).astimezone(UTC)


def latest_due(cron: str, zone: ZoneInfo, at: datetime) -> datetime:
    """Return the last instant (UTC) not after `at` at which `cron` was due in `zone`."""
    if seconds := interval_seconds(cron):
        return _multiple(at, seconds)
    # Looking back excludes the start itself; one second later includes it.
    start = at.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    return next(CronSim(cron, start.astimezone(zone), reverse=True)).astimezone(UTC)


def is_due(cron: str, zone: ZoneInfo, at: datetime) -> bool:
    """Tell whether `cron` is due in `zone` at this very instant."""
    return next_due(cron, zone, at - timedelta(seconds=1)) == at


def in_words(cron: str) -> str:
    """Return `cron` as an English sentence."""
    if seconds := interval_seconds(cron):
        return f"every {seconds} s"
    told = CronSim(cron, datetime(2026, 1, 1, tzinfo=UTC)).explain()
    return _OF_EVERY_HOUR.sub(r"\1", told)


def _multiple(instant: datetime, seconds: int) -> datetime:
    whole = int(instant.timestamp())
    return datetime.fromtimestamp(whole - whole % seconds, UTC)
