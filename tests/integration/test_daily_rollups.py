"""Stored days: revisions, late finishers, deleted rows, and the trend that is read from them."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from daily_rows import DAY, put, report, start_of, task
from sqlalchemy import delete, func, update

from app.core.clock import ManualClock
from app.core.database import Database
from app.core.own_tables import daily_rollup
from app.demo import schema


def test_a_late_finisher_raises_the_revision_by_one(application: Database, clock: ManualClock) -> None:
    put(application, [task(1, start_of(), "processing"), task(2, start_of())])
    assert report(application, clock).document["revision"] == 1
    with application.write() as connection:
        connection.execute(update(schema.tasks).where(schema.tasks.c.id == 1).values(status="completed"))
    assert report(application, clock).document["revision"] == 2
    assert report(application, clock).document["revision"] == 2


def test_a_day_whose_rows_were_deleted_keeps_its_stored_figures(application: Database, clock: ManualClock) -> None:
    put(application, [task(n, start_of(), "failed") for n in range(4)] + [task(9, start_of())])
    report(application, clock)
    with application.write() as connection:
        connection.execute(delete(schema.tasks).where(schema.tasks.c.status == "failed"))
    pruned = report(application, clock)
    assert (pruned.rows_removed, pruned.document["data_quality"]["rows_removed_since"]) == (4, 4)
    [yesterday] = report(application, clock, DAY + timedelta(days=1)).document["trend_analysis"]["past_7_days"]
    assert (yesterday["total_tasks"], yesterday["failure_rate"]) == (5, 80.0)


def test_a_day_that_is_not_over_is_reported_but_not_stored(application: Database, clock: ManualClock) -> None:
    today = DAY + timedelta(days=1)
    put(application, [task(1, start_of(today))])
    document = report(application, clock, today).document
    assert (document["revision"], document["day_over"], document["rows_read"]) == (0, False, 1)
    with application.read() as connection:
        assert connection.execute(func.count(daily_rollup.c.day).select()).scalar() == 0


def test_the_first_night_has_a_trend_from_the_rows_and_later_nights_from_the_rollups(
    application: Database, clock: ManualClock
) -> None:
    rows = [
        task(day * 100 + n, start_of() - timedelta(days=day), "completed") for day in range(1, 8) for n in range(10)
    ]
    put(application, [*rows, *(task(n, start_of(), "completed") for n in range(13))])
    first = report(application, clock).document["trend_analysis"]
    assert [day["total_tasks"] for day in first["past_7_days"]] == [10] * 7
    assert [day["date"] for day in first["past_7_days"]] == [f"2026-03-{n:02}" for n in range(2, 9)]
    assert (first["trend_percent"], first["trend_direction"]) == (30.0, "up")
    with application.write() as connection:
        connection.execute(delete(schema.tasks).where(schema.tasks.c.created_at < start_of()))
    assert report(application, clock).document["trend_analysis"] == first


def test_days_before_the_oldest_row_are_left_out_and_an_empty_day_after_it_is_a_zero(
    application: Database, clock: ManualClock
) -> None:
    put(application, [task(1, start_of(DAY - timedelta(days=2))), task(2, start_of())])
    trend = report(application, clock).document["trend_analysis"]
    assert [(day["date"], day["total_tasks"]) for day in trend["past_7_days"]] == [("2026-03-07", 1), ("2026-03-08", 0)]
    assert {verdict["verdict"] for verdict in trend["verdicts"]} == {"insufficient data"}


def test_rollups_of_two_zones_stand_side_by_side(application: Database, clock: ManualClock) -> None:
    put(application, [task(1, datetime(2026, 3, 8, 17, 0, tzinfo=UTC))])
    assert report(application, clock).document["rows_read"] == 1
    assert report(application, clock, zone=ZoneInfo("UTC")).document["rows_read"] == 0
    assert report(application, clock).document["revision"] == 1
