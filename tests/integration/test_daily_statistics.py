"""Every figure of the daily report, on each database, against a plain reference in Python."""

import json
import math
import statistics
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, func, insert, text, update

from app.core.clock import ManualClock, local_day_window
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.core.own_tables import daily_rollup
from app.core.source_tables import SourceSettings, map_source_tables
from app.demo import schema
from app.reporting.daily_report import DailyReport, build_daily_report
from app.reporting.settings import ReportingSettings

DAY = date(2026, 3, 9)
SHANGHAI = ZoneInfo("Asia/Shanghai")
SYSTEM = {"disk_usage": {"total_gb": 500.0}, "queue_statistics": {}, "resources": {}}
MICROSECOND = timedelta(microseconds=1)
MESSAGES = {
    "二维码识别失败：图片模糊": "二维码识别错误",
    "Cannot decode QR Code in image": "二维码识别错误",
    "物流接口返回空轨迹": "物流查询错误",
    "文档模板缺少字段": "文档生成错误",
    "任务执行超时（300 秒）": "任务超时",
    "数据库连接断开": "数据库错误",
    "未知异常": "其他错误",
    None: "其他错误",
}
STATUSES = ("pending", "processing", "completed", "failed", "cancelled", "怪异")


def report(
    database: Database, clock: ManualClock, day: date = DAY, zone: ZoneInfo = SHANGHAI, **more: Any
) -> DailyReport:
    source = map_source_tables(more.pop("source", SourceSettings()))
    return build_daily_report(database, source, ReportingSettings(**more), day, zone, clock, SYSTEM)


def task(number: int, created: datetime, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "task_id": f"任务-{number}",
        "task_type": "receipt",
        "status": status,
        "created_at": created,
        "started_at": None,
        "completed_at": None,
        "updated_at": created,
        "processing_time": None,
        "retry_count": 0,
        "error_message": None,
    } | more


def put(database: Database, rows: list[dict[str, Any]]) -> None:
    with database.write() as connection:
        connection.execute(delete(schema.tasks))
        connection.execute(delete(daily_rollup))
        if rows:
            connection.execute(insert(schema.tasks), rows)


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    json.dumps(document, allow_nan=False)
    return {key: value for key, value in document.items() if key not in {"generated_at", "query_seconds"}}


def start_of(day: date = DAY, zone: ZoneInfo = SHANGHAI) -> datetime:
    return local_day_window(day, zone)[0]


# The reference: what the report says, worked out row by row.


def duration_of(row: dict[str, Any]) -> float | None:
    if row["processing_time"] is not None:
        return float(row["processing_time"])
    if row["started_at"] is None or row["completed_at"] is None:
        return None
    return (row["completed_at"] - row["started_at"]) / timedelta(seconds=1)


def usable(seconds: float | None) -> bool:
    return seconds is not None and 0 <= seconds <= 366 * 86400


def percentile(ordered: list[int], fraction: float) -> float:
    position = fraction * (len(ordered) - 1)
    low, high = ordered[math.floor(position)], ordered[math.ceil(position)]
    return low + (position - math.floor(position)) * (high - low)


def rate(part: int, whole: int) -> float:
    return round(part / whole * 100, 2) if whole else 0.0


def expected_times(rows: list[dict[str, Any]]) -> dict[str, Any]:
    ordered = sorted(
        int(seconds * 1e6 + 0.5) for row in rows if usable(seconds := duration_of(row)) and seconds is not None
    )
    if not ordered:
        return {"count": 0} | dict.fromkeys(("mean", "median", "p95", "p99", "minimum", "maximum"))
    found = {
        "mean": statistics.fmean(ordered),
        "median": statistics.median(ordered),
        "p95": percentile(ordered, 0.95),
        "p99": percentile(ordered, 0.99),
        "minimum": ordered[0],
        "maximum": ordered[-1],
    }
    return {"count": len(ordered)} | {name: round(value / 1e6, 3) for name, value in found.items()}


def is_absurd(row: dict[str, Any]) -> bool:
    seconds = duration_of(row)
    finish = row["completed_at"]
    return (seconds is not None and seconds > 366 * 86400) or (
        finish is not None and not usable((finish - row["created_at"]) / timedelta(seconds=1))
    )


