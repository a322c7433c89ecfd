"""What no program can be much faster than: the same work in the database's own words, and nothing else."""

import time
from collections.abc import Callable
from datetime import datetime

from measure import Figure
from sample import bound, connected
from sqlalchemy import text

_HOUR = {"postgresql": "date_trunc('hour', created_at)", "sqlite": "substr(created_at, 12, 2)"}
_GROUPED = """
    SELECT status, {hour} AS hour, retry_count, count(*), count(processing_time), sum(processing_time),
        min(processing_time), max(processing_time), sum(CASE WHEN completed_at IS NULL THEN 1 ELSE 0 END)
    FROM {rows} GROUP BY status, {hour}, retry_count"""
_DAY = "tasks WHERE created_at >= :start AND created_at < :end"
_WITH_PERCENTILES = f"""
    WITH day AS MATERIALIZED (
        SELECT created_at, completed_at, status, retry_count, processing_time FROM {_DAY}
    ), quantiles AS (
        SELECT percentile_cont(ARRAY[0.5, 0.95, 0.99]) WITHIN GROUP (ORDER BY processing_time) AS found FROM day
    ), cells AS ({_GROUPED.format(hour=_HOUR["postgresql"], rows="day")}
    ) SELECT * FROM cells, quantiles"""
_REPEATS = 5


def group_day(url: str, start: datetime, end: datetime) -> Figure:
    """One GROUP BY over the rows of a day."""
    return _read(url, lambda dialect: _GROUPED.format(hour=_HOUR[dialect], rows=_DAY), start, end)


def group_day_with_percentiles(url: str, start: datetime, end: datetime) -> Figure:
    """The same with the percentiles of the processing time; only PostgreSQL has a word for them."""
    return _read(url, lambda _: _WITH_PERCENTILES, start, end)


def _read(url: str, statement: Callable[[str], str], start: datetime, end: datetime) -> Figure:
    with connected(url) as connection:
        chosen = text(statement(connection.dialect.name))
        values = bound({"start": start, "end": end}, connection)
        seconds = []
        for _ in range(_REPEATS + 1):
            started = time.perf_counter()
            cells = connection.execute(chosen, values).all()
            seconds.append(time.perf_counter() - started)
    # The first one fetches the pages from the disk.
    return Figure(name="limit", rows=sum(cell[3] for cell in cells), seconds=sorted(seconds[1:])[_REPEATS // 2])
