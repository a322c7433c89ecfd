"""Which days may not lose rows yet, because nobody has counted them: cleanup asks before it deletes."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Row, select

from app.core.clock import local_date, local_day_window
from app.core.own_tables import daily_rollup
from app.core.source_tables import SourceTables

Window = tuple[datetime, datetime]
_FARTHEST = timedelta(days=2)
"""Days of other zones reach this far into ours at most."""


def unreported_days(
    connection: Connection, source: SourceTables, zone: ZoneInfo, first: date, last: date, *, now: datetime
) -> list[date]:
    """Return the local days from `first` to `last` that are over, have rows and no roll-up, oldest first.

    Hours that a day of another zone has counted are counted: a change of `[general] timezone` holds nothing up. Asks
    an indexed question for each gap between the roll-ups, and a few for each day found.
    """
    end = min(local_day_window(last, zone)[1], local_day_window(local_date(now, zone), zone)[0])
    found: list[date] = []
    for gap in _gaps((local_day_window(first, zone)[0], end), _counted(connection, first, last)):
        found += _days_with_rows(connection, source, zone, gap)
    return sorted(set(found))


def _counted(connection: Connection, first: date, last: date) -> list[Window]:
    days = daily_rollup.c.day.between(first - _FARTHEST, last + _FARTHEST)
    rows = connection.execute(select(daily_rollup.c.day, daily_rollup.c.zone).where(days))
    return sorted(local_day_window(row.day, ZoneInfo(row.zone)) for row in rows)


def _gaps(window: Window, counted: list[Window]) -> Iterator[Window]:
    """Yield the parts of a window that none of the sorted windows covers."""
    at, end = window
    for start, stop in counted:
        if start > at:
            yield at, min(start, end)
        at = max(at, stop)
        if at >= end:
            return
    if at < end:
        yield at, end


def _days_with_rows(connection: Connection, source: SourceTables, zone: ZoneInfo, gap: Window) -> Iterator[date]:
    created = source.tasks.column("created_at")

    def first(start: datetime, stop: datetime) -> Row[Any] | None:
        # Not min(): where the times stand as text it could not be read back.
        rows = select(created.label("at")).where(created >= start, created < stop).order_by(created).limit(1)
        return connection.execute(rows).first() if start < stop else None

    at, end = gap
    while at < end and (row := first(at, end)) is not None:
        day = local_date(at, zone)
        # The row tells how many empty days can be passed over. SQLite compares text: one that is no time, or says
        # another zone, stands elsewhere than it reads, and then the days are looked at one by one.
        if row.at is not None and at <= row.at < end:
            hinted = local_date(row.at, zone)
            day = day if first(at, local_day_window(hinted, zone)[0]) else hinted
        stop = local_day_window(day, zone)[1]
        if first(at, min(stop, end)):
            yield day
        at = stop
