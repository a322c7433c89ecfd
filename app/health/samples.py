"""Figures over time in `gengfu_metric_sample`: each sample for 14 days, then hourly means, for 90 days in all."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean

from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from app.core.clock import Clock
from app.core.database import Database
from app.core.own_tables import metric_sample

RAW_DAYS = 14
HOURLY_DAYS = 90
DEADLINE_S = 10.0
"""Seconds until a database that does not answer is given up: a disk check goes on without it."""
_HOURLY = "1h:"
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True)
class SampleStore:
    """Keeps and reads samples. Every method may raise the errors of `Database`."""

    database: Database
    clock: Clock

    def record(self, values: Mapping[str, float], at: datetime) -> None:
        """Keep a value of each series; a second one for the same second replaces the first. Then prune what is old."""
        instant = whole_second(at)
        rows = [{"series": series, "at": instant, "value": value} for series, value in values.items()]
        with self.database.write(deadline_s=DEADLINE_S) as connection:
            if rows:
                self._upsert(connection, rows)
            self._prune(connection)

    def read(self, series: Iterable[str], since: datetime) -> dict[str, list[tuple[datetime, float]]]:
        """Return the samples of each series from `since` on, oldest first; hourly means stand at the half hour."""
        names = list(series)
        found: dict[str, list[tuple[datetime, float]]] = {name: [] for name in names}
        wanted = (metric_sample.c.series.in_([*names, *map(_hourly, names)]), metric_sample.c.at >= since)
        query = select(metric_sample).where(*wanted)
        with self.database.read(deadline_s=DEADLINE_S) as connection:
            for row in connection.execute(query):
                mean = row.series.startswith(_HOURLY)
                found[row.series.removeprefix(_HOURLY)].append((row.at + _HOUR / 2 if mean else row.at, row.value))
        return {name: sorted(samples) for name, samples in found.items()}

    def _upsert(self, connection: Connection, rows: list[dict[str, object]]) -> None:
        insert = postgresql.insert if self.database.dialect == "postgresql" else sqlite.insert
        statement = insert(metric_sample).values(rows)
        connection.execute(
            statement.on_conflict_do_update(index_elements=["series", "at"], set_={"value": statement.excluded.value})
        )

    def _prune(self, connection: Connection) -> None:
        """Turn whole hours that are old into their means, and remove means that are older still."""
        hour = whole_second(self.clock.now()).replace(minute=0, second=0)
        single = ~metric_sample.c.series.startswith(_HOURLY, autoescape=True)
        old = (metric_sample.c.at < hour - timedelta(days=RAW_DAYS), single)
        hours: defaultdict[tuple[str, datetime], list[float]] = defaultdict(list)
        for row in connection.execute(select(metric_sample).where(*old)):
            hours[_hourly(row.series), row.at.replace(minute=0, second=0)].append(row.value)
        means = [{"series": name, "at": at, "value": fmean(values)} for (name, at), values in hours.items()]
        for first in range(0, len(means), 1000):
            self._upsert(connection, means[first : first + 1000])
        if means:
            connection.execute(delete(metric_sample).where(*old))
        connection.execute(delete(metric_sample).where(metric_sample.c.at < hour - timedelta(days=HOURLY_DAYS)))


def whole_second(at: datetime) -> datetime:
    """Return `at` without its fraction, as samples are kept: SQLite compares times as text."""
    return at.replace(microsecond=0)


def _hourly(series: str) -> str:
    return _HOURLY + series
