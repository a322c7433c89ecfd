"""A day against the seven before it."""

from datetime import date, timedelta
from typing import Any

import pytest

from app.reporting.trend import PastDay, trend_analysis

TODAY = date(2026, 3, 9)


def day(back: int, total: int, failed: int = 0, mean: float | None = 10.0) -> PastDay:
    figures = {
        "total_tasks": total,
        "status_breakdown": {"completed": total - failed, "failed": failed},
        "failure_rate": round(100 * failed / total, 2) if total else 0.0,
        "average_processing_time": mean if total else None,
        "processing_time": {"count": total},
    }
    return PastDay(day=TODAY - timedelta(days=back), figures=figures)


def week(*totals: int) -> list[PastDay]:
    return [day(back, total) for back, total in zip(range(len(totals), 0, -1), totals, strict=True)]


def verdict(series: str, today: PastDay, past: list[PastDay]) -> dict[str, Any]:
    [found] = [one for one in trend_analysis(today, past)["verdicts"] if one["series"] == series]
    return found


@pytest.mark.parametrize(
    ("total", "percent", "direction"),
    [(105, 5.0, "stable"), (106, 6.0, "up"), (95, -5.0, "stable"), (94, -6.0, "down"), (0, -100.0, "down")],
)
def test_more_than_five_percent_from_the_mean_is_a_direction(total: int, percent: float, direction: str) -> None:
    trend = trend_analysis(day(0, total), week(*[100] * 7))
    assert (trend["trend_percent"], trend["trend_direction"]) == (percent, direction)


def test_without_past_days_nothing_is_compared() -> None:
    trend = trend_analysis(day(0, 10), [])
    assert (trend["trend_percent"], trend["trend_direction"], trend["same_weekday_last_week"]) == (None, None, None)
    assert set(trend["seven_day_mean"].values()) == {None}


@pytest.mark.parametrize(("total", "direction"), [(3, "up"), (0, "stable")])
def test_after_seven_empty_days_there_is_a_direction_but_no_percentage(total: int, direction: str) -> None:
    trend = trend_analysis(day(0, total), week(*[0] * 7))
    assert (trend["trend_percent"], trend["trend_direction"]) == (None, direction)


def test_past_days_are_told_oldest_first_and_last_weeks_weekday_by_itself() -> None:
    trend = trend_analysis(day(0, 10), [day(7, 70, failed=7), *week(60, 50, 40, 30, 20, 10)])
    assert [one["total_tasks"] for one in trend["past_7_days"]] == [70, 60, 50, 40, 30, 20, 10]
    assert trend["same_weekday_last_week"] == {
        "date": "2026-03-02",
        "total_tasks": 70,
        "completed": 63,
        "failed": 7,
        "failure_rate": 10.0,
        "average_processing_time": 10.0,
    }
    assert (trend["seven_day_mean"]["total_tasks"], trend["seven_day_median"]["total_tasks"]) == (40.0, 40.0)


@pytest.mark.parametrize(("days", "found"), [(6, "insufficient data"), (7, "anomaly")])
def test_fewer_than_seven_days_allow_no_verdict(days: int, found: str) -> None:
    assert verdict("total_tasks", day(0, 900), week(*[100] * days))["verdict"] == found


def test_days_without_tasks_say_nothing_about_rates_and_times() -> None:
    past = week(100, 0, 0, 0, 100, 100, 100, 100, 100, 100)
    trend = trend_analysis(day(0, 0), past)
    found = {one["series"]: (one["verdict"], one["value"], one["n_history"]) for one in trend["verdicts"]}
    assert found["failure_rate"] == found["average_processing_time"] == ("insufficient data", None, 7)
    assert found["total_tasks"] == ("normal", 0.0, 10)
    assert verdict("failure_rate", day(0, 100, failed=90), past)["verdict"] == "anomaly"


def test_a_verdict_holds_what_a_reader_needs_to_recompute_it() -> None:
    trend = trend_analysis(day(0, 1000, failed=400), week(*[1000] * 28))
    assert [one["series"] for one in trend["verdicts"]] == [
        "total_tasks",
        "completed",
        "failed",
        "failure_rate",
        "average_processing_time",
    ]
    [completed, failed, rate] = trend["anomalies"]
    assert completed == {
        "series": "completed",
        "unit": "tasks",
        "value": 600.0,
        "expected": 1000.0,
        "lower": 725.875,
        "upper": 1377.505,
        "z": -6.377,
        "change_percent": -40.0,
        "method": "trend",
        "n_history": 28,
        "verdict": "anomaly",
        "reason": "outside the band",
    }
    assert (failed["series"], failed["expected"], failed["upper"]) == ("failed", 0.0, 53.598)
    assert (rate["series"], rate["unit"], rate["value"], rate["upper"]) == ("failure_rate", "percent", 40.0, 1.0)


def test_times_are_judged_in_milliseconds_and_told_in_seconds() -> None:
    past = [day(back, 1000, mean=0.05) for back in range(28, 0, -1)]
    assert verdict("average_processing_time", day(0, 1000, mean=0.06), past)["verdict"] == "normal"
    found = verdict("average_processing_time", day(0, 1000, mean=0.1), past)
    assert (found["verdict"], found["unit"], found["value"], found["expected"]) == ("anomaly", "s", 0.1, 0.05)


def test_the_history_shows_the_last_eight_weeks_with_the_band_of_each_day() -> None:
    shown = trend_analysis(day(0, 100), week(*[100] * 90))["history"]
    assert [shown[0]["date"], shown[-1]["date"], len(shown)] == ["2026-01-12", "2026-03-09", 57]
    assert {one["verdict"] for one in shown} == {"normal"}
    assert shown[-1].keys() == {*day(0, 1).summary(), "expected", "lower", "upper", "verdict"}
    young = trend_analysis(day(0, 100), week(*[100] * 10))["history"]
    assert [one["expected"] for one in young] == [None] * 7 + [100.0] * 4


def test_an_unusual_day_of_the_past_is_left_out_of_the_next_ones_history() -> None:
    past = week(*[1000] * 40)
    past[-3] = day(3, 0)
    found = verdict("total_tasks", day(0, 1000), past)
    assert (found["verdict"], found["n_history"]) == ("normal", 39)


def test_a_new_level_is_told_on_its_fifth_day_and_is_the_usual_one_from_then_on() -> None:
    told = []
    for days in range(1, 9):
        past = [day(back, 1000 if back >= days else 3000) for back in range(60, 0, -1)]
        told.append(verdict("total_tasks", day(0, 3000), past)["verdict"])
    assert told == [*["anomaly"] * 4, "level shift", *["normal"] * 3]