def expected(rows: list[dict[str, Any]], zone: ZoneInfo) -> dict[str, Any]:
    states = Counter("unknown" if row["status"] == "怪异" else row["status"] for row in rows)
    hours = Counter(row["created_at"].astimezone(zone).hour for row in rows)
    done = states["completed"] + states["failed"]
    slow = sorted(
        (row for row in rows if usable(duration_of(row))),
        key=lambda row: (-int(duration_of(row) * 1e6 + 0.5), row["id"]),
    )
    failed = sorted((row for row in rows if row["status"] == "failed"), key=lambda row: -row["id"])
    return {
        "total": len(rows),
        "states": {name: states[name] for name in (*STATUSES[:5], "unknown")},
        "rates": [rate(states["completed"], len(rows)), rate(states["failed"], len(rows))],
        "finished": [rate(states["completed"], done), rate(states["failed"], done)],
        "times": expected_times(rows),
        "hours": {str(hour): hours[hour] for hour in range(24)},
        "peak": min((hour for hour in hours if hours[hour] == max(hours.values())), default=None),
        "slowest": [row["id"] for row in slow[:5]],
        "categories": dict(Counter(MESSAGES[row["error_message"]] for row in failed)),
        "failed": [row["id"] for row in failed[:50]],
        "retries": {str(number): count for number, count in Counter(row["retry_count"] for row in rows).items()},
        "retried": rate(sum(row["retry_count"] > 0 for row in rows), len(rows)),
        "no_finish": sum(row["status"] in {"completed", "failed"} and row["completed_at"] is None for row in rows),
        "negative": sum((duration_of(row) or 0) < 0 for row in rows),
        "absurd": sum(is_absurd(row) for row in rows),
    }


def told(document: dict[str, Any]) -> dict[str, Any]:
    tasks, performance = document["task_statistics"], document["performance_statistics"]
    errors, quality = document["error_statistics"], document["data_quality"]
    return {
        "total": tasks["total_tasks"],
        "states": tasks["status_breakdown"],
        "rates": [tasks["completion_rate"], tasks["failure_rate"]],
        "finished": [tasks["finished_completion_rate"], tasks["finished_failure_rate"]],
        "times": tasks["processing_time"],
        "hours": performance["hourly_distribution"],
        "peak": performance["peak_hour"],
        "slowest": [one["id"] for one in performance["slowest_tasks"]],
        "categories": errors["error_categories"],
        "failed": [one["id"] for one in errors["failed_tasks"]],
        "retries": errors["retry_statistics"]["by_count"],
        "retried": errors["retry_statistics"]["retried_share"],
        "no_finish": quality["no_finish_time"],
        "negative": quality["negative_durations"],
        "absurd": quality["absurd_times"],
    }


def generated_rows(zone: ZoneInfo, day: date) -> st.SearchStrategy[list[dict[str, Any]]]:
    """Rows of the day and a little around it, among them every kind of missing and impossible time."""
    start, end = local_day_window(day, zone)
    inside = st.integers(-3600 * 10**6, int((end - start).total_seconds() + 3600) * 10**6)
    later = st.none() | st.integers(-5 * 10**6, 4000 * 10**6).map(lambda us: timedelta(microseconds=us))
    row = st.fixed_dictionaries(
        {
            "created_at": inside.map(lambda us: start + timedelta(microseconds=us)),
            "status": st.sampled_from(STATUSES),
            "wait": later,
            "work": later,
            "processing_time": st.none() | st.sampled_from([-1.5, 0.0, 1e9, math.inf]) | st.floats(0, 5000, width=32),
            "retry_count": st.integers(0, 4),
            "error_message": st.sampled_from(list(MESSAGES)),
        }
    )
    return st.lists(row, max_size=60).map(lambda rows: [_as_task(number, one) for number, one in enumerate(rows, 1)])


def _as_task(number: int, drawn: dict[str, Any]) -> dict[str, Any]:
    wait, work = drawn.pop("wait"), drawn.pop("work")
    started = None if wait is None else drawn["created_at"] + wait
    completed = None if work is None else (started or drawn["created_at"]) + work
    return task(
        number, drawn.pop("created_at"), drawn.pop("status"), started_at=started, completed_at=completed, **drawn
    )


def in_day(rows: list[dict[str, Any]], day: date, zone: ZoneInfo) -> list[dict[str, Any]]:
    return [row for row in rows if row["created_at"].astimezone(zone).date() == day]


DAYS = [
    (DAY, "Asia/Shanghai"),
    (date(2026, 3, 29), "Europe/Berlin"),
    (date(2026, 10, 25), "Europe/Berlin"),
    (date(2026, 3, 9), "Asia/Kolkata"),
    (date(2026, 4, 5), "Australia/Lord_Howe"),
    (date(2026, 10, 4), "Australia/Lord_Howe"),
]


