"""The statements of one day's report; the database does the work, whatever the number of rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    FromClause,
    Integer,
    Select,
    Text,
    and_,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
)

from app.core.source_tables import SourceTables
from app.reporting.figures import DURATION_BOUNDS_S, STATES, UNKNOWN
from app.reporting.sql_dialect import QUANTILES, SqlDialect

RETRY_CAP = 100
"""Tasks with more retries are counted as having this many: the number of groups must not grow with hostile data."""
LONGEST_S = 366 * 86_400
"""A processing time above a year is a broken clock, not a slow task; it is counted and left out of the mean."""
MESSAGE_CAP = 65_536
"""Characters of an error message that are looked at: a row may hold gigabytes, and memory must stay flat."""
_SECOND = 1_000_000
_LONGEST_US = LONGEST_S * _SECOND
_ABSURD_US = 2 * _LONGEST_US


@dataclass(frozen=True, kw_only=True)
class DayStatements:
    """The statements of one day's report."""

    source: SourceTables
    sql: SqlDialect
    start: datetime
    end: datetime
    slot: timedelta
    """Length of the slots of the day in which rows are counted; each lies within one local hour."""

    def figures(self, slowest: int, failed: int) -> Select[Any]:
        """All figures in one row: the day's rows are read once and kept for counting, sorting and choosing.

        `cells` is a JSON list of what `Cell` holds, each cell a list in the order of its fields. Beside it stand the
        percentiles (`us_median`, `wait_p95`, ...), the numbers of durations below each bound (`below_0`, ...), and as
        JSON lists the ids of the `slowest` tasks (the lower id first where two took the same) and of the `failed`
        tasks with the highest ids.
        """
        day = self._day()
        lists = {"cells": _grouped(day), "slowest": _slowest(day, slowest), "failed": _failed(day, failed)}
        parts = [
            self.sql.quantiles(day, "us", {f"us_{name}": part for name, part in QUANTILES.items()}).cte("us_quantiles"),
            self.sql.quantiles(day, "wait_us", {f"wait_{name}": part for name, part in QUANTILES.items()}).cte(
                "wait_quantiles"
            ),
            _histogram(day).cte("histogram"),
        ]
        columns: list[ColumnElement[Any]] = [self.sql.json_rows(rows).label(name) for name, rows in lists.items()]
        columns += [column for part in parts for column in part.c]
        joined: FromClause = parts[0]
        for part in parts[1:]:
            joined = joined.join(part, true())
        return select(*columns).select_from(joined)

    def details(self, ids: Sequence[Any]) -> Select[Any]:
        """What is told about single tasks, in no order."""
        return self._measured(
            self._column("id").in_(ids),
            self.sql.readable(self._column("task_id")).label("task_id"),
            self.sql.readable(self._column("task_type")).label("task_type"),
            self._column("created_at").label("created_at"),
            self._column("retry_count").label("retry_count"),
            self._message(),
        )

    def messages(self) -> Select[Any]:
        """Each distinct message of a failed task with its number of rows."""
        failed = select(self._message()).where(self._in_window(), self._state() == _code("failed")).subquery("messages")
        return select(failed.c.message, func.count().label("rows")).group_by(failed.c.message)

    def _day(self) -> CTE:
        """The day's rows with what is counted about each; kept by the database, not computed twice."""
        row = self._measured(self._in_window()).offset(0).subquery("measured")
        finished = row.c.state.in_((_code("completed"), _code("failed")))
        absurd_finish = and_(row.c.has_finish == _ONE, or_(row.c.age_us.is_(None), ~_usable(row.c.age_us)))
        absurd = or_(row.c.duration_us > _number(_LONGEST_US), absurd_finish, row.c.slot.is_(None))
        return (
            select(
                row.c.id,
                row.c.state,
                row.c.slot,
                row.c.retries,
                case((_usable(row.c.duration_us), row.c.duration_us)).label("us"),
                case((_usable(row.c.wait_us), row.c.wait_us)).label("wait_us"),
                _flag(and_(finished, row.c.has_finish == _ZERO)).label("no_finish_time"),
                _flag(row.c.duration_us < _ZERO).label("negative"),
                _flag(absurd).label("absurd"),
            )
            .cte("day")
            .prefix_with("MATERIALIZED")
        )

    def _measured(self, condition: ColumnElement[bool], *more: ColumnElement[Any]) -> Select[Any]:
        """The rows under a condition, their times in microseconds."""
        created, started, completed = map(self._column, ("created_at", "started_at", "completed_at"))
        row = (
            select(
                self._column("id").label("id"),
                self._state().label("state"),
                self.sql.instant(created).label("created"),
                self.sql.instant(started).label("started"),
                self.sql.instant(completed).label("completed"),
                _flag(completed.is_not(None)).label("has_finish"),
                self._column("processing_time").label("processing_time"),
                _capped(self._column("retry_count")).label("retries"),
                *more,
            )
            .where(condition)
            .offset(0)  # keeps both databases from computing an expression anew wherever it is used
            .subquery("row_read")
        )
        columns: list[Any] = [
            row.c.id,
            row.c.state,
            self.sql.slot(row.c.created, self.start, self.slot).label("slot"),
            row.c.retries,
            row.c.has_finish,
            self._duration_us(row.c).label("duration_us"),
            self.sql.elapsed_us(row.c.created, row.c.started).label("wait_us"),
            self.sql.elapsed_us(row.c.created, row.c.completed).label("age_us"),
            *(row.c[column.name] for column in more),
        ]
        return select(*columns)

    def _duration_us(self, row: Any) -> ColumnElement[Any]:
        """The processing time, else that from start to finish; NaN, infinity, years and text are absurd."""
        stated = row.processing_time
        return case(
            (stated.is_(None), self.sql.elapsed_us(row.started, row.completed)),
            (stated < _ZERO, _number(-1)),
            # NaN sorts above every number on PostgreSQL, text does on SQLite.
            (stated <= literal_column(f"{LONGEST_S}.0"), self.sql.microseconds(stated)),
            else_=_number(_ABSURD_US),
        )

    def _column(self, logical: str) -> ColumnElement[Any]:
        return self.source.tasks.column(logical)

    def _in_window(self) -> ColumnElement[bool]:
        created = self._column("created_at")
        return and_(created >= self.start, created < self.end)

    def _message(self) -> ColumnElement[Any]:
        # As text: the column may be JSON.
        message = func.substr(cast(self._column("error_message"), Text), 1, MESSAGE_CAP)
        return self.sql.readable(message).label("message")

    def _state(self) -> ColumnElement[int]:
        """The place of a row's state in STATES."""
        codes: dict[str, ColumnElement[int]] = {}
        for state in STATES[:-1]:
            for word in getattr(self.source.statuses, state):
                codes.setdefault(word, _code(state))
        # As text: an enum column refuses to be compared with a word that is none of its own.
        return case(codes, value=cast(self._column("status"), Text), else_=_code(UNKNOWN))


