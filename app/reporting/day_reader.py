"""Reads one local day's figures; only the slowest and the failed tasks of the report travel as rows."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, Select, func, literal, select

from app.core.clock import local_day_window
from app.core.database import Database
from app.core.redaction import redact
from app.core.source_tables import SourceTables
from app.reporting.categories import Categories
from app.reporting.day_statements import DayStatements, cell_of, day_parameters
from app.reporting.figures import (
    DURATION_BOUNDS_S,
    STATES,
    DayDetails,
    DayFigures,
    Spread,
    Sums,
    day_figures,
    seconds,
    slots_of,
)
from app.reporting.settings import ReportingSettings
from app.reporting.sql_dialect import QUANTILES, as_text, dialect_for

_FETCH = 200
"""Rows per round trip: messages may be long, and memory must stay flat."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, kw_only=True)
class DayReader:
    """The application's tasks, asked day by day."""

    database: Database
    source: SourceTables
    settings: ReportingSettings
    zone: ZoneInfo
    _known: dict[timedelta, DayStatements] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The statements, by the length of their slots: the days of a backfill share them."""

    def read(self, day: date) -> DayFigures:
        """Return the figures of a local day, all of one snapshot. Raises the errors of `Database.read`."""
        start, end = local_day_window(day, self.zone)
        slots = slots_of(start, end, self.zone)
        statements, window = self._statements(slots.length), day_parameters(start, end)
        with self.database.read() as connection:
            statements.sql.one_snapshot(connection)
            row = connection.execute(statements.figures, window).one()
            cells = [cell_of(*cell) for cell in _rows(row.cells)]
            failures = any(cell.state == "failed" for cell in cells)
            messages = _stream(connection, statements.messages, window) if failures else iter(())
            details = self._details(connection, statements, row, messages)
        return day_figures(cells, _spread(row), details, slots)

    def _statements(self, slot: timedelta) -> DayStatements:
        if slot not in self._known:
            self._known[slot] = DayStatements(
                source=self.source,
                sql=dialect_for(self.database.dialect),
                slot=slot,
                slowest=self.settings.slowest,
                failed=self.settings.failed_details,
            )
        return self._known[slot]

    def oldest_before(self, end: datetime) -> datetime | None:
        """Return the creation time of the oldest row created before `end` (and after 1970), or None."""
        created = self.source.tasks.column("created_at")
        with self.database.read() as connection:
            # Not min(): where the times stand as text it could not be read back.
            found: datetime | None = connection.execute(
                select(created).where(created >= _EPOCH, created < end).order_by(created).limit(1)
            ).scalar()
        return found

    def has_finished(self, day: date, since: datetime) -> bool:
        """Tell whether a task created on a local day finished at `since` or later."""
        start, end = local_day_window(day, self.zone)
        created, finished = (self.source.tasks.column(name) for name in ("created_at", "completed_at"))
        wanted = (created >= start, created < end, finished >= since)
        with self.database.read() as connection:
            return connection.execute(select(literal(1)).where(*wanted).limit(1)).first() is not None

    def count(self, start: datetime, end: datetime) -> int:
        """Return the number of rows created from `start` (included) to `end` (excluded)."""
        created = self.source.tasks.column("created_at")
        with self.database.read() as connection:
            return int(connection.execute(select(func.count()).where(created >= start, created < end)).scalar_one())

    def _details(
        self, connection: Connection, statements: DayStatements, figures: Row[Any], messages: Iterator[Row[Any]]
    ) -> DayDetails:
        rules = Categories(self.settings.categories)
        categories, distinct = _categorised(messages, rules)
        slowest, failed = ([number for [number] in _rows(chosen)] for chosen in (figures.slowest, figures.failed))
        tasks = {row.id: row for row in _stream(connection, statements.details, {"ids": [*{*slowest, *failed}]})}
        length = self.settings.message_length
        return DayDetails(
            categories=categories,
            distinct_messages=distinct,
            slowest=tuple(_slow_task(tasks[number], self.zone) for number in slowest),
            failed=tuple(_failed_task(tasks[number], self.zone, rules, length) for number in failed),
        )


def _stream(connection: Connection, statement: Select[Any], parameters: Mapping[str, Any]) -> Iterator[Row[Any]]:
    with connection.execute(statement, parameters, execution_options={"yield_per": _FETCH}) as result:
        yield from result


def _rows(text: str | None) -> list[list[Any]]:
    return json.loads(text) if text else []


def _spread(row: Row[Any]) -> Spread:
    return Spread(
        us=_sums(row, "us"),
        wait=_sums(row, "wait"),
        us_quantiles={name: getattr(row, f"us_{name}") for name in QUANTILES},
        wait_quantiles={name: getattr(row, f"wait_{name}") for name in QUANTILES},
        below=tuple(getattr(row, f"below_{number}") for number in range(len(DURATION_BOUNDS_S))),
    )


def _sums(row: Row[Any], name: str) -> Sums:
    count, total, least, most = (getattr(row, f"{name}_{one.name}") for one in fields(Sums))
    return Sums(count=count, total=int(total), least=least, most=most)


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
