"""`gengfu report export`: where its lines come from."""

from collections.abc import Iterator
from datetime import date
from typing import Any

from app.context import open_context
from app.core.errors import BadArgument
from app.reporting.export import day_lines, task_lines
from app.reporting.report_files import load_report, parse_day, stored_days
from app.reporting.rollups import Rollups

Span = tuple[date, date]
"""First and last day, both included."""


def span_of(first: str | None, last: str | None) -> Span:
    """Return the days from `first` to `last`, open where None. Raises BadArgument."""
    start, end = parse_day(first) if first else date.min, parse_day(last) if last else date.max
    if start > end:
        raise BadArgument(f"--from {start} lies after --to {end}; exchange them")
    return start, end


def stored_figures(span: Span) -> list[dict[str, Any]]:
    """Return a line for each day of the span whose figures are stored."""
    with open_context() as context:
        context.prepare_own_tables()
        return day_lines(Rollups(database=context.database, zone=context.zone, clock=context.clock).load(*span))


def failed_tasks(span: Span) -> Iterator[dict[str, Any]]:
    """Yield a line for each failed task that the reports of the span describe."""
    with open_context() as context:
        folder = context.settings.paths.daily_reports
    yield from task_lines(load_report(folder, day) for day in stored_days(folder) if span[0] <= day <= span[1])
