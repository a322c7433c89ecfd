"""Tasks that finish after their day was counted: the day is counted again, its report is written anew."""

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from daily_rows import DAY, put, report, start_of, task
from sqlalchemy import delete, select, update

from app import jobs
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.database import Database
from app.core.migrate import upgrade
from app.core.own_tables import daily_rollup
from app.counted_days import count_before, rewrite_outdated
from app.demo import schema
from app.reporting.day_reader import DayReader
from app.reporting.figures import DayFigures
from app.settings import load

EARLIER = DAY - timedelta(days=1)
TEN_MINUTES, HOUR = timedelta(minutes=10), timedelta(hours=1)


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    made = make_context(load(), clock)
    upgrade(made.database)
    with made.database.write() as connection:
        schema.metadata.create_all(connection)
    yield made
    made.database.dispose()


def finish(database: Database, number: int, at: datetime, **more: Any) -> None:
    values = {"status": "completed", "completed_at": at, "updated_at": at} | more
    with database.write() as connection:
        connection.execute(update(schema.tasks).where(schema.tasks.c.id == number).values(values))


def stored(database: Database, day: date = EARLIER) -> tuple[int, int]:
    """Return revision and completed tasks of a stored day."""
    with database.read() as connection:
        row = connection.execute(select(daily_rollup).where(daily_rollup.c.day == day)).one()
    return row.revision, row.figures["status_breakdown"]["completed"]


def counted_at(database: Database) -> datetime:
    with database.read() as connection:
        query = select(daily_rollup.c.computed_at).where(daily_rollup.c.day == EARLIER)
        at: datetime = connection.execute(query).scalar_one()
    return at


def test_the_next_report_counts_a_day_with_a_late_finisher_again(application: Database, clock: ManualClock) -> None:
    put(application, [task(1, start_of(EARLIER), "processing"), task(2, start_of(EARLIER), "pending")])
    report(application, clock, EARLIER)
    clock.advance(HOUR)
    finish(application, 1, clock.now())
    [before] = report(application, clock).document["trend_analysis"]["past_7_days"]
    assert (before["total_tasks"], before["completed"]) == (2, 1)
    assert stored(application) == (2, 1)


@pytest.mark.parametrize(("after_margin", "found"), [(timedelta(0), (2, 1)), (timedelta(microseconds=-1), (1, 0))])
def test_a_task_counts_as_late_from_ten_minutes_before_the_day_was_counted(
    application: Database, clock: ManualClock, after_margin: timedelta, found: tuple[int, int]
) -> None:
    put(application, [task(1, start_of(EARLIER), "processing")])
    report(application, clock, EARLIER)
    finish(application, 1, clock.now() - TEN_MINUTES + after_margin)
    report(application, clock)
    assert stored(application) == found


def test_a_retry_that_succeeds_late_takes_its_failure_out_of_the_stored_day(
    application: Database, clock: ManualClock
) -> None:
    put(application, [task(1, start_of(EARLIER), "failed", completed_at=start_of(EARLIER), error_message="超时")])
    report(application, clock, EARLIER)
    clock.advance(timedelta(minutes=1))
    finish(application, 1, clock.now())
    [before] = report(application, clock).document["trend_analysis"]["past_7_days"]
    assert (before["failed"], before["completed"]) == (0, 1)


def test_a_day_eight_days_ago_is_not_counted_again(application: Database, clock: ManualClock) -> None:
    put(application, [task(n, start_of(DAY - timedelta(days=n)), "processing") for n in (7, 8)])
    for back in (8, 7):
        report(application, clock, DAY - timedelta(days=back))
    clock.advance(timedelta(minutes=1))
    for number in (7, 8):
        finish(application, number, clock.now())
    report(application, clock)
    assert stored(application, DAY - timedelta(days=7)) == (2, 1)
    assert stored(application, DAY - timedelta(days=8)) == (1, 0)


