"""Every figure of the daily report, on each database, against a plain reference in Python."""

from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from daily_reference import expected, generated_rows, in_day, told
from daily_rows import DAY, SHANGHAI, STATUSES, SYSTEM, comparable, put, report, start_of, task
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.core.clock import ManualClock, local_day_window
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.demo import schema

MICROSECOND = timedelta(microseconds=1)


DAYS = [
    (DAY, "Asia/Shanghai"),
    (date(2026, 3, 29), "Europe/Berlin"),
    (date(2026, 10, 25), "Europe/Berlin"),
    (date(2026, 3, 9), "Asia/Kolkata"),
    (date(2026, 4, 5), "Australia/Lord_Howe"),
    (date(2026, 10, 4), "Australia/Lord_Howe"),
    (date(2011, 12, 31), "Pacific/Apia"),
]
"""Days of 23, 24, 25 and 23.5 hours, a zone of a half hour, and the day after one that never was."""


@pytest.mark.parametrize(("day", "name"), DAYS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_figure_agrees_with_a_reference_over_random_rows(
    application: Database, clock: ManualClock, day: date, name: str, data: st.DataObject
) -> None:
    zone = ZoneInfo(name)
    rows = data.draw(generated_rows(zone, day))
    put(application, rows)
    assert told(report(application, clock, day, zone).document) == expected(in_day(rows, day, zone), day, zone)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=generated_rows(SHANGHAI, DAY))
def test_both_databases_write_the_same_document_for_the_same_rows(
    both: tuple[Database, Database], clock: ManualClock, rows: list[dict[str, Any]]
) -> None:
    documents = []
    for database in both:
        put(database, rows)
        documents.append(comparable(report(database, clock).document))
    assert documents[0] == documents[1]


@pytest.fixture
def both(tmp_path: Path, empty_postgres: str) -> Any:
    pair = [Database(url, DatabaseSettings()) for url in (f"sqlite:///{tmp_path / 'both.db'}", empty_postgres)]
    for database in pair:
        upgrade(database)
        with database.write() as connection:
            schema.metadata.create_all(connection)
    yield tuple(pair)
    for database in pair:
        database.dispose()


@pytest.mark.parametrize(("day", "name"), DAYS)
def test_rows_at_the_bounds_of_the_day_belong_to_it_or_not_by_one_microsecond(
    application: Database, clock: ManualClock, day: date, name: str
) -> None:
    zone = ZoneInfo(name)
    start, end = local_day_window(day, zone)
    times = [start - MICROSECOND, start, start + MICROSECOND, end - MICROSECOND, end, end + MICROSECOND]
    put(application, [task(number, at, "failed") for number, at in enumerate(times)])
    document = report(application, clock, day, zone).document
    assert document["task_statistics"]["total_tasks"] == 3
    assert [one["id"] for one in document["error_statistics"]["failed_tasks"]] == [3, 2, 1]
    assert document["performance_statistics"]["hourly_distribution"]["0"] == 2
    assert document["performance_statistics"]["hourly_distribution"]["23"] == 1


@pytest.mark.parametrize(
    ("day", "hours", "expected_hours"),
    [(date(2026, 3, 29), 23, {"1": 1, "2": 0, "3": 1}), (date(2026, 10, 25), 25, {"1": 1, "2": 2, "3": 1})],
)
def test_a_day_on_which_the_clocks_change_has_23_or_25_hours(
    application: Database, clock: ManualClock, day: date, hours: int, expected_hours: dict[str, int]
) -> None:
    berlin = ZoneInfo("Europe/Berlin")
    start = start_of(day, berlin)
    put(application, [task(hour, start + timedelta(hours=hour)) for hour in range(26)])
    performance = report(application, clock, day, berlin).document["performance_statistics"]
    assert performance["hours_in_day"] == hours
    assert sum(performance["hourly_distribution"].values()) == hours
    assert performance["hourly_distribution"].items() >= expected_hours.items()


def test_a_row_one_microsecond_before_the_hour_is_counted_in_the_hour_before(
    application: Database, clock: ManualClock
) -> None:
    nine = start_of() + timedelta(hours=9)
    put(application, [task(1, nine - MICROSECOND), task(2, nine), task(3, nine + MICROSECOND)])
    hours = report(application, clock).document["performance_statistics"]["hourly_distribution"]
    assert (hours["8"], hours["9"]) == (1, 2)


def test_a_day_that_the_zone_left_out_has_no_hours_and_no_rows(application: Database, clock: ManualClock) -> None:
    apia = ZoneInfo("Pacific/Apia")
    before, after = start_of(date(2011, 12, 29), apia), start_of(date(2011, 12, 31), apia)
    put(application, [task(1, after - MICROSECOND), task(2, after), task(3, before)])
    performance = report(application, clock, date(2011, 12, 30), apia).document["performance_statistics"]
    assert (performance["hours_in_day"], performance["throughput_per_hour"], performance["peak_hour"]) == (0, 0.0, None)
    totals = [report(application, clock, date(2011, 12, day), apia).document["rows_read"] for day in (29, 30, 31)]
    assert totals == [2, 0, 1]


