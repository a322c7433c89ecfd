"""Weeks and months: their bounds, and what is folded out of the stored figures of their days."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.core.clock import ManualClock
from app.core.database import Database, DatabaseSettings
from app.core.errors import BadArgument
from app.core.migrate import upgrade
from app.reporting.periods import build_period_report, parse_period, period_of
from app.reporting.rollups import Rollups

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture
def rollups(tmp_path: Path) -> Iterator[Rollups]:
    database = Database(f"sqlite:///{tmp_path / 'test.db'}", DatabaseSettings())
    upgrade(database)
    yield Rollups(database=database, zone=BERLIN, clock=ManualClock(datetime(2026, 4, 10, 12, tzinfo=UTC)))
    database.dispose()


def figures(completed: int, failed: int, mean: float | None = 2.0, **more: Any) -> dict[str, Any]:
    hours = [0] * 24
    hours[9] = completed + failed
    timing = {"count": completed if mean else 0, "mean": mean, "minimum": mean and 0.5, "maximum": mean and mean * 3}
    return {
        "total_tasks": completed + failed,
        "status_breakdown": {"pending": 0, "processing": 0, "completed": completed, "failed": failed, "cancelled": 0},
        "completion_rate": 0.0,
        "failure_rate": 0.0,
        "average_processing_time": mean,
        "processing_time": timing,
        "hourly_distribution": hours,
        "error_categories": {"物流查询错误": failed} if failed else {},
        "retries_by_count": {"0": completed, "2": failed, "unknown": 0},
    } | more


def store(rollups: Rollups, first: date, days: int, **more: Any) -> None:
    for after in range(days):
        rollups.store(first + timedelta(days=after), figures(90 + after, 10, **more))


@pytest.mark.parametrize(
    ("day", "name", "first", "last"),
    [
        (date(2026, 3, 9), "2026-W11", date(2026, 3, 9), date(2026, 3, 15)),
        (date(2026, 3, 15), "2026-W11", date(2026, 3, 9), date(2026, 3, 15)),
        (date(2027, 1, 1), "2026-W53", date(2026, 12, 28), date(2027, 1, 3)),
        (date(2024, 12, 30), "2025-W01", date(2024, 12, 30), date(2025, 1, 5)),
    ],
)
def test_a_week_is_that_of_iso_8601(day: date, name: str, first: date, last: date) -> None:
    week = period_of("weekly", day)
    assert (week.name, week.first, week.last, len(week.days)) == (name, first, last, 7)
    assert parse_period("weekly", name) == week


@pytest.mark.parametrize(
    ("day", "name", "days"),
    [(date(2026, 2, 28), "2026-02", 28), (date(2024, 2, 1), "2024-02", 29), (date(2026, 12, 31), "2026-12", 31)],
)
def test_a_month_has_all_its_days(day: date, name: str, days: int) -> None:
    month = period_of("monthly", day)
    assert (month.name, len(month.days)) == (name, days)
    assert parse_period("monthly", name) == month


def test_the_period_before_ends_where_this_one_begins() -> None:
    for kind in ("weekly", "monthly"):
        period = period_of(kind, date(2026, 1, 1))  # type: ignore[arg-type]
        assert period.before.last + timedelta(days=1) == period.first
    assert period_of("monthly", date(2026, 1, 15)).before.name == "2025-12"


@pytest.mark.parametrize(
    "text", ["2026-W54", "2026-W00", "2026-11", "W11", "2026-W1", "２０２６-W11", "../2026-W11", ""]
)
def test_a_week_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadArgument, match="is no week; write it as 2026-W11"):
        parse_period("weekly", text)


@pytest.mark.parametrize("text", ["2026-13", "2026-00", "2026-3", "2026-03-01", "März"])
def test_a_month_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(BadArgument, match="is no month; write it as 2026-03"):
        parse_period("monthly", text)


def test_a_week_adds_up_its_days_and_compares_with_the_week_before(rollups: Rollups) -> None:
    store(rollups, date(2026, 3, 9), 7)
    store(rollups, date(2026, 3, 2), 6)
    rollups.store(date(2026, 3, 8), figures(0, 50))
    found = build_period_report(rollups, parse_period("weekly", "2026-W11"))
    tasks = found["task_statistics"]
    assert (tasks["total_tasks"], tasks["status_breakdown"]["failed"]) == (90 * 7 + 21 + 70, 70)
    assert tasks["failure_rate"] == round(100 * 70 / 721, 2)
    assert tasks["tasks_per_day"] == 103.0
    assert found["error_statistics"]["error_categories"] == {"物流查询错误": 70}
    assert found["error_statistics"]["retry_statistics"] == {
        "retried_tasks": 70,
        "retried_share": round(100 * 70 / 721, 2),
        "total_retries": 140,
    }
    assert found["performance_statistics"]["busiest_day"] == {"date": "2026-03-15", "total_tasks": 106}
    assert found["performance_statistics"]["quietest_day"] == {"date": "2026-03-09", "total_tasks": 100}
    assert found["performance_statistics"]["hourly_distribution"]["9"] == 721
    assert (found["period_over"], found["days_known"], found["missing_days"]) == (True, 7, [])
    before = 90 * 6 + 15 + 60 + 50
    compared = found["comparison"]["figures"]["total_tasks"]
    assert compared == {"value": 721, "before": before, "change_percent": round(100 * (721 - before) / before, 2)}


def test_missing_days_are_named_and_count_nowhere(rollups: Rollups) -> None:
    store(rollups, date(2026, 3, 9), 3)
    found = build_period_report(rollups, parse_period("weekly", "2026-W11"))
    assert found["missing_days"] == ["2026-03-12", "2026-03-13", "2026-03-14", "2026-03-15"]
    assert (found["days_known"], found["task_statistics"]["tasks_per_day"]) == (3, 101.0)
    assert [day["date"] for day in found["days"]] == ["2026-03-09", "2026-03-10", "2026-03-11"]


def test_sums_of_unlike_numbers_of_days_are_not_compared_but_means_are(rollups: Rollups) -> None:
    store(rollups, date(2026, 3, 2), 7)
    store(rollups, date(2026, 3, 9), 3)
    compared = build_period_report(rollups, parse_period("weekly", "2026-W11"))["comparison"]["figures"]
    assert compared["total_tasks"] == {"value": 303, "before": 721, "change_percent": None}
    assert compared["tasks_per_day"] == {"value": 101.0, "before": 103.0, "change_percent": -1.94}
    assert compared["failure_rate"]["change_points"] == round(round(3000 / 303, 2) - round(7000 / 721, 2), 2)


def test_a_week_that_goes_on_says_how_many_days_are_to_come(rollups: Rollups) -> None:
    store(rollups, date(2026, 4, 6), 4)
    found = build_period_report(rollups, period_of("weekly", date(2026, 4, 10)))
    assert (found["period_over"], found["days_to_come"], found["missing_days"]) == (False, 3, [])


def test_a_period_of_which_nothing_is_known_says_so(rollups: Rollups) -> None:
    found = build_period_report(rollups, parse_period("monthly", "2026-02"))
    assert (found["days_known"], len(found["missing_days"])) == (0, 28)
    assert found["task_statistics"]["total_tasks"] == 0
    assert found["task_statistics"]["tasks_per_day"] is None
    assert found["performance_statistics"]["busiest_day"] is None
    assert found["comparison"]["figures"]["total_tasks"] == {"value": 0, "before": None, "change_percent": None}


@pytest.mark.parametrize(("month", "hours"), [("2026-03", 31 * 24 - 1), ("2025-10", 31 * 24 + 1), ("2026-01", 31 * 24)])
def test_a_month_in_which_the_clocks_change_has_its_real_length(rollups: Rollups, month: str, hours: int) -> None:
    period = parse_period("monthly", month)
    store(rollups, period.first, len(period.days))
    found = build_period_report(rollups, period)
    finished = found["task_statistics"]["finished_tasks"]
    assert found["performance_statistics"]["hours_in_period"] == hours
    assert found["performance_statistics"]["throughput_per_hour"] == round(finished / hours, 2)


def test_the_mean_time_is_that_of_all_tasks_and_not_of_the_days(rollups: Rollups) -> None:
    rollups.store(date(2026, 3, 9), figures(900, 0, mean=1.0))
    rollups.store(date(2026, 3, 10), figures(100, 0, mean=11.0))
    rollups.store(date(2026, 3, 11), figures(50, 0, mean=None))
    timing = build_period_report(rollups, parse_period("weekly", "2026-W11"))["task_statistics"]["processing_time"]
    assert timing == {"count": 1000, "mean": 2.0, "minimum": 0.5, "maximum": 33.0}


def test_a_day_of_another_zone_is_not_counted(rollups: Rollups) -> None:
    other = Rollups(database=rollups.database, zone=ZoneInfo("Asia/Shanghai"), clock=rollups.clock)
    store(other, date(2026, 3, 9), 7)
    assert build_period_report(rollups, parse_period("weekly", "2026-W11"))["days_known"] == 0


def test_folding_again_gives_the_same_report(rollups: Rollups) -> None:
    store(rollups, date(2026, 3, 9), 7)
    week = parse_period("weekly", "2026-W11")
    assert build_period_report(rollups, week) == build_period_report(rollups, week)


def test_every_key_of_the_report_of_a_period_stands_in_the_reference(rollups: Rollups) -> None:
    store(rollups, date(2026, 3, 2), 14)
    found = build_period_report(rollups, parse_period("weekly", "2026-W11"))
    told = (Path(__file__).parents[3] / "docs" / "reference" / "reports.md").read_text(encoding="utf-8")
    tables = (found, found["task_statistics"], found["performance_statistics"], found["error_statistics"])
    more = (
        found["comparison"],
        *found["comparison"]["figures"].values(),
        found["performance_statistics"]["busiest_day"],
    )
    assert {key for table in (*tables, *more) for key in table if f"`{key}`" not in told} == set()
