"""The statements of one day's report; the database does the work, whatever the number of rows."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Subquery,
    Text,
    and_,
    bindparam,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
)

from app.core.source_tables import SourceTables
from app.reporting.figures import ABSURD, DURATION_BOUNDS_S, NEGATIVE, NO_FINISH_TIME, STATES, UNKNOWN, Cell
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
_SLOT_ZERO = 1000
"""Added to slots: a creation time in another spelling sorts into the window and lies up to a day before it."""
_ODDS = NO_FINISH_TIME + NEGATIVE + ABSURD + 1
_RETRIES = RETRY_CAP + 2
_NO_FINISH, _USABLE_FINISH, _ODD_FINISH = 0, 1, 2


@dataclass(frozen=True, kw_only=True)
class DayStatements:
    """The statements of any day's report; building one takes as long as the database takes for thousands of rows.

    The day is named where they are executed: `day_parameters`.
    """

    source: SourceTables
    sql: SqlDialect
    slot: timedelta
    """Length of the slots of the day in which rows are counted; each lies within one local hour."""
    slowest: int
    failed: int
    """How many tasks of each kind are told."""

    @cached_property
    def figures(self) -> Select[Any]:
        """All figures in one row: the day's rows are read once and kept for counting, sorting and choosing.

        `cells` is a JSON list of [number of the cell, rows]; `cell_of` tells what the number means. Beside it stand
        what `Sums` holds of both times (`us_count`, `wait_total`, ...), their percentiles (`us_median`, `wait_p95`,
        ...), the numbers of durations below each bound (`below_0`, ...), and as JSON lists the ids of the `slowest`
        tasks (the lower id first where two took the same) and of the `failed` tasks with the highest ids.
        """
        day = self._day()
        lists = {"cells": _grouped(day), "slowest": _slowest(day, self.slowest), "failed": _failed(day, self.failed)}
        aggregates = [*_sums(self.sql, "us", day.c.us), *_sums(self.sql, "wait", day.c.wait_us), *_histogram(day)]
        spread = self.sql.spread(day, aggregates, {"us": "us", "wait": "wait_us"}, QUANTILES).subquery("spread")
        return select(*(self.sql.json_rows(rows).label(name) for name, rows in lists.items()), *spread.c)

    @cached_property
    def details(self) -> Select[Any]:
        """What is told about the tasks of the parameter `ids`, in no order."""
        row = self._read(
            self._column("id").in_(bindparam("ids", expanding=True)),
            self.sql.readable(self._column("task_id")).label("task_id"),
            self.sql.readable(self._column("task_type")).label("task_type"),
            self._column("created_at").label("created_at"),
            self._column("retry_count").label("retry_count"),
            self._message(),
        )
        told = (row.c[name] for name in ("id", "state", "task_id", "task_type", "created_at", "retry_count", "message"))
        return select(*told, self._duration_us(row.c).label("duration_us"))

    @cached_property
    def messages(self) -> Select[Any]:
        """Each distinct message of a failed task with its number of rows."""
        failed = select(self._message()).where(self._in_window(), self._state() == _code("failed")).subquery("messages")
        return select(failed.c.message, func.count().label("rows")).group_by(failed.c.message)

    def _day(self) -> CTE:
        """The day's rows with what is counted about each; kept by the database, not computed twice."""
        row = self._measured(self._in_window()).offset(0).subquery("measured")
        finished = row.c.state.in_((_code("completed"), _code("failed")))
        odd = {
            NO_FINISH_TIME: and_(finished, row.c.finish == _number(_NO_FINISH)),
            NEGATIVE: row.c.duration_us < _ZERO,
            ABSURD: or_(
                row.c.duration_us > _number(_LONGEST_US), row.c.finish == _number(_ODD_FINISH), row.c.slot.is_(None)
            ),
        }
        usual = and_(row.c.finish == _number(_USABLE_FINISH), _usable(row.c.duration_us), row.c.slot.is_not(None))
        return (
            select(
                row.c.id,
                row.c.state,
                row.c.slot,
                row.c.retries,
                case((_usable(row.c.duration_us), row.c.duration_us)).label("us"),
                case((_usable(row.c.wait_us), row.c.wait_us)).label("wait_us"),
                case((usual, _ZERO), else_=sum((_flag(condition, bit) for bit, condition in odd.items()), _ZERO)).label(
                    "odd"
                ),
            )
            .cte("day")
            .prefix_with("MATERIALIZED")
        )

    def _measured(self, condition: ColumnElement[bool]) -> Select[Any]:
        """The rows under a condition, their times in microseconds."""
        row = self._read(condition)
        return select(
            row.c.id,
            row.c.state,
            self.sql.slot(row.c.created, self.sql.moment("start"), self.slot).label("slot"),
            row.c.retries,
            self._duration_us(row.c).label("duration_us"),
            self.sql.elapsed_us(row.c.created, row.c.started).label("wait_us"),
            self._finish(row.c).label("finish"),
        )

    def _read(self, condition: ColumnElement[bool], *more: ColumnElement[Any]) -> Subquery:
        """The rows under a condition as the application wrote them, their times as instants."""
        created, started, completed = map(self._column, ("created_at", "started_at", "completed_at"))
        rows = select(
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
        return self.sql.read_once(rows.where(condition)).subquery("row_read")

    def _finish(self, row: Any) -> ColumnElement[int]:
        """What there is to say of the finish time: none, a usable one, or an odd one."""
        # All but a few rows are settled by two comparisons, which cost less than a difference.
        soon = and_(row.completed >= row.created, row.completed <= self.sql.moment("year_later"))
        return case(
            (row.has_finish == _ZERO, _number(_NO_FINISH)),
            (soon, _number(_USABLE_FINISH)),
            (_usable(self.sql.elapsed_us(row.created, row.completed)), _number(_USABLE_FINISH)),
            else_=_number(_ODD_FINISH),
        )

    def _duration_us(self, row: Any) -> ColumnElement[Any]:
        """The processing time, else that from start to finish; NaN, infinity, years and text are absurd."""
        stated = row.processing_time
        return case(
            # NaN sorts above every number on PostgreSQL, text does on SQLite.
            (stated.between(_ZERO, literal_column(f"{LONGEST_S}.0")), self.sql.microseconds(stated)),
            (stated.is_(None), self.sql.elapsed_us(row.started, row.completed)),
            (stated < _ZERO, _number(-1)),
            else_=_number(_ABSURD_US),
        )

    def _column(self, logical: str) -> ColumnElement[Any]:
        return self.source.tasks.column(logical)

    def _in_window(self) -> ColumnElement[bool]:
        created = self._column("created_at")
        return and_(created >= bindparam("start", type_=created.type), created < bindparam("end", type_=created.type))

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
        # The state of most rows comes first: each word before it is one more comparison of text.
        codes = dict(sorted(codes.items(), key=lambda code: code[0] not in self.source.statuses.completed))
        # As text: an enum column refuses to be compared with a word that is none of its own.
        return case(codes, value=cast(self._column("status"), Text), else_=_code(UNKNOWN))


def day_parameters(start: datetime, end: datetime) -> dict[str, Any]:
    """Return the parameters that name the day in `figures` and `messages`."""
    year_later = start + timedelta(seconds=LONGEST_S)
    return {"start": start, "end": end, "start_moment": start, "year_later_moment": year_later}


def cell_of(number: int, rows: int) -> Cell:
    """Return the cell of a row of `cells`."""
    number, retries = divmod(number, _RETRIES)
    number, odd = divmod(number, _ODDS)
    slot, state = divmod(number, len(STATES))
    return Cell(
        state=STATES[state],
        slot=None if slot == 0 else slot - _SLOT_ZERO,
        retries=None if retries == 0 else retries - 1,
        odd=odd,
        rows=rows,
    )


def cell_number(
    state: ColumnElement[Any], slot: ColumnElement[Any], retries: ColumnElement[Any], odd: ColumnElement[Any]
) -> ColumnElement[int]:
    """Return the number that `cell_of` reads."""
    slot = func.coalesce(slot + _number(_SLOT_ZERO), _ZERO, type_=BigInteger)
    retries = func.coalesce(retries + _ONE, _ZERO, type_=BigInteger)
    return ((slot * _number(len(STATES)) + state) * _number(_ODDS) + odd) * _number(_RETRIES) + retries


def _grouped(day: CTE) -> Select[Any]:
    """The rows of each cell. SQLite sorts them to group them: by one number in half the time of four."""
    number = cell_number(day.c.state, day.c.slot, day.c.retries, day.c.odd)
    columns: list[Any] = [number.label("cell"), func.count().label("rows")]
    return select(*columns).group_by(number)


def _sums(sql: SqlDialect, name: str, us: ColumnElement[Any]) -> list[ColumnElement[Any]]:
    """The fields of `Sums`."""
    return [
        func.count(us).label(f"{name}_count"),
        sql.total(us).label(f"{name}_total"),
        func.min(us).label(f"{name}_least"),
        func.max(us).label(f"{name}_most"),
    ]


def _histogram(day: CTE) -> list[ColumnElement[Any]]:
    below = [day.c.us < _number(round(bound * _SECOND)) for bound in DURATION_BOUNDS_S]
    return [func.count().filter(condition).label(f"below_{number}") for number, condition in enumerate(below)]


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


def _flag(condition: ColumnElement[bool], value: int = 1) -> ColumnElement[int]:
    return case((condition, _number(value)), else_=_ZERO)


def _usable(us: ColumnElement[Any]) -> ColumnElement[bool]:
    return us.between(_ZERO, _number(_LONGEST_US))


def _capped(retries: ColumnElement[Any]) -> ColumnElement[Any]:
    return cast(case((retries < 0, 0), (retries > RETRY_CAP, RETRY_CAP), else_=retries), Integer)