def test_a_finish_time_that_moves_no_figure_is_looked_at_once(
    application: Database, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(application, [task(1, start_of(EARLIER), "processing")])
    report(application, clock, EARLIER)
    clock.advance(HOUR)
    finish(application, 1, clock.now(), status="processing")
    clock.advance(HOUR)
    report(application, clock)
    assert stored(application) == (1, 0)
    assert counted_at(application) == clock.now()
    days: list[date] = []
    original = DayReader.read

    def watched(reader: DayReader, day: date) -> DayFigures:
        days.append(day)
        return original(reader, day)

    monkeypatch.setattr(DayReader, "read", watched)
    report(application, clock)
    assert days == [DAY]


def test_a_day_that_lost_rows_keeps_its_figures_whatever_finished_late(
    application: Database, clock: ManualClock
) -> None:
    rows = [task(1, start_of(EARLIER), "processing"), task(2, start_of(EARLIER), "failed")]
    put(application, rows)
    report(application, clock, EARLIER)
    clock.advance(HOUR)
    finish(application, 1, clock.now())
    with application.write() as connection:
        connection.execute(delete(schema.tasks).where(schema.tasks.c.id == 2))
    report(application, clock)
    assert stored(application) == (1, 0)


def test_the_report_of_a_day_counted_again_is_written_anew_with_what_was_measured_that_night(
    context: Context, clock: ManualClock
) -> None:
    put(context.database, [task(1, start_of(EARLIER), "processing"), task(2, start_of())])
    jobs.generate_daily_statistics(context, day=EARLIER.isoformat())
    path = context.settings.paths.daily_reports / f"daily_report_{EARLIER:%Y%m%d}.json"
    first = json.loads(path.read_bytes()) | {"system_statistics": {"queue_statistics": {"why": "那一夜"}}}
    path.write_text(json.dumps(first), encoding="utf-8")
    clock.advance(HOUR)
    finish(context.database, 1, clock.now())
    report(context.database, clock)
    assert rewrite_outdated(context, DAY) == [EARLIER]
    second = json.loads(path.read_bytes())
    assert (second["revision"], second["task_statistics"]["status_breakdown"]["completed"]) == (2, 1)
    assert second["system_statistics"] == first["system_statistics"]
    assert "revision 2" in path.with_suffix(".html").read_text(encoding="utf-8")
    assert rewrite_outdated(context, DAY) == []


def test_the_next_nights_job_writes_the_report_of_the_night_before_anew(context: Context, clock: ManualClock) -> None:
    put(context.database, [task(1, start_of(EARLIER), "processing"), task(2, start_of())])
    jobs.generate_daily_statistics(context, day=EARLIER.isoformat())
    clock.advance(HOUR)
    finish(context.database, 1, clock.now())
    again = jobs.generate_daily_statistics(context, day=DAY.isoformat())
    assert again.result["reports_rewritten"] == [EARLIER.isoformat()]
    third = jobs.generate_daily_statistics(context, day=DAY.isoformat())
    assert third.result["reports_rewritten"] == []


def test_no_report_is_written_where_there_was_none_and_a_damaged_one_is_left(
    context: Context, clock: ManualClock
) -> None:
    put(context.database, [task(1, start_of(EARLIER), "processing")])
    report(context.database, clock, EARLIER)
    clock.advance(HOUR)
    finish(context.database, 1, clock.now())
    report(context.database, clock)
    folder = context.settings.paths.daily_reports
    assert rewrite_outdated(context, DAY) == []
    assert not list(folder.glob("*"))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"daily_report_{EARLIER:%Y%m%d}.json"
    path.write_text("{", encoding="utf-8")
    assert rewrite_outdated(context, DAY) == []
    assert path.read_text(encoding="utf-8") == "{"


def test_the_clean_up_counts_late_finishers_before_rows_go(context: Context, clock: ManualClock) -> None:
    put(context.database, [task(1, start_of(EARLIER), "processing")])
    jobs.generate_daily_statistics(context, day=EARLIER.isoformat())
    clock.advance(HOUR)
    finish(context.database, 1, clock.now())
    count_before(context, clock.now() - timedelta(days=7))
    assert stored(context.database) == (2, 1)
