"""The contestants of `daily_statistics.py`, each in a process of its own; see `measure.in_child`."""

import json
import logging
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import date, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

import measure
import structlog
from sample import cpu_s, spent
from sqlalchemy import Connection, Table, TextClause, delete, insert, select, text
from sqlalchemy.orm import Session, registry

from app.core.clock import SystemClock, local_day_window
from app.core.database import Database, DatabaseSettings
from app.core.own_tables import daily_rollup
from app.core.source_tables import SourceSettings, map_source_tables
from app.core.utc_datetime import to_sqlite_text
from app.reporting.figures import DURATION_BOUNDS_S

T = TypeVar("T")
_REPEATS = 5
_LEAST_S = 0.5
"""A server's processor time is told in hundredths of a second: short runs are repeated for at least this long."""
_DAY = "FROM tasks WHERE created_at >= :start AND created_at < :end"
_WORDS = {
    "sqlite": {
        "hour": "substr(created_at, 12, 2)",
        "wait": "(julianday(started_at) - julianday(created_at)) * 86400",
        "late": "completed_at IS NULL",
        "took": "coalesce(processing_time, (julianday(completed_at) - julianday(started_at)) * 86400)",
        "age": "(julianday(completed_at) - julianday(created_at)) * 86400",
        "ids": "json_group_array(id)",
        "cells": "json_group_array(json_array(status, hour, retry_count, rows, late, absurd, negative))",
    },
    "postgresql": {
        "hour": "date_trunc('hour', created_at)",
        "wait": "date_part('epoch', started_at - created_at)",
        "late": "completed_at IS NULL",
        "took": "coalesce(processing_time, date_part('epoch', completed_at - started_at))",
        "age": "date_part('epoch', completed_at - created_at)",
        "ids": "CAST(json_agg(id) AS text)",
        "cells": "CAST(json_agg(json_build_array(status, hour, retry_count, rows, late, absurd, negative)) AS text)",
    },
}
_QUANTILES = {
    "sqlite": """SELECT max(CASE WHEN rank = n / 2 THEN {0} END), max(CASE WHEN rank = n * 95 / 100 THEN {0} END),
        max(CASE WHEN rank = n * 99 / 100 THEN {0} END) FROM (SELECT {0}, row_number() OVER (ORDER BY {0}) AS rank,
        (SELECT count({0}) FROM day) AS n FROM day WHERE {0} IS NOT NULL)""",
    "postgresql": """SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY {0}) AS a,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY {0}) AS b,
        percentile_cont(0.99) WITHIN GROUP (ORDER BY {0}) AS c FROM day""",
}
_CELLS = """SELECT status, hour, retry_count, count(*) AS rows, count(processing_time), sum(processing_time),
    min(processing_time), max(processing_time), count(wait), sum(wait), min(wait), max(wait), sum(late)
    FROM day GROUP BY status, hour, retry_count"""


def bare_statement(url: str, day: str, zone: str) -> dict[str, Any]:
    """The limit: counts by status, hour and retries, times and waits with their percentiles, in one statement."""
    with closing(_Opened(url)) as opened:
        words, quantiles = _WORDS[opened.database.dialect], _QUANTILES[opened.database.dialect]
        statement = text(f"""WITH day AS MATERIALIZED (SELECT status, {words["hour"]} AS hour, retry_count,
            processing_time, {words["wait"]} AS wait, CASE WHEN {words["late"]} THEN 1 ELSE 0 END AS late {_DAY}),
            cells AS ({_CELLS}), times AS ({quantiles.format("processing_time")}), waits AS ({quantiles.format("wait")})
            SELECT * FROM cells, times, waits""")
        window = opened.window(day, zone)
        with opened.database.read() as connection:
            told, cells = opened.timed(lambda: connection.execute(statement, window).all())
    return {**told, "rows": sum(cell.rows for cell in cells)}


def bare_all_figures(url: str, day: str, zone: str) -> dict[str, Any]:
    """The limit for all that a report says: every figure of ours and the distinct messages, without guards."""
    with closing(_Opened(url)) as opened:
        window, figures = opened.window(day, zone), _all_figures(opened.database.dialect)
        messages = text(f"SELECT error_message, count(*) {_DAY} AND status = 'failed' GROUP BY error_message")
        with opened.database.read() as connection:

            def ask() -> Any:
                return connection.execute(figures, window).one(), connection.execute(messages, window).all()

            told, (row, found) = opened.timed(ask)
    return {**told, "rows": sum(cell[3] for cell in json.loads(row.cells)), "note": f"{len(found):,} messages"}


