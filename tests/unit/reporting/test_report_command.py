"""`gengfu report`: stored reports in the terminal, their pages, and what other programs get."""

import csv
import io
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from daily_rows import put, task
from report_documents import document
from rich.cells import cell_len
from sqlalchemy import update

from app.cli import gengfu
from app.context import Context, make_context
from app.core.atomic_json import write_json
from app.core.clock import local_date, local_day_window
from app.demo import schema


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "home" / "reports" / "daily"
    path.mkdir(parents=True)
    return path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(gengfu, ["report", *arguments], env={"COLUMNS": "80"})


@pytest.mark.parametrize("columns", [80, 120])
def test_a_report_is_readable_at_both_widths(folder: Path, columns: int) -> None:
    write_json(folder / "daily_report_20260309.json", document())
    shown = CliRunner().invoke(gengfu, ["report", "show", "2026-03-09"], env={"COLUMNS": str(columns)})
    assert shown.exit_code == 0, shown.output
    for expected in (
        "2026-03-09 Monday",
        "1,250",
        "88 %",
        "95 % bounds: 2.7 % to 4.79 %",
        "慢任务",
        "物流查询错误",
        "+25 % against the mean of the days before (up)",
        "Failed: unusual - 45; 1,200 was expected",
        "finished rows without a finish time: 3",
        "1 s–1 min",
        "█",
    ):
        assert expected in shown.stdout
    assert "unmapped status" not in shown.stdout
    assert max(cell_len(line) for line in shown.stdout.splitlines()) <= columns


def test_the_smallest_hour_can_be_seen_and_an_empty_one_is_blank(folder: Path) -> None:
    hours = {"hourly_distribution": {"0": 1, "1": 0, "14": 10_000}, "peak_hour": 14}
    write_json(folder / "daily_report_20260309.json", document(performance_statistics=hours))
    bars = next(line for line in run("show").stdout.splitlines() if "██" in line)
    assert (bars[2:4], bars[5:7], bars[2 + 14 * 3 : 4 + 14 * 3]) == ("▁▁", "  ", "██")


def test_two_days_stand_beside_each_other_with_their_change(folder: Path) -> None:
    write_json(folder / "daily_report_20260309.json", document())
    other = document("2026-03-02", error_statistics={"error_categories": {"任务超时": 4}})
    other["task_statistics"] |= {"total_tasks": 1000, "failure_rate": 2.5}
    write_json(folder / "daily_report_20260302.json", other)
    shown = run("show", "2026-03-09", "--compare", "2026-03-02").stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    assert "Tasks 1,250 1,000 +25 %" in lines
    assert "Failure rate 3.6 % 2.5 % +1.1 points" in lines
    assert "任务超时 0 4 -100 %" in lines
    assert "物流查询错误 33 0 –" in lines


def test_comparing_with_a_day_without_report_is_told(folder: Path) -> None:
    write_json(folder / "daily_report_20260309.json", document())
    refused = run("show", "--compare", "2026-03-02")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "no report of 2026-03-02" in refused.stderr
    assert run("show", "--compare", "2026-03-09", "--json").exit_code == 2


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


def test_the_address_of_a_page_is_printed_and_the_page_drawn_where_it_is_missing(folder: Path) -> None:
    write_json(folder / "daily_report_20260309.json", document())
    opened = run("open", "2026-03-09")
    page = folder / "daily_report_20260309.html"
    assert (opened.exit_code, opened.stdout) == (0, f"{page.as_uri()}\n")
    assert page.exists()
    page.write_text("as it is", encoding="utf-8")
    assert run("open").stdout == opened.stdout
    assert page.read_text(encoding="utf-8") == "as it is"
    assert page.as_uri() in run("show").stdout.replace("\n", "")
    assert json.loads(run("list", "--json").stdout)[0]["page"] == page.as_uri()


