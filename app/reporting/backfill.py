"""`gengfu report backfill`: the roll-ups of days that were never counted, as far as their rows are still there."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from app.core.clock import Clock, local_day_window
from app.core.database import Database
from app.core.errors import BadArgument
from app.core.source_tables import SourceTables
from app.reporting.day_reader import DayReader
from app.reporting.rollups import Rollups, rollup_of
from app.reporting.settings import ReportingSettings

MOST_DAYS = 3660
"""Ten years: what is more was a slip of the pen."""

State = Literal["stored", "revised", "unchanged", "present", "kept", "rows gone", "no rows", "not over"]


@dataclass(frozen=True, kw_only=True)
class DayDone:
    """What became of one day."""

    day: date
    state: State
    """`stored` for the first time; `revised` or `unchanged` after counting again; `present`: stored before and not
    counted again; `kept`: rows were deleted since it was stored, the stored figures stay; `rows gone`: never stored
    and part of its rows is deleted, its figures can't be told any more; `no rows`: before the first row; `not over`.
    """
    rows: int = 0
    revision: int = 0
    """0 where nothing is stored."""
    why: str = ""
    """Why the day could not be computed; empty where it could."""


def backfill(  # noqa: PLR0913 - everything it needs is handed to it
    database: Database,
    source: SourceTables,
    settings: ReportingSettings,
    zone: ZoneInfo,
    clock: Clock,
    first: date,
    last: date,
    *,
    recompute: bool = False,
    complete_since: date | None = None,
) -> Iterator[DayDone]:
    """Store the roll-ups of the local days from `first` to `last` that have none; yield each day when it is done.

    Doing it again changes nothing. With `recompute` the stored days are counted again, too. `complete_since` is the
    first day of which no row can have been deleted, where the caller knows one: counting a day before it would make
    its failure rate look better than it was. Raises BadArgument for a
    range that is none, and the errors of `Database.read` and `Database.write`: what was yielded is stored.
    """
    if first > last:
        raise BadArgument(f"{first} lies after {last}; name the earlier day first")
    if (last - first).days >= MOST_DAYS:
        raise BadArgument(f"{first} to {last} are {(last - first).days + 1} days; {MOST_DAYS} at a time are allowed")
    reader = DayReader(database=database, source=source, settings=settings, zone=zone)
    rollups = Rollups(database=database, zone=zone, clock=clock)
    return _days(reader, rollups, first, last, recompute=recompute, complete_since=complete_since or date.min)


def _days(
    reader: DayReader, rollups: Rollups, first: date, last: date, *, recompute: bool, complete_since: date
) -> Iterator[DayDone]:
    present = rollups.revisions(first, last)
    oldest = reader.oldest_before(local_day_window(last, reader.zone)[1])
    now = rollups.clock.now()
    for number in range((last - first).days + 1):
        day = first + timedelta(days=number)
        end = local_day_window(day, reader.zone)[1]
        if day in present and not recompute:
            yield DayDone(day=day, state="present", revision=present[day])
        elif end > now:
            yield DayDone(day=day, state="not over", why="the day is not over yet")
        elif day not in present and (oldest is None or oldest >= end):
            yield DayDone(day=day, state="no rows", why="there are no rows of this day or any before it")
        elif day not in present and day < complete_since:
            yield DayDone(day=day, state="rows gone", why=f"rows of days before {complete_since} are deleted")
        else:
            yield _computed(reader, rollups, day, present.get(day, 0))


def _computed(reader: DayReader, rollups: Rollups, day: date, revision: int) -> DayDone:
    if not revision and (gone := _rows_gone(reader, rollups, day)):
        return DayDone(day=day, state="rows gone", why=gone)
    figures = reader.read(day)
    stored = rollups.store(day, rollup_of(figures))
    if stored.rows_removed:
        why = f"{stored.rows_removed} of its rows are deleted; the stored figures stay"
        return DayDone(day=day, state="kept", rows=figures.total, revision=stored.revision, why=why)
    state: State = "stored" if not revision else "unchanged" if stored.revision == revision else "revised"
    return DayDone(day=day, state=state, rows=figures.total, revision=stored.revision)


def _rows_gone(reader: DayReader, rollups: Rollups, day: date) -> str:
    """Return how it is known that rows of the day are deleted, empty where nothing speaks for it.

    Days of another zone were counted there: if one of them that shares hours with this day has fewer rows than
    it had, this day may have lost them.
    """
    for zone, other, total in rollups.of_other_zones(day):
        left = reader.count(*local_day_window(other, ZoneInfo(zone)))
        if left < total:
            return f"{total - left} rows of {other} in {zone}, which shares hours with it, are deleted"
    return ""
