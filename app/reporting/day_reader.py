"""Reads one local day's figures; only the slowest and the failed tasks of the report travel as rows."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, Select, func, select

from app.core.clock import local_day_window
from app.core.database import Database
from app.core.redaction import redact
from app.core.source_tables import SourceTables
from app.reporting.categories import Categories
from app.reporting.day_statements import DayStatements
from app.reporting.figures import (
    DURATION_BOUNDS_S,
    STATES,
    Cell,
    DayDetails,
    DayFigures,
    Spread,
    day_figures,
    seconds,
    slots_of,
)
from app.reporting.settings import ReportingSettings
from app.reporting.sql_dialect import QUANTILES, as_text, dialect_for

_FETCH = 200
"""Rows per round trip: messages may be long, and memory must stay flat."""
_NUMBERS = [name for name in Cell.__dataclass_fields__ if name != "state"]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class DayReader:
    """The application's tasks, asked day by day."""

    database: Database
    source: SourceTables
    settings: ReportingSettings
    zone: ZoneInfo

    def read(self, day: date) -> DayFigures:
        """Return the figures of a local day, all of one snapshot. Raises the errors of `Database.read`."""
        start, end = local_day_window(day, self.zone)
        slots = slots_of(start, end, self.zone)
        sql = dialect_for(self.database.dialect)
        statements = DayStatements(source=self.source, sql=sql, start=start, end=end, slot=slots.length)
        with self.database.read() as connection:
            sql.one_snapshot(connection)
            chosen = statements.figures(self.settings.slowest, self.settings.failed_details)
            row = connection.execute(chosen).one()
            details = self._details(connection, statements, row)
        return day_figures([_cell(cell) for cell in _rows(row.cells)], _spread(row), details, slots)

    def oldest_before(self, end: datetime) -> datetime | None:
        """Return the creation time of the oldest row created before `end` (and after 1970), or None."""
        created = self.source.tasks.column("created_at")
        with self.database.read() as connection:
            # Not min(): where the times stand as text it could not be read back.
            found: datetime | None = connection.execute(
                select(created).where(created >= _EPOCH, created < end).order_by(created).limit(1)
            ).scalar()
        return found

    def count(self, start: datetime, end: datetime) -> int:
        """Return the number of rows created from `start` (included) to `end` (excluded)."""
        created = self.source.tasks.column("created_at")
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).where(created >= start, created < end)).scalar_one())

    def _details(self, connection: Connection, statements: DayStatements, figures: Row[Any]) -> DayDetails:
        rules = Categories(self.settings.categories)
        categories, distinct = _categorised(_stream(connection, statements.messages()), rules)
        slowest, failed = ([number for [number] in _rows(chosen)] for chosen in (figures.slowest, figures.failed))
        tasks = {row.id: row for row in _stream(connection, statements.details([*{*slowest, *failed}]))}
        length = self.settings.message_length
        return DayDetails(
            categories=categories,
            distinct_messages=distinct,
            slowest=tuple(_slow_task(tasks[number], self.zone) for number in slowest),
            failed=tuple(_failed_task(tasks[number], self.zone, rules, length) for number in failed),
        )


def _stream(connection: Connection, statement: Select[Any]) -> Iterator[Row[Any]]:
    with connection.execute(statement, execution_options={"yield_per": _FETCH}) as result:
        yield from result


def _rows(text: str | None) -> list[list[Any]]:
    return json.loads(text) if text else []


def _cell(values: list[Any]) -> Cell:
    state, *numbers = values
    return Cell(state=STATES[state], **dict(zip(_NUMBERS, numbers, strict=True)))


def _spread(row: Row[Any]) -> Spread:
    return Spread(
        us={name: getattr(row, f"us_{name}") for name in QUANTILES},
        wait={name: getattr(row, f"wait_{name}") for name in QUANTILES},
        below=tuple(getattr(row, f"below_{number}") for number in range(len(DURATION_BOUNDS_S))),
    )


def _categorised(messages: Iterator[Row[Any]], rules: Categories) -> tuple[dict[str, int], int]:
    counts: Counter[str] = Counter()
    distinct = 0
    for row in messages:
        counts[rules.of(as_text(row.message))] += row.rows
        distinct += 1
    return dict(sorted(counts.items())), distinct


def _task(row: Row[Any], zone: ZoneInfo) -> dict[str, Any]:
    created = row.created_at
    return {
        "id": row.id,
        "task_id": as_text(row.task_id),
        "task_type": as_text(row.task_type),
        "created_at": None if created is None else created.astimezone(zone).isoformat(timespec="seconds"),
    }


def _slow_task(row: Row[Any], zone: ZoneInfo) -> dict[str, Any]:
    return _task(row, zone) | {"status": STATES[row.state], "processing_time": seconds(int(row.duration_us))}


def _failed_task(row: Row[Any], zone: ZoneInfo, rules: Categories, length: int) -> dict[str, Any]:
    message = as_text(row.message)
    return _task(row, zone) | {
        "category": rules.of(message),
        "message": redact(message or "")[:length],
        "retries": row.retry_count,
    }
