"""`[schedule]`: whether and when jobs run."""

import re
from collections.abc import Collection
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from msgspec import Meta, field

from app.core.clock import SystemClock
from app.core.errors import SettingsError
from app.core.settings_file import Check, Section, nearest
from app.schedule.job_spec import MissedPolicy

_EXAMPLE = "0 2 * * *"
_SHOWN_RUNS = 5

_EVERY = re.compile(r"@every (?P<seconds>[1-9]\d{0,6})s")


def interval_seconds(text: str) -> int | None:
    """Return the seconds of an `@every 30s` text, or None where `text` is a cron expression."""
    match = _EVERY.fullmatch(text)
    return int(match["seconds"]) if match else None


def checked_cron(text: str) -> str:
    """Return `text` if it is a five-field cron expression or `@every Ns`.

    Raises ValueError quoting it, with an example and when that would run next.
    """
    if interval_seconds(text) is not None:
        return text
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(
            f"{text!r} is no cron expression ({error}); write five fields or '@every 30s'; {_example()}"
        ) from error
    if len(text.split()) != len("mhdmw"):
        raise ValueError(f"{text!r} has {len(text.split())} fields; a cron expression has five; {_example()}")
    return text


def checked_zone(name: str) -> str:
    """Return `name` if it is an IANA time zone or empty. Raises ValueError quoting it."""
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no IANA time zone such as Asia/Shanghai") from error
    return name


def _example() -> str:
    # Wall times: which zone is meant is another setting.
    start = SystemClock().now().replace(tzinfo=None)
    runs = (f"{due:%Y-%m-%d %H:%M}" for due in islice(CronSim(_EXAMPLE, start), _SHOWN_RUNS))
    return f"{_EXAMPLE!r}, for example, runs at {', '.join(runs)}"


Cron = Annotated[str, Check(checked_cron)]
ZoneName = Annotated[str, Check(checked_zone)]


class JobOverride(Section):
    """`[schedule.jobs.NAME]`: what differs from the job's own declaration; None keeps the declared value."""

    enabled: bool | None = None
    cron: Cron | None = None
    timezone: ZoneName | None = None
    """IANA name of the zone in which `cron` is meant; the days that a job is about stay those of the general one."""
    queue: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.\-]{1,100}\Z")] | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] | None = None
    """9 is the most urgent, on every broker."""
    missed: MissedPolicy | None = None
    """Slots that passed while no beat was there: `run_once` the newest, `run_each` all, `skip` none."""
    minimum_s: Annotated[float, Meta(ge=0, le=86_400)] | None = None
    """Alert when a run succeeds in less than this (seconds)."""


class ScheduleSettings(Section):
    """`[schedule]`."""

    enabled: bool = True
    """False: beat sends nothing; jobs still run by hand."""
    jobs: dict[str, JobOverride] = field(default_factory=dict)

    def refuse_unknown(self, jobs: Collection[str], queues: Collection[str]) -> None:
        """Raise SettingsError where an override names a job or a queue that is none of these."""
        for name, override in self.jobs.items():
            if name not in jobs:
                raise SettingsError(f"[schedule.jobs.{name}]: there is no job {name!r}{nearest(name, jobs)}")
            if override.queue is not None and override.queue not in queues:
                raise SettingsError(
                    f"[schedule.jobs.{name}] queue: there is no queue {override.queue!r}"
                    f"{nearest(override.queue, queues)}"
                )
