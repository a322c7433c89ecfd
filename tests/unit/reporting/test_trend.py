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


@pytest.mark.parametrize(("total", "expected"), [(150, "normal"), (151, "anomaly"), (50, "normal"), (49, "anomaly")])
def test_half_the_median_is_the_narrowest_band_of_a_busy_series(total: int, expected: str) -> None:
    found = verdict("total_tasks", day(0, total), week(*[100] * 7))
    assert (found["verdict"], found["lower"], found["upper"], found["days"]) == (expected, 50.0, 150.0, 7)


@pytest.mark.parametrize(("total", "expected"), [(14, "normal"), (15, "anomaly")])
def test_ten_units_are_the_narrowest_band_of_a_quiet_series(total: int, expected: str) -> None:
    assert verdict("total_tasks", day(0, total), week(*[4] * 7))["verdict"] == expected


def test_a_restless_series_has_a_band_of_three_robust_deviations() -> None:
    found = verdict("total_tasks", day(0, 0), week(100, 20, 180, 100, 40, 160, 100))
    assert (found["median"], found["mad"], found["upper"]) == (100, 60, round(100 + 3 * 1.4826 * 60, 3))
    assert found["verdict"] == "normal"


@pytest.mark.parametrize(("days", "expected"), [(4, "insufficient data"), (5, "anomaly")])
def test_fewer_than_five_days_allow_no_verdict(days: int, expected: str) -> None:
    assert verdict("total_tasks", day(0, 900), week(*[100] * days))["verdict"] == expected


def test_days_without_tasks_say_nothing_about_rates_and_times() -> None:
    past = week(100, 0, 0, 0, 100, 100, 100)
    trend = trend_analysis(day(0, 0), past)
    assert [one["verdict"] for one in trend["verdicts"]] == ["anomaly", *["insufficient data"] * 2]
    assert verdict("failure_rate", day(0, 100, failed=90), past)["days"] == 4


def test_an_anomaly_is_listed_with_what_a_reader_needs_to_recompute_it() -> None:
    [anomaly] = trend_analysis(day(0, 100, failed=40), week(*[100] * 7))["anomalies"]
    assert anomaly == {
        "series": "failure_rate",
        "value": 40.0,
        "days": 7,
        "method": "anomaly if |value - median| > max(3 * 1.4826 * MAD, 0.5 * median, 10)",
        "verdict": "anomaly",
        "median": 0.0,
        "mad": 0.0,
        "lower": 0.0,
        "upper": 10.0,
    }
