"""`[schedule]`: whether and when jobs run."""

import re
from datetime import UTC, datetime
from typing import Annotated

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field

from app.core.settings_file import Section

_EVERY = re.compile(r"@every (?P<seconds>[1-9]\d{0,6})s")


def interval_seconds(text: str) -> int | None:
    """Return the seconds of an `@every 30s` text, or None where `text` is a cron expression."""
    match = _EVERY.fullmatch(text)
    return int(match["seconds"]) if match else None


def checked_cron(text: str) -> str:
    """Return `text` if it is a five-field cron expression or `@every Ns`. Raises ValueError quoting it."""
    if interval_seconds(text) is not None:
        return text
    try:
        CronSim(text, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        raise ValueError(
            f"{text!r} is no cron expression ({error}); write five fields as in '0 2 * * *', or '@every 30s'"
        ) from error
    if len(text.split()) != len("mhdmw"):
        raise ValueError(f"{text!r} has {len(text.split())} fields; a cron expression has five, as in '0 2 * * *'")
    return text


Cron = Annotated[str, AfterValidator(checked_cron)]


class JobOverride(Section):
    """`[schedule.jobs.NAME]`: what differs from the job's own declaration; None keeps the declared value."""

    enabled: bool | None = None
    cron: Cron | None = None
    queue: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_.\-]{1,100}$")
    priority: int | None = Field(default=None, ge=0, le=9)
    """9 is the most urgent, on every broker."""


class ScheduleSettings(Section):
    """`[schedule]`."""

    enabled: bool = True
    """False: beat sends nothing; jobs still run by hand."""
    jobs: dict[str, JobOverride] = Field(default_factory=dict)
