"""Reports as jobs on both databases: the seed's own example, pages beside the figures, weeks and months."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from daily_rows import DAY, put, start_of, task

from app import jobs
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.migrate import upgrade
from app.demo import schema
from app.settings import load

SEED = json.loads((Path(__file__).parent / "seed_daily_report.json").read_text(encoding="utf-8"))
"""The example of the original system's documentation; what it leaves open with dots is empty here."""


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    made = make_context(load(), clock)
    upgrade(made.database)
    with made.database.write() as connection:
        schema.metadata.create_all(connection)
    put(made.database, [task(n, start_of() - timedelta(days=n % 9), STATES[n % 4], **told(n)) for n in range(1, 200)])
    yield made
    made.database.dispose()


STATES = ("completed", "failed", "pending", "processing")


def told(number: int) -> dict[str, Any]:
    message = ("二维码识别失败", "物流接口超时", "文档模板缺失")[number % 3]
    return {"processing_time": float(number), "error_message": message if number % 4 == 1 else None}


def same_shape(example: Any, found: Any, at: str = "") -> Iterator[str]:
    """Yield every place where `found` lacks a key of `example` or holds another type."""
    if isinstance(example, dict):
        if not isinstance(found, dict):
            yield f"{at}: no table"
            return
        for key, value in example.items():
            if at.endswith("error_categories"):
                continue  # its keys are what the day brought
            yield from same_shape(value, found[key], f"{at}.{key}") if key in found else [f"{at}.{key}: missing"]
    elif isinstance(example, bool | str | list) or example is None:
        if type(found) is not type(example):
            yield f"{at}: {type(found).__name__}"
    elif isinstance(found, bool) or not isinstance(found, int if isinstance(example, int) else float):
        yield f"{at}: {type(found).__name__} instead of {type(example).__name__}"


def test_the_report_has_the_seeds_example_key_for_key(context: Context) -> None:
    done = jobs.run_here(context, "generate-daily-statistics")
    stored = json.loads(Path(done.result["report_path"]).read_text(encoding="utf-8"))
    assert list(same_shape(SEED, stored)) == []
    assert {type(count) for count in stored["error_statistics"]["error_categories"].values()} == {int}
    hours = stored["performance_statistics"]["hourly_distribution"]
    assert list(hours) == sorted(str(hour) for hour in range(24))


def test_a_missing_key_or_another_type_would_be_seen() -> None:
    other = json.loads(json.dumps(SEED))
    del other["task_statistics"]["failure_rate"]
    other["performance_statistics"]["peak_hour"] = "14"
    assert list(same_shape(SEED, other)) == [
        ".task_statistics.failure_rate: missing",
        ".performance_statistics.peak_hour: str instead of int",
    ]


def test_a_page_stands_beside_the_report(context: Context) -> None:
    result = jobs.run_here(context, "generate-daily-statistics").result
    page = Path(result["page_path"])
    assert page == Path(result["report_path"]).with_suffix(".html")
    root = ET.fromstring(page.read_text(encoding="utf-8"))  # noqa: S314 - a page of our own
    assert "2026-03-09" in "".join(root.itertext())
    assert "page_error" not in result


def test_a_page_that_can_not_be_drawn_never_costs_the_report(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("the plotting library is broken, see https://u:geheim@host/")

    monkeypatch.setattr("app.reporting.page_files.report_page", broken)
    done = jobs.run_here(context, "generate-daily-statistics")
    assert (done.state, done.result["success"], done.result["page_path"]) == ("succeeded", True, None)
    assert done.result["page_error"].startswith("RuntimeError: the plotting library is broken")
    assert "geheim" not in done.result["page_error"]
    assert json.loads(Path(done.result["report_path"]).read_text(encoding="utf-8"))["date"] == DAY.isoformat()


def test_no_page_is_drawn_of_a_report_that_could_not_be_written(context: Context) -> None:
    folder = context.settings.paths.daily_reports
    folder.parent.mkdir(parents=True)
    folder.write_text("a file where a folder should be", encoding="utf-8")
    result = jobs.run_here(context, "generate-daily-statistics").result
    assert result["success"] is False
    assert "page_path" not in result


def test_a_week_and_a_month_are_written_with_their_pages(context: Context) -> None:
    for back in range(8):
        jobs.run_here(context, "generate-daily-statistics", day=(DAY - timedelta(days=back)).isoformat())
    week = jobs.run_here(context, "generate-weekly-report").result
    assert (week["success"], week["period"], week["days_known"], week["missing_days"]) == (True, "2026-W10", 7, [])
    assert Path(week["report_path"]).relative_to(context.settings.home) == Path(
        "reports/weekly/weekly_report_2026-W10.json"
    )
    month = jobs.run_here(context, "generate-monthly-report", month="2026-03").result
    assert (month["period_over"], month["days_known"], month["days_to_come"]) == (False, 9, 22)
    for result in (week, month):
        root = ET.fromstring(Path(result["page_path"]).read_text(encoding="utf-8"))  # noqa: S314 - a page of our own
        assert result["period"] in "".join(root.itertext())
        stored = json.loads(Path(result["report_path"]).read_text(encoding="utf-8"))
        assert stored["task_statistics"] == result["task_statistics"]


@pytest.mark.parametrize(
    ("job", "arguments", "why"),
    [
        ("generate-weekly-report", {"week": "2026-W54"}, "is no week"),
        ("generate-weekly-report", {"week": 11}, "is no week"),
        ("generate-weekly-report", {"week": "2026-W12"}, "future"),
        ("generate-monthly-report", {"month": "2026-04"}, "future"),
        ("generate-monthly-report", {"month": "../2026"}, "is no month"),
    ],
)
def test_a_period_that_is_none_or_not_yet_is_refused(
    context: Context, job: str, arguments: dict[str, Any], why: str
) -> None:
    done = jobs.run_here(context, job, **arguments)
    assert (done.exit_code, done.result["error_type"]) == (2, "BadArgument")
    assert why in done.result["error"]


def test_reports_of_weeks_and_months_run_by_schedule_only_where_they_are_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.registry import effective_specs, scheduled_specs

    names = {"generate-weekly-report", "generate-monthly-report"}
    assert not names & {spec.name for spec in scheduled_specs(load())}
    (tmp_path / "settings.toml").write_text("[schedule.jobs.generate-weekly-report]\nenabled = true\n")
    monkeypatch.setenv("GENGFU_CONFIG", str(tmp_path))
    assert names & {spec.name for spec in scheduled_specs(load())} == {"generate-weekly-report"}
    assert effective_specs(load())["generate-monthly-report"].cron == "15 3 1 * *"
