"""The seed's four shell lines, as written, on a machine without a broker."""

import ast
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from processes import environment, run

_LINE = "from tasks.monitoring_tasks import {0}; print({0}.apply({1}).result)"
_ALERT = "args=[[{'type': 'test', 'message': '测试', 'severity': 'warning'}]]"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("值班") / "home"
    made = run("-m", "app", "demo", "create", "--tasks", "1500", env=environment(folder))
    assert made.returncode == 0, made.stderr
    return folder


def result_of(home: Path, task: str, arguments: str = "", **more: str) -> dict[str, Any]:
    done = run("-c", _LINE.format(task, arguments), env=environment(home, **more))
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    return value


def test_statistics_write_yesterdays_report(home: Path) -> None:
    result = result_of(home, "generate_daily_statistics", GENGFU_GENERAL__TIMEZONE="UTC")
    assert result["success"] is True
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    report = json.loads((home / "reports" / "daily" / f"daily_report_{day:%Y%m%d}.json").read_text(encoding="utf-8"))
    assert report["date"] == result["date"] == day.isoformat()
    assert report["task_statistics"]["total_tasks"] > 0
    assert report["system_statistics"]["disk_usage"]["total_gb"] > 0


def test_cleanup_deletes_rows_and_files_and_a_second_one_finds_nothing(home: Path) -> None:
    dry = result_of(home, "cleanup_expired_tasks", "kwargs={'dry_run': True}")
    first = result_of(home, "cleanup_expired_tasks")
    again = result_of(home, "cleanup_expired_tasks")
    assert first["success"] is True, first
    for key in ("tasks_cleaned", "files_cleaned", "receipts_cleaned", "logs_cleaned"):
        assert first[key] > 0, key
        assert again[key] == 0, key
        assert dry[key] == first[key], key
    assert first["errors"] == []
    (report,) = (home / "reports" / "daily").glob("cleanup_report_*.json")
    document = json.loads(report.read_text(encoding="utf-8"))
    assert document["tasks_cleaned"] == first["tasks_cleaned"]
    assert document["files_cleaned"] == first["files_cleaned"]


def test_disk_check_gives_the_seeds_keys(home: Path) -> None:
    result = result_of(home, "check_disk_space")
    assert result["success"] is True
    assert {"total_gb", "used_gb", "free_gb", "usage_percent", "status"} <= set(result["disk_info"])
    (report,) = (home / "reports" / "daily").glob("disk_report_*.json")
    assert json.loads(report.read_text(encoding="utf-8"))


def test_an_alert_reaches_its_file_the_console_and_the_days_summary(home: Path) -> None:
    done = run("-c", _LINE.format("send_alert_notification", _ALERT), env=environment(home))
    result = ast.literal_eval(done.stdout.strip().splitlines()[-1])
    assert result["success"] is True
    assert "测试" in done.stderr
    line = json.loads((home / "logs" / "warning_alerts.log").read_text(encoding="utf-8").splitlines()[-1])
    assert (line["level"], line["message"]) == ("warning", "测试")
    (summary,) = (home / "reports" / "alerts").glob("*.json")
    assert "测试" in summary.read_text(encoding="utf-8")


def test_a_fresh_home_without_application_tables_says_what_to_do(tmp_path: Path) -> None:
    result = result_of(tmp_path / "leer", "generate_daily_statistics")
    assert result["success"] is False
    assert "gengfu demo create" in result["error"]


def test_the_disk_check_works_while_the_database_is_down(tmp_path: Path) -> None:
    result = result_of(tmp_path / "h", "check_disk_space", DATABASE_URL="postgresql://nobody:geheim@127.0.0.1:1/none")
    assert result["success"] is True


def test_malformed_alerts_are_refused_one_by_one(home: Path) -> None:
    items = "args=[[{'type': 't', 'message': '好', 'severity': 'error'}, 5, {'message': 'x', 'severity': 'loud'}]]"
    result = result_of(home, "send_alert_notification", items)
    assert result["sent"] == 1
    assert [refusal["index"] for refusal in result["refused"]] == [1, 2]


def test_wrong_arguments_are_told_and_nothing_is_done(home: Path) -> None:
    assert "YYYY-MM-DD" in result_of(home, "generate_daily_statistics", "args=['gestern']")["error"]
    assert "can't take" in result_of(home, "check_disk_space", "args=[1, 2]")["error"]


def test_a_job_run_from_the_shell_leaves_a_row_in_the_history(home: Path) -> None:
    result_of(home, "check_disk_space")
    shown = run("celery_beat_manager.py", "status", "--json", env=environment(home))
    jobs = {line["name"]: line for line in json.loads(shown.stdout)["jobs"]}
    assert jobs["disk-space-check"]["last"]["state"] == "succeeded"
    assert jobs["disk-space-check"]["last"]["trigger"] == "shell"
    assert len(jobs) == 13
