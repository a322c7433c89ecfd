"""What no program can be much faster than: the same work in the database's own words, and nothing else."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from measure import Figure
from sqlalchemy import Connection, create_engine, event, make_url, text

from app.core.utc_datetime import to_sqlite_text

EXPIRED = """(status = 'completed' AND completed_at < :completed OR status = 'failed' AND completed_at < :failed)
    AND completed_at >= :earliest AND completed_at >= created_at"""
_DELETIONS = (
    f"DELETE FROM delivery_receipts WHERE task_id IN (SELECT id FROM tasks WHERE {EXPIRED})",
    f"DELETE FROM tasks WHERE {EXPIRED}",
)
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


def delete_all(url: str, cutoffs: Mapping[str, datetime]) -> Figure:
    """One plain DELETE per table, children first, in one transaction."""
    with _connected(url) as connection:
        values = bound(cutoffs, connection)
        started = time.perf_counter()
        with connection.begin():
            receipts, tasks = (connection.execute(text(line), values).rowcount for line in _DELETIONS)
        seconds = time.perf_counter() - started
    return Figure(name="limit", rows=tasks, seconds=seconds, note=f"{receipts:,} receipts")


def group_day(url: str, start: datetime, end: datetime) -> Figure:
    """One GROUP BY over the rows of a day."""
    return _read(url, lambda dialect: _GROUPED.format(hour=_HOUR[dialect], rows=_DAY), start, end)


def group_day_with_percentiles(url: str, start: datetime, end: datetime) -> Figure:
    """The same with the percentiles of the processing time; only PostgreSQL has a word for them."""
    return _read(url, lambda _: _WITH_PERCENTILES, start, end)


def bound(values: Mapping[str, datetime], connection: Connection) -> dict[str, Any]:
    """Return instants as the database stores them."""
    if connection.dialect.name == "sqlite":
        return {name: to_sqlite_text(value) for name, value in values.items()}
    return dict(values)


def _read(url: str, statement: Callable[[str], str], start: datetime, end: datetime) -> Figure:
    with _connected(url) as connection:
        chosen = text(statement(connection.dialect.name))
        values = bound({"start": start, "end": end}, connection)
        seconds = []
        for _ in range(_REPEATS + 1):
            started = time.perf_counter()
            cells = connection.execute(chosen, values).all()
            seconds.append(time.perf_counter() - started)
    # The first one fetches the pages from the disk.
    return Figure(name="limit", rows=sum(cell[3] for cell in cells), seconds=sorted(seconds[1:])[_REPEATS // 2])


@contextmanager
def _connected(url: str) -> Iterator[Connection]:
    address = make_url(url)
    if address.get_backend_name() == "postgresql":
        address = address.set(drivername="postgresql+psycopg2")
    engine = create_engine(address)
    if engine.dialect.name == "sqlite":
        event.listen(engine, "connect", _as_durable_as_ours)
    try:
        with engine.connect() as connection:
            yield connection
    finally:
        engine.dispose()


def _as_durable_as_ours(driver: Any, _record: Any) -> None:
    driver.execute("PRAGMA synchronous = FULL")
    driver.execute("PRAGMA foreign_keys = ON")