def _all_figures(dialect: str) -> TextClause:
    words, quantiles = _WORDS[dialect], _QUANTILES[dialect]
    sums = ", ".join(f"count({time}), sum({time}), min({time}), max({time})" for time in ("took", "wait"))
    below = ", ".join(f"count(CASE WHEN took < {bound} THEN 1 END)" for bound in DURATION_BOUNDS_S)
    return text(f"""WITH day AS MATERIALIZED (SELECT id, status, {words["hour"]} AS hour, retry_count,
        {words["took"]} AS took, {words["wait"]} AS wait, CASE WHEN {words["late"]} THEN 1 ELSE 0 END AS late,
        CASE WHEN {words["age"]} BETWEEN 0 AND 31622400 THEN 0 ELSE 1 END AS absurd {_DAY}),
        cells AS (SELECT status, hour, retry_count, count(*) AS rows, sum(late) AS late, sum(absurd) AS absurd,
            count(CASE WHEN took < 0 THEN 1 END) AS negative FROM day GROUP BY status, hour, retry_count),
        sums AS (SELECT {sums}, {below} FROM day),
        times AS ({quantiles.format("took")}), waits AS ({quantiles.format("wait")}),
        slowest AS (SELECT id FROM day WHERE took IS NOT NULL ORDER BY took DESC, id LIMIT 5),
        failed AS (SELECT id FROM day WHERE status = 'failed' ORDER BY id DESC LIMIT 50)
        SELECT (SELECT {words["cells"]} FROM cells) AS cells, (SELECT {words["ids"]} FROM slowest) AS slowest,
            (SELECT {words["ids"]} FROM failed) AS failed, sums.*, times.*, waits.* FROM sums, times, waits""")


def read_day(url: str, day: str, zone: str) -> dict[str, Any]:
    """Ours: the figures of a day."""
    from app.reporting.day_reader import DayReader  # noqa: PLC0415 - each child's memory holds what it needs
    from app.reporting.settings import ReportingSettings  # noqa: PLC0415

    with closing(_Opened(url)) as opened:
        reader = DayReader(
            database=opened.database, source=opened.source, settings=ReportingSettings(), zone=ZoneInfo(zone)
        )
        told, figures = opened.timed(lambda: reader.read(date.fromisoformat(day)))
    messages = figures.details.distinct_messages
    return {**told, "rows": figures.total, "note": f"{messages:,} messages"}


def report(url: str, day: str, zone: str) -> dict[str, Any]:
    """Ours as every night: the days before are stored."""
    from app.reporting.daily_report import build_daily_report  # noqa: PLC0415
    from app.reporting.settings import ReportingSettings  # noqa: PLC0415

    chosen, place = date.fromisoformat(day), ZoneInfo(zone)
    with closing(_Opened(url)) as opened:

        def build() -> Any:
            return build_daily_report(
                opened.database, opened.source, ReportingSettings(), chosen, place, SystemClock(), {}
            )

        build()
        told, built = opened.timed(build)
    return {**told, "rows": built.document["rows_read"]}