def test_an_empty_day_has_zeros_and_no_peak(application: Database, clock: ManualClock) -> None:
    document = report(application, clock).document
    tasks = document["task_statistics"]
    assert (tasks["total_tasks"], tasks["completion_rate"], tasks["failure_rate"]) == (0, 0.0, 0.0)
    assert tasks["average_processing_time"] == 0.0
    assert set(tasks["status_breakdown"].values()) == {0}
    assert document["performance_statistics"]["peak_hour"] is None
    assert set(document["performance_statistics"]["hourly_distribution"].values()) == {0}
    assert document["error_statistics"]["error_categories"] == {}
    assert document["trend_analysis"]["past_7_days"] == []
    assert document["trend_analysis"]["trend_percent"] is None


def test_the_keys_of_the_seed_are_all_there(application: Database, clock: ManualClock) -> None:
    counts = {"completed": 1100, "failed": 45, "pending": 15, "processing": 90}
    at = start_of() + timedelta(hours=14)
    statuses = [status for status, count in counts.items() for _ in range(count)]
    put(application, [task(n, at, status, processing_time=45.2) for n, status in enumerate(statuses)])
    document = report(application, clock).document
    assert document["date"] == "2026-03-09"
    tasks = document["task_statistics"]
    assert tasks["status_breakdown"] == counts | {"cancelled": 0, "unknown": 0}
    assert {
        key: tasks[key] for key in ("total_tasks", "completion_rate", "failure_rate", "average_processing_time")
    } == {
        "total_tasks": 1250,
        "completion_rate": 88.0,
        "failure_rate": 3.6,
        "average_processing_time": 45.2,
    }
    assert document["performance_statistics"].keys() >= {"slowest_tasks", "hourly_distribution", "peak_hour"}
    assert document["performance_statistics"]["peak_hour"] == 14
    assert document["error_statistics"].keys() >= {"error_categories", "retry_statistics"}
    assert document["system_statistics"] == SYSTEM
    assert document["trend_analysis"].keys() >= {"past_7_days", "trend_percent", "trend_direction"}
    # Wilson's interval of 45 in 1250, from an independent calculator.
    assert (tasks["failure_rate_lower"], tasks["failure_rate_upper"]) == (2.7, 4.78)


def test_a_missing_processing_time_is_taken_from_start_and_finish(application: Database, clock: ManualClock) -> None:
    started = start_of() + timedelta(microseconds=900_000)
    put(application, [task(1, start_of(), started_at=started, completed_at=started + timedelta(seconds=4.2))])
    tasks = report(application, clock).document["task_statistics"]
    assert tasks["processing_time"]["mean"] == 4.2
    assert set(tasks["queue_wait"].values()) == {1, 0.9}


def test_a_number_of_retries_beyond_all_reason_is_counted_under_the_cap(
    application: Database, clock: ManualClock
) -> None:
    put(application, [task(n, start_of(), retry_count=count) for n, count in enumerate([0, -7, 100, 101, 2**31 - 1])])
    retries = report(application, clock).document["error_statistics"]["retry_statistics"]
    assert retries["by_count"] == {"0": 2, "100": 3}


def test_recomputing_a_day_gives_the_same_document_and_revision(application: Database, clock: ManualClock) -> None:
    rows = [task(n, start_of() - timedelta(hours=n), STATUSES[n % 4], processing_time=n * 0.7) for n in range(-20, 200)]
    put(application, rows)
    first = report(application, clock)
    clock.advance(timedelta(hours=3))
    second = report(application, clock)
    assert comparable(first.document) == comparable(second.document)
    assert first.document["generated_at"] != second.document["generated_at"]
    assert first.document["revision"] == 1
    assert first.path_name == "daily_report_20260309.json"


@pytest.mark.parametrize(
    ("us", "slots"), [(99_999, {0: 1}), (100_000, {1: 1}), (3_599_999_999, {11: 1}), (3_600_000_000, {12: 1})]
)
def test_a_time_on_a_bound_of_the_histogram_belongs_to_what_begins_there(
    application: Database, clock: ManualClock, us: int, slots: dict[int, int]
) -> None:
    started = start_of()
    put(application, [task(1, started, started_at=started, completed_at=started + timedelta(microseconds=us))])
    found = report(application, clock).document["performance_statistics"]["duration_histogram"]
    assert {place: one["tasks"] for place, one in enumerate(found) if one["tasks"]} == slots
    assert (found[0]["from"], found[-1]["below"]) == (0, None)


@pytest.mark.parametrize(
    ("before", "after"),
    [("23:59:59.999999", "00:00:00.000001"), ("23:59:59", "00:00:00"), ("17:00:00.5", "17:00:00.7511")],
)
def test_times_written_with_any_number_of_digits_are_exact(
    tmp_path: Path, clock: ManualClock, before: str, after: str
) -> None:
    sqlite = Database(f"sqlite:///{tmp_path / 'x.db'}", DatabaseSettings())
    upgrade(sqlite)
    with sqlite.write() as connection:
        schema.metadata.create_all(connection)
    put(sqlite, [task(1, start_of())])
    next_day = 9 if after < before else 8
    with sqlite.write() as connection:
        times = {"created": "2026-03-08 16:00:00", "b": f"2026-03-08 {before}", "f": f"2026-03-0{next_day} {after}"}
        connection.execute(text("UPDATE tasks SET created_at = :created, started_at = :b, completed_at = :f"), times)
    document = report(sqlite, clock).document
    wanted = datetime.fromisoformat(times["f"]) - datetime.fromisoformat(times["b"])
    [slow] = document["performance_statistics"]["slowest_tasks"]
    assert slow["processing_time"] == round(wanted / timedelta(seconds=1), 3)
    assert document["data_quality"]["absurd_times"] == 0
    sqlite.dispose()
