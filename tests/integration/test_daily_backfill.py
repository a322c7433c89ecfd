"""Roll-ups of days that were never counted, and the days that cleanup may not touch before they are."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from daily_rows import DAY, SHANGHAI, put, report, start_of, task
from sqlalchemy import delete, insert, text, update

from app.core.clock import ManualClock, local_day_window
from app.core.database import Database
from app.core.errors import BadArgument
from app.core.own_tables import daily_rollup
from app.core.source_tables import SourceSettings, map_source_tables
from app.demo import schema
from app.reporting.backfill import DayDone, backfill
from app.reporting.interlock import unreported_days
from app.reporting.rollups import Rollups
from app.reporting.settings import ReportingSettings

BERLIN = ZoneInfo("Europe/Berlin")
SOURCE = map_source_tables(SourceSettings())
MICROSECOND = timedelta(microseconds=1)
Fill = Callable[..., list[DayDone]]
Ask = Callable[..., list[date]]


def day(back: int) -> date:
    return DAY - timedelta(days=back)


@pytest.fixture
def fill(application: Database, clock: ManualClock) -> Fill:
    def run(first: date, last: date, zone: ZoneInfo = SHANGHAI, **more: Any) -> list[DayDone]:
        return list(backfill(application, SOURCE, ReportingSettings(), zone, clock, first, last, **more))

    return run


@pytest.fixture
def unreported(application: Database, clock: ManualClock) -> Ask:
    def ask(first: date, last: date, zone: ZoneInfo = SHANGHAI) -> list[date]:
        with application.read() as connection:
            return unreported_days(connection, SOURCE, zone, first, last, now=clock.now())

    return ask


def put_days(database: Database, backs: list[int], zone: ZoneInfo = SHANGHAI, rows: int = 3) -> None:
    """Write a few rows into each of the days so far back, a failed one among them."""
    put(
        database,
        [
            task(
                back * 100 + n, start_of(day(back), zone) + timedelta(hours=9 + n), "failed" if n == 1 else "completed"
            )
            for back in backs
            for n in range(rows)
        ],
    )


def forget(database: Database, condition: Any) -> None:
    with database.write() as connection:
        connection.execute(delete(schema.tasks).where(condition))


def test_missing_days_are_stored_one_after_the_other(application: Database, fill: Fill, clock: ManualClock) -> None:
    put_days(application, [4, 2, 0])
    done = fill(day(5), day(-1))
    assert [(one.day, one.state, one.rows, one.revision) for one in done] == [
        (day(5), "no rows", 0, 0),
        (day(4), "stored", 3, 1),
        (day(3), "stored", 0, 1),
        (day(2), "stored", 3, 1),
        (day(1), "stored", 0, 1),
        (day(0), "stored", 3, 1),
        (day(-1), "not over", 0, 0),
    ]
    stored = Rollups(database=application, zone=SHANGHAI, clock=clock).load(day(9), day(-9))
    assert {one: figures["total_tasks"] for one, figures in stored.items()} == {
        day(back): 0 if back in {3, 1} else 3 for back in range(5)
    }


def test_doing_it_again_counts_nothing_again(application: Database, fill: Fill) -> None:
    put_days(application, [1, 0])
    fill(day(1), day(0))
    with application.write() as connection:
        connection.execute(insert(schema.tasks), [task(7, start_of())])
    assert [(one.state, one.revision) for one in fill(day(1), day(0))] == [("present", 1)] * 2
    again = fill(day(1), day(0), recompute=True)
    assert [(one.state, one.revision, one.rows) for one in again] == [("unchanged", 1, 3), ("revised", 2, 4)]


def test_what_a_report_stored_is_not_changed_by_a_backfill(
    application: Database, clock: ManualClock, fill: Fill
) -> None:
    put_days(application, [0])
    assert report(application, clock).document["revision"] == 1
    assert [one.state for one in fill(day(0), day(0), recompute=True)] == ["unchanged"]


def test_a_backfill_that_stops_half_way_has_stored_what_it_told(application: Database, clock: ManualClock) -> None:
    put_days(application, [3, 2, 1])
    days = backfill(application, SOURCE, ReportingSettings(), SHANGHAI, clock, day(3), day(1))
    assert next(days).state == "stored"
    stored = Rollups(database=application, zone=SHANGHAI, clock=clock).revisions(day(9), day(0))
    assert stored == {day(3): 1}


def test_a_stored_day_whose_rows_are_deleted_keeps_its_figures(application: Database, fill: Fill) -> None:
    put_days(application, [0])
    fill(day(0), day(0))
    forget(application, schema.tasks.c.status == "failed")
    [done] = fill(day(0), day(0), recompute=True)
    assert (done.state, done.revision, done.why) == ("kept", 1, "1 of its rows are deleted; the stored figures stay")


def test_a_day_of_which_another_zone_counted_more_rows_than_there_are_is_not_computed(
    application: Database, fill: Fill, clock: ManualClock
) -> None:
    put_days(application, [2, 1])
    fill(day(2), day(1), SHANGHAI)
    forget(application, (schema.tasks.c.status == "failed") & (schema.tasks.c.created_at < start_of(day(1))))
    done = fill(day(2), day(1), BERLIN)
    assert [one.state for one in done] == ["rows gone", "stored"]
    assert done[0].why == f"1 rows of {day(2)} in Asia/Shanghai, which shares hours with it, are deleted"
    assert list(Rollups(database=application, zone=BERLIN, clock=clock).load(day(9), day(0))) == [day(1)]


def test_days_whose_rows_may_be_deleted_are_told_and_not_counted(application: Database, fill: Fill) -> None:
    put_days(application, [4, 3, 2, 1])
    fill(day(4), day(4))
    done = fill(day(4), day(1), complete_since=day(2), recompute=True)
    assert [one.state for one in done] == ["unchanged", "rows gone", "stored", "stored"]
    assert done[1].why == f"rows of days before {day(2)} are deleted"


def test_days_of_23_and_25_hours_and_the_day_that_never_was_are_stored(application: Database, fill: Fill) -> None:
    apia = ZoneInfo("Pacific/Apia")
    start, end = local_day_window(date(2011, 12, 29), apia)[0], local_day_window(date(2011, 12, 31), apia)[1]
    put(application, [task(n, start + timedelta(hours=n)) for n in range(int((end - start) / timedelta(hours=1)))])
    done = fill(date(2011, 12, 29), date(2011, 12, 31), apia)
    assert [(one.state, one.rows) for one in done] == [("stored", 24), ("stored", 0), ("stored", 24)]
    long = start_of(date(2025, 10, 26), BERLIN)
    put(application, [task(n, long + timedelta(hours=n)) for n in range(30)])
    assert [one.rows for one in fill(date(2025, 10, 26), date(2025, 10, 27), BERLIN)] == [25, 5]


@pytest.mark.parametrize(("first", "last", "words"), [(0, 1, "lies after"), (3660, 0, "3661 days; 3660 at a time")])
def test_a_range_that_is_none_is_refused(fill: Fill, first: int, last: int, words: str) -> None:
    with pytest.raises(BadArgument, match=words):
        fill(day(first), day(last))


def test_finished_days_with_rows_and_without_rollup_are_unreported(application: Database, unreported: Ask) -> None:
    put_days(application, [9, 5, 2, 0, -1])
    assert unreported(day(20), day(-5)) == [day(9), day(5), day(2), day(0)]
    assert unreported(day(5), day(2)) == [day(5), day(2)]


def test_a_stored_day_is_reported_and_its_neighbours_are_not(
    application: Database, fill: Fill, unreported: Ask
) -> None:
    put_days(application, [4, 3, 2])
    fill(day(3), day(3))
    assert unreported(day(9), day(0)) == [day(4), day(2)]
    fill(day(9), day(0))
    assert unreported(day(9), day(0)) == []


def test_today_is_never_unreported(application: Database, clock: ManualClock, unreported: Ask) -> None:
    midnight = start_of(day(-1))
    put(application, [task(1, midnight), task(2, midnight - MICROSECOND)])
    assert unreported(day(3), day(-1)) == [day(0)]
    clock.advance(midnight + timedelta(days=1) - MICROSECOND - clock.now())
    assert unreported(day(3), day(-1)) == [day(0)]
    clock.advance(MICROSECOND)
    assert unreported(day(3), day(-1)) == [day(0), day(-1)]


@pytest.mark.parametrize(("before", "back"), [(MICROSECOND, 3), (timedelta(0), 2)])
def test_a_row_belongs_to_its_day_by_one_microsecond(
    application: Database, unreported: Ask, before: timedelta, back: int
) -> None:
    put(application, [task(1, start_of(day(2)) - before)])
    assert unreported(day(9), day(0)) == [day(back)]


def test_hours_counted_in_another_zone_hold_nothing_up_after_a_change_of_zone(
    application: Database, fill: Fill, unreported: Ask
) -> None:
    put_days(application, [6, 5, 4, 3, 2, 1], rows=15)
    fill(day(6), day(2), SHANGHAI)
    assert unreported(day(9), day(0), SHANGHAI) == [day(1)]
    # Day 1 in Shanghai begins in Berlin's day 2, 17 o'clock.
    assert unreported(day(9), day(0), BERLIN) == [day(1)]
    with application.write() as connection:
        connection.execute(insert(schema.tasks), [task(7, start_of(day(1)))])
    assert unreported(day(9), day(0), BERLIN) == [day(2), day(1)]


def test_an_older_version_of_a_rollup_counts_too(application: Database, fill: Fill, unreported: Ask) -> None:
    put_days(application, [1])
    fill(day(1), day(1))
    with application.write() as connection:
        connection.execute(update(daily_rollup).values(schema_version=0))
    assert unreported(day(9), day(0)) == []


def test_odd_spellings_of_a_time_hide_no_day(sqlite_only: Database, clock: ManualClock) -> None:
    put_days(sqlite_only, [3, 2, 1], zone=ZoneInfo("UTC"))
    odd = {"2026-03-05 nonsense": 1, "2026-03-06 22:00:00-05:00": 2, "2026-03-07 01:00:00+09:00": 3}
    with sqlite_only.write() as connection:
        for written, number in odd.items():
            values = {"at": written, "id": number}
            connection.execute(
                text(
                    "INSERT INTO tasks (id, task_id, task_type, status, created_at, updated_at, retry_count)"
                    " VALUES (:id, :id, 'x', 'failed', :at, :at, 0)"
                ),
                values,
            )
    with sqlite_only.read() as connection:
        found = unreported_days(connection, SOURCE, ZoneInfo("UTC"), day(9), day(0), now=clock.now())
    assert {date(2026, 3, 5), date(2026, 3, 6), date(2026, 3, 7), date(2026, 3, 8)} <= set(found)


@pytest.fixture
def sqlite_only(application: Database) -> Database:
    if application.dialect != "sqlite":
        pytest.skip("only SQLite keeps times as text")
    return application


def test_an_empty_table_has_no_unreported_days(application: Database, unreported: Ask) -> None:
    put(application, [])
    assert unreported(date(1970, 1, 1), day(0)) == []


def test_rows_of_long_ago_are_found_without_a_look_at_every_day(application: Database, unreported: Ask) -> None:
    put(application, [task(1, datetime(1999, 12, 31, 20, tzinfo=UTC)), task(2, start_of(day(1)))])
    assert unreported(date(1970, 1, 1), day(0)) == [date(2000, 1, 1), day(1)]