@pytest.mark.parametrize(("day", "name"), DAYS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_figure_agrees_with_a_reference_over_random_rows(
    application: Database, clock: ManualClock, day: date, name: str, data: st.DataObject
) -> None:
    zone = ZoneInfo(name)
    rows = data.draw(generated_rows(zone, day))
    put(application, rows)
    assert told(report(application, clock, day, zone).document) == expected(in_day(rows, day, zone), zone)


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


def test_thousands_of_failures_with_one_message_are_one_message_and_fifty_details(
    application: Database, clock: ManualClock
) -> None:
    message = "物流查询失败：" + "很长的说明" * 200
    put(application, [task(n, start_of(), "failed", error_message=message) for n in range(5000)])
    errors = report(application, clock).document["error_statistics"]
    assert errors["error_categories"] == {"物流查询错误": 5000}
    assert errors["distinct_messages"] == 1
    assert [one["id"] for one in errors["failed_tasks"]] == list(range(4999, 4949, -1))
    assert {len(one["message"]) for one in errors["failed_tasks"]} == {500}


def test_a_category_word_beyond_the_cut_of_the_message_still_counts(application: Database, clock: ManualClock) -> None:
    put(application, [task(1, start_of(), "failed", error_message="x" * 5000 + " TimeOut")])
    errors = report(application, clock).document["error_statistics"]
    assert errors["error_categories"] == {"任务超时": 1}
    assert errors["failed_tasks"][0]["category"] == "任务超时"
    assert errors["failed_tasks"][0]["message"] == "x" * 500


def test_a_password_in_a_message_is_not_repeated(application: Database, clock: ManualClock) -> None:
    put(application, [task(1, start_of(), "failed", error_message="数据库 postgresql://app:geheim@db/x 断开")])
    assert "geheim" not in json.dumps(report(application, clock).document, ensure_ascii=False)


@pytest.mark.parametrize(
    "hostile", ["'; DROP TABLE tasks; --", "%s %(x)s :name \\", "<script>\x1b[31m\u202e", "🧾" * 300]
)
def test_hostile_text_is_data(application: Database, clock: ManualClock, hostile: str) -> None:
    put(
        application,
        [task(1, start_of(), "failed", error_message=hostile, task_id=hostile[:64], task_type=hostile[:60])],
    )
    [one] = report(application, clock).document["error_statistics"]["failed_tasks"]
    assert (one["message"], one["task_id"], one["category"]) == (hostile, hostile[:64], "其他错误")


def test_text_that_is_no_utf8_does_not_stop_the_report(tmp_path: Path, clock: ManualClock) -> None:
    sqlite = Database(f"sqlite:///{tmp_path / 'x.db'}", DatabaseSettings())
    upgrade(sqlite)
    with sqlite.write() as connection:
        schema.metadata.create_all(connection)
    put(sqlite, [task(1, start_of(), "failed"), task(2, start_of(), "failed", processing_time=3.0)])
    with sqlite.write() as connection:
        connection.execute(
            text("UPDATE tasks SET error_message = CAST(x'fffe' || '超时' AS TEXT), task_id = 'a' WHERE id = 1")
        )
        connection.execute(text("UPDATE tasks SET processing_time = 'lots', retry_count = 'many' WHERE id = 1"))
    document = report(sqlite, clock).document
    assert document["error_statistics"]["failed_tasks"][1]["message"] == "\ufffd\ufffd超时"
    assert document["data_quality"]["absurd_times"] == 1
    assert document["task_statistics"]["average_processing_time"] == 3.0
    sqlite.dispose()


def test_nan_and_infinite_times_are_counted_and_left_out(empty_postgres: str, clock: ManualClock) -> None:
    postgres = Database(empty_postgres, DatabaseSettings())
    upgrade(postgres)
    with postgres.write() as connection:
        schema.metadata.create_all(connection)
    put(
        postgres,
        [task(n, start_of(), processing_time=value) for n, value in enumerate([math.nan, math.inf, -math.inf, 2.0])],
    )
    with postgres.write() as connection:
        connection.execute(update(schema.tasks).where(schema.tasks.c.id == 3).values(completed_at=text("'infinity'")))
    document = report(postgres, clock).document
    assert document["task_statistics"]["processing_time"]["count"] == 1
    assert document["task_statistics"]["average_processing_time"] == 2.0
    assert (document["data_quality"]["absurd_times"], document["data_quality"]["negative_durations"]) == (3, 1)
    postgres.dispose()


def test_a_missing_processing_time_is_taken_from_start_and_finish(application: Database, clock: ManualClock) -> None:
    started = start_of() + timedelta(microseconds=900_000)
    put(application, [task(1, start_of(), started_at=started, completed_at=started + timedelta(seconds=4.2))])
    tasks = report(application, clock).document["task_statistics"]
    assert tasks["processing_time"]["mean"] == 4.2
    assert tasks["queue_wait"] == {"count": 1, "mean": 0.9, "maximum": 0.9}


def test_a_number_of_retries_beyond_all_reason_is_counted_under_the_cap(
    application: Database, clock: ManualClock
) -> None:
    put(application, [task(n, start_of(), retry_count=count) for n, count in enumerate([0, -7, 100, 101, 2**31 - 1])])
    retries = report(application, clock).document["error_statistics"]["retry_statistics"]
    assert retries["by_count"] == {"0": 2, "100": 3}


def test_columns_the_application_lacks_are_told_and_cost_only_their_figures(
    application: Database, clock: ManualClock
) -> None:
    names = ["task_id", "task_type", "started_at", "processing_time", "retry_count", "error_message"]
    put(application, [task(1, start_of(), "failed", processing_time=9.0, retry_count=2, error_message="超时")])
    source = SourceSettings(tasks={"columns": dict.fromkeys(names, "")})
    document = report(application, clock, source=source).document
    assert document["data_quality"]["unmapped_columns"] == names
    assert document["task_statistics"]["failure_rate"] == 100.0
    assert document["task_statistics"]["processing_time"]["count"] == 0
    assert document["error_statistics"]["retry_statistics"]["by_count"] == {"unknown": 1}
    assert document["error_statistics"]["error_categories"] == {"其他错误": 1}


def test_other_names_and_words_of_the_application_are_followed(database: Database, clock: ManualClock) -> None:
    with database.write() as connection:
        connection.execute(text('CREATE TABLE "工单" ("编号" INTEGER, "状态" TEXT, at TIMESTAMP, done TIMESTAMP)'))
        connection.execute(text("INSERT INTO \"工单\" VALUES (1, '坏', '2026-03-09 04:00:00', '2026-03-09 04:01:00')"))
        connection.execute(text("INSERT INTO \"工单\" VALUES (2, '好', '2026-03-09 05:00:00', NULL)"))
    names = {"id": "编号", "status": "状态", "created_at": "at", "completed_at": "done", "updated_at": ""}
    unmapped = dict.fromkeys(
        ["task_id", "task_type", "started_at", "processing_time", "retry_count", "error_message"], ""
    )
    mapping = {"table": "工单", "columns": names | unmapped, "statuses": {"failed": ["坏"], "completed": ["好"]}}
    document = report(database, clock, source=SourceSettings(tasks=mapping)).document
    assert document["task_statistics"]["status_breakdown"]["failed"] == 1
    assert document["task_statistics"]["completion_rate"] == 50.0
    assert document["performance_statistics"]["peak_hour"] == 12


def test_enums_uuids_and_times_without_zone_are_read_too(empty_postgres: str, clock: ManualClock) -> None:
    postgres = Database(empty_postgres, DatabaseSettings())
    upgrade(postgres)
    with postgres.write() as connection:
        connection.execute(text("CREATE TYPE state AS ENUM ('completed', 'failed')"))
        connection.execute(
            text(
                "CREATE TABLE tasks (id int, task_id uuid, task_type text, status state, created_at timestamp,"
                " started_at timestamp, completed_at timestamp, processing_time numeric, retry_count smallint,"
                " error_message json)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO tasks SELECT n, gen_random_uuid(), 'x', 'failed', '2026-03-08 16:00',"
                " '2026-03-08 16:00:01', '2026-03-08 16:00:03.5', CASE n WHEN 1 THEN 1.25 END, 1, '\"超时\"'"
                " FROM generate_series(1, 2) n"
            )
        )
    source = SourceSettings(tasks={"columns": {"updated_at": ""}})
    document = report(postgres, clock, source=source).document
    assert document["task_statistics"]["processing_time"]["mean"] == 1.875
    assert document["performance_statistics"]["hourly_distribution"]["0"] == 2
    assert document["error_statistics"]["error_categories"] == {"任务超时": 2}
    assert document["error_statistics"]["failed_tasks"][0]["created_at"] == "2026-03-09T00:00:00+08:00"
    postgres.dispose()


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