def one_query_each(url: str, day: str, zone: str) -> dict[str, Any]:
    """Each figure by a query of its own, as a first version of such a report is written."""
    with closing(_Opened(url)) as opened:
        words, window = _WORDS[opened.database.dialect], opened.window(day, zone)
        figures = [f"count(*) {_DAY}"]
        figures += [f"count(*) {_DAY} AND status = '{status}'" for status in ("pending", "processing", "completed")]
        figures += [f"count(*) {_DAY} AND status = '{status}'" for status in ("failed", "cancelled")]
        figures += [f"{name}({what}) {_DAY}" for what in ("processing_time", words["wait"]) for name in _SUMMARIES]
        figures += [f"{words['hour']}, count(*) {_DAY} GROUP BY 1", f"retry_count, count(*) {_DAY} GROUP BY 1"]
        figures += [f"count(*) {_DAY} AND {words['late']}"]
        places = [int(0.5 * 1e6), int(0.95 * 1e6), int(0.99 * 1e6)]

        def ask(connection: Connection) -> int:
            total = int(connection.execute(text(f"SELECT {figures[0]}"), window).scalar_one())
            for figure in figures[1:]:
                connection.execute(text(f"SELECT {figure}"), window).all()
            for what in ("processing_time", words["wait"]):
                for place in places:
                    ordered = f"SELECT {what} {_DAY} AND {what} IS NOT NULL ORDER BY 1 LIMIT 1 OFFSET :place"
                    connection.execute(text(ordered), {**window, "place": total * place // 10**6}).all()
            return total

        with opened.database.read() as connection:
            told, total = opened.timed(lambda: ask(connection))
    return {**told, "rows": total, "note": f"{len(figures) + 6} queries"}


_SUMMARIES = ("avg", "min", "max")


def rows_of_day(url: str, day: str, zone: str) -> dict[str, Any]:
    """The day's rows pulled into Python and counted there."""
    return _in_python(url, day, zone, days=1)


def rows_of_week(url: str, day: str, zone: str) -> dict[str, Any]:
    """The same for seven days."""
    return _in_python(url, day, zone, days=7)


def _in_python(url: str, day: str, zone: str, *, days: int, orm: bool = False) -> dict[str, Any]:
    last, place = date.fromisoformat(day), ZoneInfo(zone)
    start, end = local_day_window(last - timedelta(days=days - 1), place)[0], local_day_window(last, place)[1]
    with closing(_Opened(url)) as opened:
        tasks = opened.source.tasks.table
        wanted: Any = _mapped(tasks) if orm else tasks
        started = time.perf_counter()
        with opened.database.read() as connection, Session(connection) as session:
            query = select(wanted).where(tasks.c.created_at >= start, tasks.c.created_at < end)
            rows: Sequence[Any] = session.scalars(query).all() if orm else connection.execute(query).all()
        cells: Counter[tuple[Any, ...]] = Counter()
        for row in rows:
            local = row.created_at.astimezone(place)
            cells[local.date(), local.hour, row.status, row.retry_count] += 1
        times = [row.processing_time for row in rows if row.processing_time is not None]
        waits = [(row.started_at - row.created_at).total_seconds() for row in rows if row.started_at is not None]
        found = [statistics.quantiles(values, n=100) for values in (times, waits)]
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "rows": len(rows), "note": f"median {found[0][49]:.3f} s"}


def orm_rows_of_week(url: str, day: str, zone: str) -> dict[str, Any]:
    """The same as objects of the ORM, as the first implementation of this system did it."""
    return _in_python(url, day, zone, days=7, orm=True)


def _mapped(table: Table) -> type:
    task = type("Task", (), {})
    registry().map_imperatively(task, table)
    return task


def trend(url: str, day: str, zone: str) -> dict[str, Any]:
    """Ours: the trend of a day from 120 stored days, reading and judging."""
    from app.reporting.day_reader import DayReader  # noqa: PLC0415
    from app.reporting.judging import days_before  # noqa: PLC0415
    from app.reporting.rollups import SCHEMA_VERSION, Rollups, rollup_of  # noqa: PLC0415
    from app.reporting.settings import ReportingSettings  # noqa: PLC0415
    from app.reporting.trend import PastDay, trend_analysis  # noqa: PLC0415

    chosen, place = date.fromisoformat(day), ZoneInfo(zone)
    with closing(_Opened(url)) as opened:
        reader = DayReader(database=opened.database, source=opened.source, settings=ReportingSettings(), zone=place)
        figures = rollup_of(reader.read(chosen))
        head = {"zone": zone, "schema_version": SCHEMA_VERSION, "revision": 1, "computed_at": SystemClock().now()}
        days = [{**head, "day": chosen - timedelta(days=back), "figures": figures} for back in range(1, 121)]
        with opened.database.write() as connection:
            connection.execute(delete(daily_rollup))
            connection.execute(insert(daily_rollup), days)
        rollups = Rollups(database=opened.database, zone=place, clock=SystemClock())
        reading, known = opened.timed(lambda: rollups.load(*days_before(chosen)))
        past = [PastDay(day=one, figures=known[one]) for one in sorted(known)]
        judging, _ = opened.timed(lambda: trend_analysis(PastDay(day=chosen, figures=figures), past))
        with opened.database.write() as connection:
            connection.execute(delete(daily_rollup))
    parts = [1000 * part["seconds"] for part in (reading, judging)]
    note = f"days; reading {parts[0]:.1f} ms, judging five series {parts[1]:.1f} ms"
    return {"seconds": reading["seconds"] + judging["seconds"], "rows": len(known), "note": note}


class _Opened:
    """The database of a contestant, connected before anything is measured."""

    def __init__(self, url: str) -> None:
        self.database = Database(url, DatabaseSettings(deadline_s=7200, statement_timeout_s=3600))
        self.source = map_source_tables(SourceSettings())
        with self.database.read() as connection:
            connection.execute(select(1))

    def timed(self, work: Callable[[], T]) -> tuple[dict[str, Any], T]:
        """Return the median time of several runs and the processor time of one, and what the work returned.

        The first run, which fetches the pages from the disk, is left out.
        """
        result, seconds, before = work(), [], self._cpu_s()
        while len(seconds) < _REPEATS or sum(seconds) < _LEAST_S:
            started = time.perf_counter()
            result = work()
            seconds.append(time.perf_counter() - started)
        used = spent(before, self._cpu_s())
        middle = sorted(seconds)[len(seconds) // 2]
        return {"seconds": middle, "work_cpu_s": None if used is None else used / len(seconds)}, result

    def _cpu_s(self) -> float | None:
        with self.database.read() as connection:
            return cpu_s(connection)

    def window(self, day: str, zone: str) -> dict[str, Any]:
        start, end = local_day_window(date.fromisoformat(day), ZoneInfo(zone))
        if self.database.dialect == "sqlite":
            return {"start": to_sqlite_text(start), "end": to_sqlite_text(end)}
        return {"start": start, "end": end}

    def close(self) -> None:
        self.database.dispose()


_CONTESTANTS = (
    bare_statement,
    bare_all_figures,
    read_day,
    report,
    one_query_each,
    rows_of_day,
    rows_of_week,
    orm_rows_of_week,
    trend,
)
WORKS: dict[str, Callable[..., dict[str, Any]]] = {work.__name__: work for work in _CONTESTANTS}

if __name__ == "__main__":
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    measure.answer(WORKS[sys.argv[1]](**json.load(sys.stdin)))
