"""The statements of one day's report; the database does the work, whatever the number of rows."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    CTE,
    ColumnElement,
    Float,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
    true,
)

from app.core.source_tables import SourceTables
from app.reporting.sql_dialect import QUANTILES, SqlDialect

RETRY_CAP = 100
"""Tasks with more retries are counted as having this many: the number of groups must not grow with hostile data."""
LONGEST_S = 366 * 86_400.0
"""A processing time above a year is a broken clock, not a slow task; it is counted and left out of the mean."""


@dataclass(frozen=True, kw_only=True)
class DayStatements:
    """The statements of one day's report."""

    source: SourceTables
    sql: SqlDialect
    start: datetime
    end: datetime

    def cells(self) -> Select[Any]:
        """All aggregates in one statement: the day's rows are read once and kept for counting and for percentiles."""
        day = self._day()
        cells = _grouped(day).cte("cells")
        quantiles = self.sql.quantiles(day, QUANTILES).cte("quantiles")
        return select(*cells.c, *quantiles.c).select_from(cells.join(quantiles, true()))

    def slowest(self, limit: int) -> Select[Any]:
        """The tasks that took longest, and the lower id first where two took the same."""
        duration = self.sql.microseconds(self._duration())
        return (
            self._details(duration.label("us"))
            .where(self._in_window(), _usable(self._duration()))
            .order_by(duration.desc(), self._column("id"))
            .limit(limit)
        )

    def failed(self, limit: int) -> Select[Any]:
        """The failed tasks with the highest ids."""
        return (
            self._details(
                self._column("retry_count").label("retries"),
                self.sql.readable(self._column("error_message")).label("message"),
            )
            .where(self._in_window(), self._is_failed())
            .order_by(self._column("id").desc())
            .limit(limit)
        )

    def messages(self) -> Select[Any]:
        """Each distinct message of a failed task with its number of rows."""
        message = self.sql.readable(self._column("error_message")).label("message")
        failed = select(message).where(self._in_window(), self._is_failed()).subquery("messages")
        return select(failed.c.message, func.count().label("rows")).group_by(failed.c.message)

    def _day(self) -> CTE:
        """The day's rows with what is counted about each; kept by the database, not computed twice."""
        row = self._rows().subquery("day_row")
        wait_us = case((_usable(row.c.wait), self.sql.microseconds(row.c.wait)))
        finished = row.c.state.in_(("completed", "failed"))
        # NaN, infinity, a year, text: neither negative nor usable.
        absurd_duration = and_(row.c.duration.is_not(None), ~(row.c.duration < 0), ~_usable(row.c.duration))
        absurd_finish = and_(row.c.has_finish == 1, or_(row.c.age.is_(None), ~_usable(row.c.age)))
        return (
            select(
                row.c.state,
                row.c.quarter,
                row.c.retries,
                case((_usable(row.c.duration), self.sql.microseconds(row.c.duration))).label("us"),
                wait_us.label("wait_us"),
                _flag(and_(finished, row.c.has_finish == 0)).label("no_finish_time"),
                _flag(row.c.duration < 0).label("negative"),
                _flag(or_(absurd_duration, absurd_finish, row.c.quarter.is_(None))).label("absurd"),
            )
            .cte("day")
            .prefix_with("MATERIALIZED")
        )

    def _rows(self) -> Select[Any]:
        created, completed = self._column("created_at"), self._column("completed_at")
        return select(
            self._state().label("state"),
            self.sql.quarter_hour(created, self.start).label("quarter"),
            _capped(self._column("retry_count")).label("retries"),
            self._duration().label("duration"),
            self.sql.elapsed(created, self._column("started_at")).label("wait"),
            self.sql.elapsed(created, completed).label("age"),
            _flag(completed.is_not(None)).label("has_finish"),
        ).where(self._in_window())

    def _details(self, *columns: ColumnElement[Any]) -> Select[Any]:
        return select(
            self._column("id").label("id"),
            self.sql.readable(self._column("task_id")).label("task_id"),
            self.sql.readable(self._column("task_type")).label("task_type"),
            self._state().label("state"),
            self._column("created_at").label("created_at"),
            *columns,
        )

    def _column(self, logical: str) -> ColumnElement[Any]:
        return self.source.tasks.column(logical)

    def _in_window(self) -> ColumnElement[bool]:
        created = self._column("created_at")
        return and_(created >= self.start, created < self.end)

    def _duration(self) -> ColumnElement[Any]:
        measured = self.sql.elapsed(self._column("started_at"), self._column("completed_at"))
        return func.coalesce(self._column("processing_time"), measured, type_=Float)

    def _state(self) -> ColumnElement[str]:
        # As text: an enum column refuses to be compared with a word that is none of its own.
        word = cast(self._column("status"), Text)
        states = ("pending", "processing", "completed", "failed", "cancelled")
        words = self.source.statuses
        return case(*((word.in_(getattr(words, state)), literal(state)) for state in states), else_=literal("unknown"))

    def _is_failed(self) -> ColumnElement[bool]:
        return self._state() == "failed"


def _grouped(day: CTE) -> Select[Any]:
    group = (day.c.state, day.c.quarter, day.c.retries)
    return select(
        *group,
        func.count().label("rows"),
        func.count(day.c.us).label("timed"),
        func.coalesce(func.sum(day.c.us), 0).label("us_sum"),
        func.min(day.c.us).label("us_min"),
        func.max(day.c.us).label("us_max"),
        func.count(day.c.wait_us).label("waited"),
        func.coalesce(func.sum(day.c.wait_us), 0).label("wait_sum"),
        func.max(day.c.wait_us).label("wait_max"),
        func.sum(day.c.no_finish_time).label("no_finish_time"),
        func.sum(day.c.negative).label("negative_durations"),
        func.sum(day.c.absurd).label("absurd_times"),
    ).group_by(*group)


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _usable(value: ColumnElement[Any]) -> ColumnElement[bool]:
    # NaN sorts above every number on PostgreSQL, text does on SQLite: the upper bound keeps both out.
    return and_(value >= 0, value <= literal(LONGEST_S, Float))


def _capped(retries: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(case((retries < 0, 0), (retries > RETRY_CAP, RETRY_CAP), else_=retries), Integer)