def _grouped(day: CTE) -> Select[Any]:
    """In the order of the fields of `Cell`."""
    group = (day.c.state, day.c.slot, day.c.retries)
    return select(
        *group,
        func.count().label("rows"),
        func.count(day.c.us).label("timed"),
        func.coalesce(func.sum(day.c.us), 0).label("us_sum"),
        func.min(day.c.us).label("us_min"),
        func.max(day.c.us).label("us_max"),
        func.count(day.c.wait_us).label("waited"),
        func.coalesce(func.sum(day.c.wait_us), 0).label("wait_sum"),
        func.min(day.c.wait_us).label("wait_min"),
        func.max(day.c.wait_us).label("wait_max"),
        func.sum(day.c.no_finish_time).label("no_finish_time"),
        func.sum(day.c.negative).label("negative_durations"),
        func.sum(day.c.absurd).label("absurd_times"),
    ).group_by(*group)


def _histogram(day: CTE) -> Select[Any]:
    below: list[Any] = [case((day.c.us < _number(round(bound * _SECOND)), _ONE)) for bound in DURATION_BOUNDS_S]
    counts: list[Any] = [func.count(one).label(f"below_{number}") for number, one in enumerate(below)]
    return select(*counts)


def _slowest(day: CTE, limit: int) -> Select[Any]:
    return select(day.c.id).where(day.c.us.is_not(None)).order_by(day.c.us.desc(), day.c.id).limit(limit)


def _failed(day: CTE, limit: int) -> Select[Any]:
    return select(day.c.id).where(day.c.state == _code("failed")).order_by(day.c.id.desc()).limit(limit)


def _number(value: int) -> ColumnElement[int]:
    # A parameter would be looked up for each row.
    return literal_column(str(value), BigInteger)


def _code(state: str) -> ColumnElement[int]:
    return _number(STATES.index(state))


_ZERO, _ONE = _number(0), _number(1)


def _flag(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, _ONE), else_=_ZERO)


def _usable(us: ColumnElement[Any]) -> ColumnElement[bool]:
    return us.between(_ZERO, _number(_LONGEST_US))


def _capped(retries: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(case((retries < 0, 0), (retries > RETRY_CAP, RETRY_CAP), else_=retries), Integer)
