"""Days that were counted before all of their tasks had finished: they are counted again."""

from datetime import date, timedelta

import structlog

from app.reporting.day_reader import DayReader
from app.reporting.rollups import Counted, Rollups, rollup_of

DAYS = 7
"""Days before the reported one that are looked at: failed rows are kept as long, and trends look back as far."""
_SETTLED = ("completed", "cancelled")
_MARGIN = timedelta(minutes=10)
"""Between the snapshot that was counted and the time noted for it; also for clocks that differ."""
_log = structlog.get_logger("gengfu.reporting")


def recount_late(reader: DayReader, rollups: Rollups, day: date) -> tuple[date, ...]:
    """Count those of the seven days before `day` again in which tasks have finished since they were counted.

    Returns the days whose revision rose, oldest first. A day that lost rows since keeps its figures. Raises the
    errors of `Database.read` and `Database.write`.
    """
    counted = rollups.counted(day - timedelta(days=DAYS), day - timedelta(days=1))
    return tuple(one for one, stored in sorted(counted.items()) if _recounted(reader, rollups, one, stored))


def _recounted(reader: DayReader, rollups: Rollups, day: date, stored: Counted) -> bool:
    states = stored.figures["status_breakdown"]
    if stored.figures["total_tasks"] == sum(states[state] for state in _SETTLED):
        return False
    if not reader.has_finished(day, stored.at - _MARGIN):
        return False
    revision = rollups.store(day, rollup_of(reader.read(day))).revision
    if revision == stored.revision:
        return False
    _log.info("day_recounted", day=day.isoformat(), revision=revision)
    return True
