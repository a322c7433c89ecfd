from typing import Any

import pytest

from app.alerts.rules import evaluate_cleanup, evaluate_daily, evaluate_disk
from app.alerts.settings import AlertSettings

RULES = AlertSettings().rules


def report(
    *, total: int = 100, failure_rate: float | None = 3.6, errors: dict[str, int] | None = None
) -> dict[str, Any]:
    return {
        "date": "2026-03-09",
        "task_statistics": {"total_tasks": total, "failure_rate": failure_rate},
        "error_statistics": {"error_categories": errors or {}},
    }


def mount(
    path: str = "/",
    usage: float = 70.0,
    inodes: float | None = 5.0,
    forecast: dict[str, Any] | None = None,
    inode_forecast: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return {
        "mount": path,
        "usage_percent": usage,
        "inodes_percent": inodes,
        "free_gb": 149.8,
        "forecast": forecast or full_in(None),
        "inode_forecast": inode_forecast if inodes is not None else None,
    }


def full_in(hours: float | None, method: str = "slow") -> dict[str, Any]:
    """A forecast; None hours for what does not fill."""
    at, by = (None, None) if hours is None else ("2026-03-12T08:00+08:00", method)
    return {"hours_left": hours, "full_at": at, "method": by}


def disk(*mounts: dict[str, Any], errors: list[Any] | None = None) -> dict[str, Any]:
    return {"success": bool(mounts), "mounts": list(mounts), "errors": errors or []}


def test_a_day_within_all_bounds_is_quiet() -> None:
    assert evaluate_daily(report(), RULES) == []


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (20.0, []),
        (20.01, [("warning", 20)]),
        (50.0, [("warning", 20)]),
        (50.01, [("critical", 50)]),
        (100.0, [("critical", 50)]),
    ],
)
def test_failure_rate_gives_at_most_one_alert_strictly_above_its_threshold(rate: float, expected: list[Any]) -> None:
    alerts = evaluate_daily(report(failure_rate=rate), RULES)
    assert [(alert.severity, alert.threshold) for alert in alerts] == expected


def test_a_failure_rate_of_fewer_than_five_tasks_is_quiet() -> None:
    assert evaluate_daily(report(total=4, failure_rate=75.0), RULES) == []
    assert len(evaluate_daily(report(total=5, failure_rate=60.0), RULES)) == 1


def test_a_message_names_value_threshold_and_day_in_one_line() -> None:
    (alert,) = evaluate_daily(report(total=1250, failure_rate=62.5), RULES)
    assert alert.message == "62.5 % of the 1250 tasks of 2026-03-09 failed; the threshold is 50 %"
    assert (alert.type, alert.alertname, alert.rule) == (
        "failure_rate",
        "TaskFailureRateHigh",
        "task_failure_rate_high",
    )


def test_a_rising_rate_is_the_same_alert() -> None:
    (warning,) = evaluate_daily(report(failure_rate=30.0), RULES)
    (critical,) = evaluate_daily(report(failure_rate=60.0), RULES)
    assert warning.severity != critical.severity
    assert warning.fingerprint == critical.fingerprint


def test_a_day_without_tasks_warns_once_and_says_nothing_of_rates() -> None:
    (alert,) = evaluate_daily(report(total=0, failure_rate=None), RULES)
    assert (alert.alertname, alert.severity, alert.value) == ("NoTasksProcessed", "warning", 0)


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
    alerts = evaluate_daily(report(errors=errors), RULES)
    assert [alert.alertname for alert in alerts] == (["ErrorConcentration"] if fires else [])
    assert all(alert.labels == {"category": "二维码识别错误"} for alert in alerts)
    assert all("二维码识别错误" in alert.message for alert in alerts)


@pytest.mark.parametrize(
    ("usage", "severity"), [(80.0, None), (80.01, "warning"), (90.0, "warning"), (90.01, "critical")]
)
@pytest.mark.parametrize("key", ["usage", "inodes"])
def test_disk_and_inodes_alert_strictly_above_80_and_90(key: str, usage: float, severity: str | None) -> None:
    alerts = evaluate_disk(disk(mount(**{key: usage})), RULES)  # type: ignore[arg-type]
    assert [alert.severity for alert in alerts] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("hours", "severity"),
    [(None, None), (168.0, None), (167.9, "warning"), (24.0, "warning"), (23.9, "critical"), (0.0, "critical")],
)
def test_a_disk_that_will_be_full_in_a_week_warns_and_in_a_day_is_critical(
    hours: float | None, severity: str | None
) -> None:
    alerts = evaluate_disk(disk(mount("/数据", forecast=full_in(hours))), RULES)
    assert [(alert.alertname, alert.severity) for alert in alerts] == ([("DiskWillFill", severity)] if severity else [])
    assert all(alert.labels == {"mount": "/数据", "of": "space"} for alert in alerts)


