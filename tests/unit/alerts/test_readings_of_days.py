"""What the default rules read in a daily report."""

import pytest
from alert_readings import RULES, level_of, one_rule, readings, report

from app.alerts.alert import Severity
from app.alerts.rules.readings import read_facts, wilson


def test_a_day_within_all_bounds_is_quiet() -> None:
    assert readings(report(), "daily") == []


# Rates


@pytest.mark.parametrize(
    ("percent", "samples", "bound"), [(40, 5, 11.76), (40, 20, 21.88), (0, 100, 0.0), (100, 5, 56.55)]
)
def test_wilsons_lower_bound_is_that_of_the_tables(percent: float, samples: int, bound: float) -> None:
    assert wilson(percent, samples) == pytest.approx(bound, abs=0.01)
    assert wilson(100 - percent, samples, upper=True) == pytest.approx(100 - bound, abs=0.01)


@pytest.mark.parametrize(
    ("failed", "total", "expected"),
    [
        (2, 5, None),
        (5, 5, None),
        (7, 20, None),
        (8, 20, "warning"),
        (8, 19, None),
        (210, 1000, None),
        (230, 1000, "warning"),
        (530, 1000, "warning"),
        (540, 1000, "critical"),
        (1000, 1000, "critical"),
    ],
)
def test_a_rate_fires_where_it_is_certain_to_exceed_its_threshold(
    failed: int, total: int, expected: Severity | None
) -> None:
    found = readings(report(total=total, failure_rate=100 * failed / total), "daily")
    assert [one.level for one in found] == ([expected] if expected else [])


def test_a_message_names_value_bound_threshold_and_day_in_one_line() -> None:
    (found,) = readings(report(total=1250, failure_rate=62.5), "daily")
    assert found.message == (
        "62.5 % of the 1250 tasks of 2026-03-09 failed; the threshold is 50 % (at least 59.8 % with 95 % certainty)"
    )
    assert (found.rule_id, found.threshold, found.samples) == ("task_failure_rate_high", 50, 1250)


@pytest.mark.parametrize(("rate", "expected"), [(15.1, "warning"), (15.0, None), (37.6, "warning"), (99.0, "critical")])
def test_a_rate_that_fires_ends_at_three_quarters_of_its_threshold(rate: float, expected: Severity | None) -> None:
    rules = {"task_failure_rate_high": RULES["task_failure_rate_high"]}
    assert level_of(rules, report(total=1000, failure_rate=rate), before="warning") == expected


@pytest.mark.parametrize(("rate", "known"), [(75.0, False), (15.1, False), (15.0, True), (0.0, True)])
def test_few_tasks_prove_nothing_unless_few_of_them_failed(rate: float, known: bool) -> None:  # noqa: FBT001 - a parameter of the table
    found = read_facts("daily", report(total=19, failure_rate=rate), RULES, {})
    (one,) = (each for each in found if each.rule_id == "task_failure_rate_high")
    assert (one.level, one.known) == (None, known)


def test_a_rate_that_is_too_low_needs_the_upper_bound_and_clears_by_a_quarter_of_what_is_missing() -> None:
    rules = one_rule(source="daily.failure_rate", op="<", levels={"warning": 90})
    assert rules["own"].thresholds[0].clear_at == 92.5
    assert level_of(rules, report(total=20, failure_rate=80.0)) is None
    assert level_of(rules, report(total=1000, failure_rate=87.0)) == "warning"
    assert level_of(rules, report(total=1000, failure_rate=92.4), before="warning") == "warning"
    assert level_of(rules, report(total=1000, failure_rate=92.5), before="warning") is None


def test_a_rising_rate_is_the_same_alert() -> None:
    (warning,) = readings(report(failure_rate=40.0), "daily")
    (critical,) = readings(report(failure_rate=70.0), "daily")
    assert (warning.level, critical.level) == ("warning", "critical")
    assert warning.fingerprint == critical.fingerprint


def test_a_day_without_tasks_warns_once_and_says_nothing_of_rates() -> None:
    (found,) = readings(report(total=0, failure_rate=None), "daily")
    assert (found.rule_id, found.level, found.value) == ("no_tasks_processed", "warning", 0)


@pytest.mark.parametrize(
    ("expected", "found"), [(None, "warning"), (0.0, None), (4.9, None), (5.0, None), (5.1, "warning"), (98, "warning")]
)
def test_a_day_without_tasks_is_told_only_where_more_than_five_were_expected(
    expected: float | None, found: str | None
) -> None:
    history = [{"date": "2026-03-08", "expected": 400.0}, {"date": "2026-03-09", "expected": expected}]
    document = report(total=0, failure_rate=None) | {"trend_analysis": {"history": history}}
    levels = [one.level for one in readings(document, "daily") if one.rule_id == "no_tasks_processed"]
    assert levels == ([found] if found else [])


def test_what_another_day_expected_says_nothing_of_this_one() -> None:
    document = report(total=0, failure_rate=None) | {
        "trend_analysis": {"history": [{"date": "2026-03-08", "expected": 0.0}]}
    }
    assert [one.level for one in readings(document, "daily") if one.rule_id == "no_tasks_processed"] == ["warning"]


@pytest.mark.parametrize(
    ("errors", "fires"),
    [
        ({"二维码识别错误": 10, "物流查询错误": 10}, False),
        ({"二维码识别错误": 11, "物流查询错误": 9}, True),
        ({"二维码识别错误": 19}, False),
        ({"二维码识别错误": 20}, True),
    ],
)
def test_error_concentration_needs_twenty_errors_and_more_than_half(errors: dict[str, int], fires: bool) -> None:  # noqa: FBT001 - a parameter of the table
    found = readings(report(errors=errors), "daily")
    assert [one.rule_id for one in found] == (["error_concentration"] if fires else [])
    assert all(one.labels == {"category": "二维码识别错误"} for one in found)
    assert all("二维码识别错误" in one.message for one in found)
