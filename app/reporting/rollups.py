"""The stored figures of whole days: what trends read, so that deleting old rows never rewrites history."""

import hashlib
import json
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog
from sqlalchemy import ColumnElement, Connection, Row, and_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from app.core.clock import Clock, local_day_window
from app.core.database import Database
from app.core.own_tables import daily_rollup
from app.reporting.figures import DayFigures
from app.reporting.rates import percent

SCHEMA_VERSION = 1
"""Version of the figures below and of the report; stored days of another version are computed anew."""
_log = structlog.get_logger("gengfu.reporting")


@dataclass(frozen=True, kw_only=True)
class Stored:
    """What became of a day's figures."""

    revision: int
    """1 for the first figures of a day, one more each time they changed."""
    rows_removed: int
    """Rows that the stored figures count and the table no longer has; such a day keeps its stored figures."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A stored day."""

    figures: dict[str, Any]
    revision: int
    at: datetime
    """When it was counted last."""


@dataclass(frozen=True, kw_only=True)
class Rollups:
    """The roll-ups of one time zone."""

    database: Database
    zone: ZoneInfo
    clock: Clock

    def load(self, first: date, last: date) -> dict[date, dict[str, Any]]:
        """Return the stored figures of the days from `first` to `last`, both included, as far as there are any."""
        days = and_(daily_rollup.c.day.between(first, last), daily_rollup.c.zone == self.zone.key)
        version = daily_rollup.c.schema_version == SCHEMA_VERSION
        with self.database.read() as connection:
            rows = connection.execute(select(daily_rollup.c.day, daily_rollup.c.figures).where(days, version))
            return {row.day: row.figures for row in rows}

    def counted(self, first: date, last: date) -> dict[date, Counted]:
        """Return the stored days from `first` to `last`, both included."""
        days = and_(daily_rollup.c.day.between(first, last), daily_rollup.c.zone == self.zone.key)
        version = daily_rollup.c.schema_version == SCHEMA_VERSION
        with self.database.read() as connection:
            rows = connection.execute(select(daily_rollup).where(days, version))
            return {row.day: Counted(figures=row.figures, revision=row.revision, at=row.computed_at) for row in rows}

    def revisions(self, first: date, last: date) -> dict[date, int]:
        """Return the revisions of the stored days from `first` to `last`, both included."""
        days = and_(daily_rollup.c.day.between(first, last), daily_rollup.c.zone == self.zone.key)
        version = daily_rollup.c.schema_version == SCHEMA_VERSION
        with self.database.read() as connection:
            rows = connection.execute(select(daily_rollup.c.day, daily_rollup.c.revision).where(days, version))
            return {row.day: row.revision for row in rows}

    def of_other_zones(self, day: date) -> list[tuple[str, date, int]]:
        """Return zone, day and number of tasks of other zones' stored days that share hours with `day`."""
        near = daily_rollup.c.day.between(day - timedelta(days=2), day + timedelta(days=2))
        wanted = select(daily_rollup.c.zone, daily_rollup.c.day, daily_rollup.c.figures)
        with self.database.read() as connection:
            rows = connection.execute(wanted.where(near, daily_rollup.c.zone != self.zone.key)).all()
        start, end = local_day_window(day, self.zone)
        windows = ((row, local_day_window(row.day, ZoneInfo(row.zone))) for row in rows)
        return [
            (row.zone, row.day, int(row.figures["total_tasks"]))
            for row, window in windows
            if window[0] < end and start < window[1]
        ]

    def store(self, day: date, figures: dict[str, Any]) -> Stored:
        """Keep a day's figures, unless rows were deleted since they were stored: then the stored ones are the truth."""
        with self.database.write() as connection:
            if self._insert(connection, day, figures):
                return Stored(revision=1, rows_removed=0)
            present = self._locked(connection, day)
            removed = max(0, int(present.figures["total_tasks"]) - int(figures["total_tasks"]))
            if removed:
                stored = Stored(revision=present.revision, rows_removed=removed)
            elif present.figures == figures and present.schema_version == SCHEMA_VERSION:
                stored = Stored(revision=present.revision, rows_removed=0)
                now = {"computed_at": self.clock.now()}
                connection.execute(update(daily_rollup).where(self._is(day)).values(now))
            else:
                stored = Stored(revision=present.revision + 1, rows_removed=0)
                values = self._values(figures) | {"revision": stored.revision}
                connection.execute(update(daily_rollup).where(self._is(day)).values(values))
        if removed:
            _log.warning("rollup_kept", day=day.isoformat(), rows_removed=removed)
        return stored

    def _insert(self, connection: Connection, day: date, figures: dict[str, Any]) -> bool:
        insert = postgresql.insert if self.database.dialect == "postgresql" else sqlite.insert
        values = self._values(figures) | {"day": day, "zone": self.zone.key, "revision": 1}
        return connection.execute(insert(daily_rollup).values(values).on_conflict_do_nothing()).rowcount == 1

    def _locked(self, connection: Connection, day: date) -> Row[Any]:
        return connection.execute(select(daily_rollup).where(self._is(day)).with_for_update()).one()

    def _values(self, figures: dict[str, Any]) -> dict[str, Any]:
        return {"schema_version": SCHEMA_VERSION, "computed_at": self.clock.now(), "figures": figures}

    def _is(self, day: date) -> ColumnElement[bool]:
        return and_(daily_rollup.c.day == day, daily_rollup.c.zone == self.zone.key)


def rollup_of(figures: DayFigures) -> dict[str, Any]:
    """Return what is stored of a day, JSON-able; `fingerprint` covers every figure and detail of its report."""
    return {
        "total_tasks": figures.total,
        "status_breakdown": dict(figures.by_state),
        "completion_rate": percent(figures.completed, figures.total),
        "failure_rate": percent(figures.failures, figures.total),
        "average_processing_time": figures.timing.mean,
        "processing_time": asdict(figures.timing),
        "queue_wait": asdict(figures.waiting),
        "duration_histogram": list(figures.histogram),
        "hourly_distribution": list(figures.by_hour),
        "error_categories": dict(figures.details.categories),
        "retries_by_count": dict(figures.by_retries),
        "fingerprint": _fingerprint(figures),
    }


def _fingerprint(figures: DayFigures) -> str:
    text = json.dumps(asdict(figures), sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()
