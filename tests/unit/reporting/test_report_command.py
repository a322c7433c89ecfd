"""`gengfu report`: stored reports in the terminal."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import gengfu
from app.core.atomic_json import write_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "reports" / "daily"
    path.mkdir(parents=True)
    return path


def document(day: str, **more: Any) -> dict[str, Any]:
    past = {
        "date": "2026-03-08",
        "total_tasks": 1000,
        "failed": 10,
        "failure_rate": 1.0,
        "average_processing_time": 4.0,
    }
    anomaly = {"series": "total_tasks", "value": 1250, "lower": 500, "upper": 1200}
    return {
        "date": day,
        "timezone": "Asia/Shanghai",
        "revision": 2,
        "task_statistics": {
            "total_tasks": 1250,
            "status_breakdown": {"completed": 1100, "failed": 45},
            "completion_rate": 88.0,
            "failure_rate": 3.6,
            "average_processing_time": 45.2,
        },
        "performance_statistics": {
            "hourly_distribution": {"14": 1250},
            "peak_hour": 14,
            "slowest_tasks": [{"task_id": "慢任务", "status": "completed", "processing_time": 321.5}],
        },
        "error_statistics": {
            "error_categories": {"二维码识别错误": 12, "物流查询错误": 33},
            "failed_tasks": [{"task_id": "t-1", "message": "[red]坏\x1b[31m\u202e\n第二行" + "长" * 200}],
            "retry_statistics": {"retried_tasks": 7, "retried_share": 0.56},
        },
        "trend_analysis": {
            "past_7_days": [past],
            "trend_percent": 25.0,
            "trend_direction": "up",
            "anomalies": [anomaly],
        },
        "data_quality": {"no_finish_time": 3, "unknown_status": 0},
    } | more


def run(*arguments: str) -> Result:
    return CliRunner().invoke(gengfu, ["report", *arguments], env={"COLUMNS": "80"})


def test_a_report_is_readable_in_eighty_columns(folder: Path) -> None:
    write_json(folder / "daily_report_20260309.json", document("2026-03-09"))
    shown = run("show", "2026-03-09")
    assert shown.exit_code == 0, shown.output
    for expected in ("2026-03-09", "1,250", "88.0 %", "慢任务", "物流查询错误", "25.0 % (up)", "unusual: total_tasks"):
        assert expected in shown.stdout
    assert "no finish time 3" in shown.stdout
    assert "unknown status" not in shown.stdout
    from rich.cells import cell_len

    assert max(cell_len(line) for line in shown.stdout.splitlines()) <= 80


def test_text_of_the_application_does_not_act_on_the_terminal(folder: Path) -> None:
    write_json(folder / "daily_report_20260309.json", document("2026-03-09"))
    output = run("show").stdout
    assert "[red]坏 [31m" in output
    assert "\x1b" not in output
    assert "\u202e" not in output


def test_without_a_day_the_newest_is_shown(folder: Path) -> None:
    for day in ("2026-03-08", "2026-03-10", "2026-03-09"):
        write_json(folder / f"daily_report_{day.replace('-', '')}.json", document(day))
    assert json.loads(run("show", "--json").stdout)["date"] == "2026-03-10"
    assert json.loads(run("show", "20260308", "--json").stdout) == document("2026-03-08")


def test_a_report_with_the_seeds_keys_alone_can_be_shown(folder: Path) -> None:
    tasks = {"total_tasks": 0, "status_breakdown": {}, "completion_rate": 0.0, "failure_rate": 0.0}
    write_json(folder / "daily_report_20260309.json", {"date": "2026-03-09", "task_statistics": tasks})
    assert run("show").exit_code == 0


@pytest.mark.parametrize("day", ["gestern", "2026-13-01", "2026-3-9", "../../etc/passwd", "２０２６０３０９"])
def test_a_day_that_is_none_is_refused_by_name(folder: Path, day: str) -> None:
    refused = run("show", day)
    assert refused.exit_code == 2
    assert day in refused.stderr
    assert list(folder.iterdir()) == []


def test_a_day_without_report_is_told_in_one_line(folder: Path) -> None:
    refused = run("show", "2026-03-09")
    assert refused.exit_code == 2
    assert "no report of 2026-03-09" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert str(folder) in refused.stderr


def test_no_report_at_all_is_no_traceback() -> None:
    assert run("show").exit_code == 2
    listed = run("list")
    assert (listed.exit_code, listed.stdout) == (0, "")
    assert json.loads(run("list", "--json").stdout) == []


def test_the_list_has_the_newest_first_and_puts_a_broken_file_aside(folder: Path) -> None:
    for day in ("2026-03-08", "2026-03-09"):
        write_json(folder / f"daily_report_{day.replace('-', '')}.json", document(day))
    (folder / "daily_report_20260307.json").write_text("{half", encoding="utf-8")
    (folder / "daily_report_20260230.json").write_text("{}", encoding="utf-8")
    (folder / "cleanup_report_20260309.json").write_text("{}", encoding="utf-8")
    listed = run("list", "--json")
    assert [line["date"] for line in json.loads(listed.stdout)] == ["2026-03-09", "2026-03-08"]
    assert listed.exit_code == 5
    assert "daily_report_20260307.json" in listed.stderr
    assert "1,250" in run("list").stdout


@pytest.mark.parametrize("content", ["[]", "{}", '{"task_statistics": 5}', "\xff"])
def test_a_file_that_is_no_report_is_told_by_name(folder: Path, content: str) -> None:
    (folder / "daily_report_20260309.json").write_bytes(content.encode("latin-1"))
    refused = run("show")
    assert refused.exit_code == 1
    assert "daily_report_20260309.json" in refused.stderr