def test_the_page_speaks_the_configured_language(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENGFU_GENERAL__LANGUAGE", "zh")
    write_json(folder / "daily_report_20260309.json", document())
    assert run("open").exit_code == 0
    assert "每日报告" in (folder / "daily_report_20260309.html").read_text(encoding="utf-8")
    monkeypatch.setenv("GENGFU_GENERAL__LANGUAGE", "de")
    refused = run("open")
    assert refused.exit_code == 2
    assert "GENGFU_GENERAL__LANGUAGE" in refused.stderr


@pytest.mark.parametrize("name", ["2026-W11", "2026-03", "2026-03-09", "2026-W99", "bald"])
def test_what_has_no_report_has_no_page(name: str) -> None:
    refused = run("open", name)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert len(refused.stderr.splitlines()) == 1


def test_failed_tasks_are_exported_from_the_reports_of_the_span(folder: Path) -> None:
    for day in ("2026-03-08", "2026-03-09", "2026-03-10"):
        write_json(folder / f"daily_report_{day.replace('-', '')}.json", document(day))
    span = ("--from", "2026-03-09", "--to", "2026-03-10")
    lines = json.loads(run("export", "--format", "json", "--failed-tasks", *span).stdout)
    assert [line["date"] for line in lines] == ["2026-03-09", "2026-03-10"]
    assert lines[0]["message"] == "物流接口无响应"
    table = list(csv.DictReader(io.StringIO(run("export", "--format", "csv", "--failed-tasks", *span).stdout)))
    assert [row["id"] for row in table] == ["1234567", "1234567"]


def test_a_span_that_runs_backwards_is_refused() -> None:
    refused = run("export", "--format", "csv", "--from", "2026-03-10", "--to", "2026-03-09")
    assert refused.exit_code == 2
    assert "lies after" in refused.stderr
    assert run("export", "--format", "xml").exit_code == 2


@pytest.fixture
def rows() -> Any:
    """Thirty days of tasks up to yesterday in the embedded database."""
    context = make_context()
    context.prepare_own_tables()
    with context.database.write() as connection:
        schema.metadata.create_all(connection)
    put(context.database, [task(n, start(context, n), "failed" if n % 5 else "completed") for n in range(1, 31)])
    yield context
    context.database.dispose()


def start(context: Context, back: int) -> Any:
    return local_day_window(yesterday(context) - timedelta(days=back - 1), context.zone)[0]


def yesterday(context: Context) -> date:
    return local_date(context.clock.now(), context.zone) - timedelta(days=1)


def test_missing_days_are_computed_and_then_exported_and_explained(rows: Context) -> None:
    first = yesterday(rows) - timedelta(days=29)
    done = run("backfill", "--from", str(first), "--json")
    assert done.exit_code == 0, done.output
    assert {line["state"] for line in json.loads(done.stdout)} == {"stored"}
    assert "present: 30 days" in run("backfill", "--from", str(first), "--to", str(yesterday(rows))).stdout
    exported = json.loads(run("export", "--format", "json").stdout)
    assert [line["date"] for line in exported] == [str(first + timedelta(days=after)) for after in range(30)]
    assert {line["total_tasks"] for line in exported} == {1}
    table = list(csv.DictReader(io.StringIO(run("export", "--format", "csv", "--from", str(yesterday(rows))).stdout)))
    assert (len(table), table[0]["failed"], table[0]["error: 其他错误"]) == (1, "1", "1")
    explained = run("explain", str(yesterday(rows)), "total_tasks")
    assert explained.exit_code == 0, explained.output
    assert explained.stdout.startswith("1. ")
    assert json.loads(run("explain", str(yesterday(rows)), "failed", "--json").stdout)["verdict"]["series"] == "failed"


def test_days_counted_again_have_their_reports_written_anew(rows: Context, folder: Path) -> None:
    day, before = yesterday(rows), yesterday(rows) - timedelta(days=1)
    run("backfill", "--from", str(before))
    for one in (day, before):
        report = document() | {"date": str(one), "revision": 1}
        write_json(folder / f"daily_report_{one:%Y%m%d}.json", report)
    with rows.database.write() as connection:
        connection.execute(update(schema.tasks).where(schema.tasks.c.id == 1).values(status="completed"))
    done = run("backfill", "--from", str(before), "--recompute")
    assert done.exit_code == 0, done.output
    assert f"reports written anew: {day}\n" in done.stderr
    revised, other = (json.loads((folder / f"daily_report_{one:%Y%m%d}.json").read_bytes()) for one in (day, before))
    assert (revised["revision"], revised["task_statistics"]["status_breakdown"]["completed"]) == (2, 1)
    assert other == document() | {"date": str(before), "revision": 1}


def test_a_series_that_there_is_none_of_is_told_with_the_nearest(rows: Context) -> None:
    run("backfill", "--from", str(yesterday(rows)))
    refused = run("explain", str(yesterday(rows)), "total_task")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "total_tasks" in refused.stderr


def test_an_export_of_nothing_has_its_head_and_no_lines(rows: Context) -> None:
    assert run("export", "--format", "json").stdout == "[]\n"
    assert run("export", "--format", "csv").stdout.startswith("date,total_tasks,")
    assert rows.database.dialect == "sqlite"
