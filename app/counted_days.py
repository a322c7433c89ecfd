"""Rows and statistics: a finished day is counted before its rows go, for afterwards nobody could tell its figures."""

from datetime import date, datetime, timedelta

import structlog

from app.context import Context
from app.core.clock import local_date
from app.core.errors import GengfuError
from app.reporting.backfill import backfill
from app.reporting.interlock import unreported_days
from app.retention.rule_runs import deleted_up_to
from app.retention.rules import DEFAULT_RULES

log = structlog.get_logger("gengfu.jobs")

_FIRST_DAY = date(1971, 1, 1)
"""A row that says it is older has no creation time that anybody could have counted."""
_SHARE_OF_TIME = 0.25
"""Of the clean-up's time; what is not counted by then holds back its rows, and the next night goes on."""


def complete_since(context: Context) -> date | None:
    """Return the first day of which no row was deleted yet; None where the default rules never deleted any.

    Raises the errors of `Database.read`.
    """
    with context.database.read() as connection:
        cutoff = deleted_up_to(connection, DEFAULT_RULES)
    return None if cutoff is None else local_date(cutoff, context.zone) + timedelta(days=1)


def count_before(context: Context, cutoff: datetime) -> None:
    """Store the figures of the finished days before `cutoff` that nobody has counted, as far as there is time.

    A day that can't be counted is told in the log; `why_uncounted` holds its rows back.
    """
    until = context.clock.monotonic() + _SHARE_OF_TIME * context.settings.retention.max_seconds
    try:
        for day in _uncounted(context, cutoff):
            if context.clock.monotonic() >= until:
                return
            _count(context, day)
    except GengfuError as error:
        log.warning("days_not_counted", error=str(error))


def why_uncounted(context: Context, table: str, cutoff: datetime) -> str | None:
    """Return why rows of `table` finished before `cutoff` may not go yet, or None. Raises as `Database.read`."""
    if table != context.source.tasks.name:
        return None
    days = _uncounted(context, cutoff)
    if not days:
        return None
    return (
        f"{len(days)} finished days with such rows have no stored statistics, the first is {days[0]}; "
        f"`gengfu report backfill --from {days[0]} --to {days[-1]}` counts them"
    )


def _uncounted(context: Context, cutoff: datetime) -> list[date]:
    first, last = complete_since(context) or _FIRST_DAY, local_date(cutoff, context.zone)
    if first > last:
        return []
    with context.database.read() as connection:
        return unreported_days(connection, context.source, context.zone, first, last, now=context.clock.now())


def _count(context: Context, day: date) -> None:
    settings, zone = context.settings.reporting, context.zone
    for done in backfill(context.database, context.source, settings, zone, context.clock, day, day):
        log.info("day_counted", day=day.isoformat(), state=done.state, rows=done.rows)
