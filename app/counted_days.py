"""Rows and statistics: a finished day is counted before its rows go, and its report is written anew when it changes."""

from datetime import date, datetime, timedelta
from pathlib import Path

import structlog

from app.context import Context
from app.core.atomic_json import write_json
from app.core.clock import local_date
from app.core.errors import GengfuError
from app.core.redaction import redact
from app.reporting.backfill import backfill
from app.reporting.daily_report import build_daily_report
from app.reporting.day_reader import DayReader
from app.reporting.interlock import unreported_days
from app.reporting.late_finishers import DAYS, recount_late
from app.reporting.page_values import number, table
from app.reporting.report_files import read_report, report_name
from app.reporting.rollups import Rollups
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

    Then count those of the last seven days again in which tasks have finished since. A day that can't be counted is
    told in the log; `why_uncounted` holds its rows back.
    """
    until = context.clock.monotonic() + _SHARE_OF_TIME * context.settings.retention.max_seconds
    try:
        for day in _uncounted(context, cutoff):
            if context.clock.monotonic() >= until:
                return
            _count(context, day)
        _recount(context)
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


def rewrite_outdated(context: Context, before: date, *, days: int = DAYS) -> list[date]:
    """Write those reports of the `days` days before `before` anew whose figures were counted again since.

    Returns their days. What was measured of machine and queues on that night stays. A report that can't be read or
    written stays as it is, and the log tells why. Raises the errors of `Database.read`.
    """
    rollups = Rollups(database=context.database, zone=context.zone, clock=context.clock)
    counted = rollups.counted(before - timedelta(days=days), before - timedelta(days=1))
    return [day for day, stored in sorted(counted.items()) if _rewritten(context, day, stored.revision)]


def _rewritten(context: Context, day: date, revision: int) -> bool:
    path, settings = context.settings.paths.daily_reports / report_name(day), context.settings.reporting
    if not path.exists():
        return False
    try:
        old = read_report(path)
        if not 0 < (number(old.get("revision")) or 0) < revision:
            return False
        system = table(old, "system_statistics")
        report = build_daily_report(
            context.database, context.source, settings, day, context.zone, context.clock, system
        )
        if report.rows_removed:
            return False
        write_json(path, report.document)
    except GengfuError as error:
        log.warning("report_not_rewritten", day=day.isoformat(), error=redact(str(error)))
        return False
    _draw(path, context)
    return True


def _draw(path: Path, context: Context) -> None:
    try:
        # Importing what draws takes some 50 ms, which commands that draw nothing would pay.
        from app.reporting.page_files import write_page  # noqa: PLC0415

        write_page(path, context.settings.general.language)
    except Exception as error:  # a page must never cost the report; it is told with its stack
        log.exception("page_not_drawn", report=str(path), error=redact(str(error)))


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


def _recount(context: Context) -> None:
    settings, zone, today = context.settings.reporting, context.zone, local_date(context.clock.now(), context.zone)
    reader = DayReader(database=context.database, source=context.source, settings=settings, zone=zone)
    recount_late(reader, Rollups(database=context.database, zone=zone, clock=context.clock), today)
    rewrite_outdated(context, today)