def test_space_and_inodes_that_run_out_are_alerts_of_their_own() -> None:
    found = mount("/数据", forecast=full_in(30.5), inode_forecast=full_in(2.0, "fast"))
    space, inodes = evaluate_disk(disk(found), RULES)
    assert space.message == "/数据 will have no space left in 30.5 h, at 2026-03-12T08:00+08:00 (slow estimate)"
    assert inodes.message.startswith("/数据 will have no inodes left in 2 h, ")
    assert (space.severity, inodes.severity) == ("warning", "critical")
    assert space.fingerprint != inodes.fingerprint


def test_a_full_disk_is_told_by_its_usage_and_not_twice() -> None:
    full = full_in(0.0) | {"method": None}
    assert [alert.alertname for alert in evaluate_disk(disk(mount(usage=100.0, forecast=full)), RULES)] == [
        "DiskUsageHigh"
    ]


def test_a_mount_without_a_forecast_is_never_taken_for_one_that_does_not_fill() -> None:
    found = mount()
    del found["forecast"]
    (alert,) = evaluate_disk(disk(found), RULES)
    assert (alert.alertname, alert.labels) == ("RuleEvaluationFailed", {"rule": "disk_will_fill"})


def test_each_full_mount_is_an_alert_of_its_own() -> None:
    alerts = evaluate_disk(disk(mount("/", 95.0), mount("/数据", 85.0), mount("/ok", 10.0)), RULES)
    assert [(alert.labels["mount"], alert.severity) for alert in alerts] == [("/", "critical"), ("/数据", "warning")]
    assert len({alert.fingerprint for alert in alerts}) == 2


def test_a_file_system_without_inode_numbers_is_not_judged_by_them() -> None:
    assert evaluate_disk(disk(mount(inodes=None)), RULES) == []


def test_a_mount_that_can_not_be_measured_is_said_beside_the_others() -> None:
    found = disk(mount(usage=85.0), errors=[{"path": "/gone", "why": "it does not exist"}])
    alerts = evaluate_disk(found, RULES)
    assert [alert.alertname for alert in alerts] == ["DiskUsageHigh", "DiskCheckErrors"]
    assert "/gone" in alerts[1].message


def test_no_measured_mount_is_never_taken_for_all_is_well() -> None:
    alerts = evaluate_disk(disk(errors=[{"path": "/gone", "why": "it does not exist"}]), RULES)
    failed = [alert for alert in alerts if alert.alertname == "RuleEvaluationFailed"]
    rules = {"disk_usage_high", "inode_usage_high", "disk_will_fill"}
    assert {alert.labels["rule"] for alert in failed} == rules
    assert len({alert.fingerprint for alert in failed}) == len(rules)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"task_statistics": None},
        {"task_statistics": []},
        report(failure_rate=None),
        report(total=-1),
        {"success": False},
    ],
)
def test_a_report_that_can_not_be_read_is_an_error_alert_for_each_rule_touched(document: dict[str, Any]) -> None:
    alerts = evaluate_daily(document, RULES)
    assert alerts
    assert {(alert.alertname, alert.severity) for alert in alerts} == {("RuleEvaluationFailed", "error")}


def test_a_rule_that_fails_does_not_stop_the_others() -> None:
    document = report(failure_rate=60.0)
    del document["error_statistics"]
    assert {a.alertname for a in evaluate_daily(document, RULES)} == {"TaskFailureRateHigh", "RuleEvaluationFailed"}


def cleanup(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"run_id": "r1", "errors": [], "error_count": 0, "refused_paths": {}, "held_roots": []}
    cleaned = {"tasks_cleaned": 0, "receipts_cleaned": 0, "files_cleaned": 0, "logs_cleaned": 0}
    return {**document, **cleaned, "rules": [], **changes}


