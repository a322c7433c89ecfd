"""The daily report: figures of one local day, half-open, in the configured zone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from app.core.clock import Clock, local_day_window
from app.core.database import Database
from app.core.source_tables import SourceTables
from app.reporting.day_reader import DayReader
from app.reporting.facts import Facts
from app.reporting.figures import DayFigures
from app.reporting.late_finishers import recount_late
from app.reporting.report_files import report_name
from app.reporting.rollups import SCHEMA_VERSION, Rollups, Stored, rollup_of
from app.reporting.sections import build_sections
from app.reporting.settings import ReportingSettings
from app.reporting.trend import PastDay, past_days, trend_analysis

_USED_COLUMNS = ("task_id", "task_type", "started_at", "processing_time", "retry_count", "error_message")


@dataclass(frozen=True, kw_only=True)
class DailyReport:
    """A finished report."""

    day: date
    document: dict[str, Any]
    """JSON-able; the same rows give the same document apart from `generated_at` and `query_seconds`."""
    rows_removed: int
    """Not 0 where rows of the day were deleted since it was first counted: the earlier report is the better one."""

    @property
    def path_name(self) -> str:
        """The name of the file it belongs in."""
        return report_name(self.day)


def build_daily_report(
    database: Database,
    source: SourceTables,
    settings: ReportingSettings,
    day: date,
    zone: ZoneInfo,
    clock: Clock,
    system: Mapping[str, Any],
) -> DailyReport:
    """Compute the report of `day`, store its roll-up if the day is over, and compare it with the days before.

    Of the seven days before it, those with late finishers are counted again first.

    `system` becomes `system_statistics`. Rates are percent (0-100), times seconds. Raises the errors of
    `Database.read`; an empty day is no error.
    """
    reader = DayReader(database=database, source=source, settings=settings, zone=zone)
    rollups = Rollups(database=database, zone=zone, clock=clock)
    started = clock.monotonic()
    figures = reader.read(day)
    recount_late(reader, rollups, day)
    past = past_days(reader, rollups, day)
    stored = _stored(rollups, day, figures)
    query_seconds = round(clock.monotonic() - started, 6)
    start, end = local_day_window(day, zone)
    facts = Facts(
        day=day,
        start=start,
        end=end,
        figures=figures,
        trend=trend_analysis(PastDay(day=day, figures=rollup_of(figures)), past),
        system=system,
        unmapped=tuple(name for name in _USED_COLUMNS if not source.tasks.has(name)),
        rows_removed=stored.rows_removed,
    )
    head = _head(facts, zone, stored) | {
        "generated_at": clock.now().astimezone(zone).isoformat(timespec="seconds"),
        "query_seconds": query_seconds,
    }
    return DailyReport(day=day, document=head | build_sections(facts), rows_removed=stored.rows_removed)


def _stored(rollups: Rollups, day: date, figures: DayFigures) -> Stored:
    """A day that is not over yet has no roll-up: it would stand for the whole day."""
    if rollups.clock.now() < local_day_window(day, rollups.zone)[1]:
        return Stored(revision=0, rows_removed=0)
    return rollups.store(day, rollup_of(figures))


def _head(facts: Facts, zone: ZoneInfo, stored: Stored) -> dict[str, Any]:
    return {
        "date": facts.day.isoformat(),
        "timezone": zone.key,
        "window": {
            "start": facts.start.astimezone(zone).isoformat(),
            "end": facts.end.astimezone(zone).isoformat(),
        },
        "schema_version": SCHEMA_VERSION,
        "revision": stored.revision,
        "day_over": stored.revision > 0,
        "rows_read": facts.figures.total,
    }
