"""Rows that no tidy application writes: the daily report counts what it can and says what it can't."""

import json
import math
import os
from pathlib import Path

import pytest
from daily_rows import put, report, start_of, task
from sqlalchemy import text, update

from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.migrate import upgrade
from app.core.settings_reader import read
from app.core.source_tables import SourceSettings
from app.demo import schema
from app.reporting.day_statements import MESSAGE_CAP

_FULL = (
    pytest.mark.skipif(not os.environ.get("TEST_FULL"), reason="a million rows: TEST_FULL=1"),
    pytest.mark.timeout(900),
)


@pytest.mark.parametrize(("count", "sentences"), [(5000, 200), pytest.param(1_000_000, 2, marks=_FULL)])
def test_many_failures_with_one_message_are_one_message_and_fifty_details(
    application: Database, clock: ManualClock, count: int, sentences: int
) -> None:
    message = "物流查询失败：" + "很长的说明" * sentences
    put(application, (task(n, start_of(), "failed", error_message=message) for n in range(count)))
    errors = report(application, clock).document["error_statistics"]
    assert errors["error_categories"] == {"物流查询错误": count}
    assert errors["distinct_messages"] == 1
    assert [one["id"] for one in errors["failed_tasks"]] == list(range(count - 1, count - 51, -1))
    assert {len(one["message"]) for one in errors["failed_tasks"]} == {min(len(message), 500)}


@pytest.mark.parametrize("count", [6000, pytest.param(999_999, marks=_FULL)])
def test_messages_that_all_differ_are_each_read_once_and_all_counted(
    application: Database, clock: ManualClock, count: int
) -> None:
    words = ["任务超时", "物流查询失败", "怪事"]
    put(application, (task(n, start_of(), "failed", error_message=f"{words[n % 3]} #{n}") for n in range(count)))
    errors = report(application, clock).document["error_statistics"]
    assert errors["error_categories"] == dict.fromkeys(("任务超时", "物流查询错误", "其他错误"), count // 3)
    assert errors["distinct_messages"] == count


def test_the_end_of_a_message_beyond_all_reason_is_not_looked_at(application: Database, clock: ManualClock) -> None:
    long = "x" * (MESSAGE_CAP - 2)
    put(application, [task(n, start_of(), "failed", error_message=f"{long}超时{n}") for n in range(3)])
    errors = report(application, clock).document["error_statistics"]
    assert (errors["error_categories"], errors["distinct_messages"]) == ({"任务超时": 3}, 1)
    put(application, [task(1, start_of(), "failed", error_message=f"{long}x超时")])
    assert report(application, clock).document["error_statistics"]["error_categories"] == {"其他错误": 1}


def test_a_rule_with_a_pattern_is_applied_in_its_place(application: Database, clock: ManualClock) -> None:
    put(
        application,
        [task(n, start_of(), "failed", error_message=f"HTTP {code} 超时") for n, code in enumerate((404, 503))],
    )
    rules = [
        {"name": "服务端错误", "matches": [r"http 5\d\d"]},
        {"name": "超时", "contains": ["超时"]},
        {"name": "其他"},
    ]
    errors = report(application, clock, categories=rules).document["error_statistics"]
    assert errors["error_categories"] == {"服务端错误": 1, "超时": 1}
    assert [one["category"] for one in errors["failed_tasks"]] == ["服务端错误", "超时"]


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


def test_columns_the_application_lacks_are_told_and_cost_only_their_figures(
    application: Database, clock: ManualClock
) -> None:
    names = ["task_id", "task_type", "started_at", "processing_time", "retry_count", "error_message"]
    put(application, [task(1, start_of(), "failed", processing_time=9.0, retry_count=2, error_message="超时")])
    source = read(SourceSettings, {"tasks": {"columns": dict.fromkeys(names, "")}})
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
    document = report(database, clock, source=read(SourceSettings, {"tasks": mapping})).document
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
    source = read(SourceSettings, {"tasks": {"columns": {"updated_at": ""}}})
    document = report(postgres, clock, source=source).document
    assert document["task_statistics"]["processing_time"]["mean"] == 1.875
    assert document["performance_statistics"]["hourly_distribution"]["0"] == 2
    assert document["error_statistics"]["error_categories"] == {"任务超时": 2}
    assert document["error_statistics"]["failed_tasks"][0]["created_at"] == "2026-03-09T00:00:00+08:00"
    postgres.dispose()