def rule(**changes: Any) -> dict[str, Any]:
    quiet = {"name": "订单", "state": "done", "reasons": [], "rows": 0, "usual_rows": None}
    return {**quiet, "lag_hours": 0.0, "lag_growing": 0, **changes}


def names(document: dict[str, Any]) -> list[str]:
    return [alert.alertname for alert in evaluate_cleanup(document, RULES)]


@pytest.mark.parametrize(
    ("found", "value", "words"),
    [
        ([{"path": "x", "why": "changed"}, {"path": "y"}], 2, '"why": "changed"'),
        ({"link": 2, "changed": 1}, 3, "link 2, changed 1"),
        (4, 4, "see the report"),
    ],
)
def test_refused_paths_are_errors(found: Any, value: int, words: str) -> None:
    (alert,) = evaluate_cleanup(cleanup(refused_paths=found), RULES)
    assert (alert.severity, alert.value) == ("error", value)
    assert words in alert.message


@pytest.mark.parametrize(("cleaned", "alerts"), [(99, []), (98, ["CleanupErrors"]), (0, ["CleanupErrors"])])
def test_errors_are_told_above_one_percent_of_what_was_tried(cleaned: int, alerts: list[str]) -> None:
    document = cleanup(errors=["回证/a.png: EACCES"], error_count=1, files_cleaned=cleaned)
    assert names(document) == alerts
    assert all("回证/a.png" in alert.message for alert in evaluate_cleanup(document, RULES))


@pytest.mark.parametrize("state", ["held", "refused"])
def test_a_rule_that_did_not_run_is_an_error_with_its_reason(state: str) -> None:
    (alert,) = evaluate_cleanup(cleanup(rules=[rule(), rule(name="归档", state=state, reasons=["51 %", "x"])]), RULES)
    assert (alert.alertname, alert.severity, alert.labels) == ("CleanupHeld", "error", {"rule": "归档"})
    assert alert.message == f"the rule 归档 was {state} in run r1, nothing was deleted there: 51 %"


def test_a_held_root_is_an_error() -> None:
    (alert,) = evaluate_cleanup(cleanup(held_roots=[{"root": "uploads", "why": "no mark"}]), RULES)
    assert (alert.alertname, alert.labels) == ("CleanupHeld", {"root": "uploads"})


def test_a_folder_rule_that_a_guard_held_is_an_error_and_one_of_a_held_root_is_told_once() -> None:
    folders = [
        {"name": "temp", "root": "temp", "state": "held", "reasons": ["55 %", "x"]},
        {"name": "logs", "root": "logs", "state": "held", "reasons": []},
    ]
    (alert,) = evaluate_cleanup(cleanup(folders=folders), RULES)
    assert (alert.alertname, alert.labels) == ("CleanupHeld", {"rule": "temp", "root": "temp"})
    assert "the folder rule temp was held in run r1" in alert.message


@pytest.mark.parametrize(
    ("rows", "usual", "alerts"),
    [(3001, 1000, ["CleanupDeletedUnusual"]), (3000, 1000, []), (999, 1, []), (5000, None, []), (5000, 0, [])],
)
def test_an_unusual_amount_is_told(rows: int, usual: int | None, alerts: list[str]) -> None:
    assert names(cleanup(rules=[rule(rows=rows, usual_rows=usual)])) == alerts


@pytest.mark.parametrize(("growing", "alerts"), [(2, []), (3, ["RetentionLag"])])
def test_a_lag_that_grew_three_times_in_a_row_is_told(growing: int, alerts: list[str]) -> None:
    assert names(cleanup(rules=[rule(lag_growing=growing, lag_hours=30.5)])) == alerts


def test_a_clean_cleanup_is_quiet() -> None:
    assert names(cleanup(rules=[rule()])) == []
    assert names(cleanup(tasks_cleaned=5, refused_paths=0)) == []


def test_a_rule_switched_off_is_not_judged() -> None:
    rules = AlertSettings(rules={"task_failure_rate_high": {"enabled": False}}).rules
    assert evaluate_daily(report(failure_rate=99.0), rules) == []


def test_hostile_names_end_up_as_text_in_one_line() -> None:
    (alert,) = evaluate_daily(report(errors={"{value.__class__}\n\x1b[31m": 30}), RULES)
    assert "{value.__class__}" in alert.message
    assert "\n" not in alert.message
