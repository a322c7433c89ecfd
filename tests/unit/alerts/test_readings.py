from typing import Any

import pytest

from app.alerts.alert import Severity
from app.alerts.facts import FAMILIES, SOURCES, facts_of, family_of
from app.alerts.rules.readings import RULE_FAILED, Reading, read_facts, wilson
from app.alerts.rules.rule import Rule
from app.alerts.settings import AlertSettings
from app.core.settings_reader import read

RULES = AlertSettings().rules
NAMES = {rule_id: rule.alertname for rule_id, rule in RULES.items()}


def readings(document: dict[str, Any], family: str, rules: dict[str, Rule] | None = None) -> list[Reading]:
    """Return what is bad in a document."""
    return [one for one in read_facts(family, document, rules or RULES, {}) if one.level is not None]


def names(document: dict[str, Any], family: str) -> list[str]:
    return [NAMES[one.rule_id] for one in readings(document, family)]


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
    return {"hours_left": hours, "full_at": at, "method": by, "verdict": "steady" if hours is None else "filling"}


def disk(*mounts: dict[str, Any], errors: list[Any] | None = None) -> dict[str, Any]:
    return {"success": bool(mounts), "mounts": list(mounts), "errors": errors or []}


def one_rule(**changes: Any) -> dict[str, Rule]:
    row = {"alertname": "Own", "type": "own", "source": "disk.usage_percent", "levels": {"warning": 80}, "message": "m"}
    return {"own": read(Rule, row | changes)}


def level_of(rules: dict[str, Rule], document: dict[str, Any], before: Severity | None = None) -> Severity | None:
    """Return the level of the one figure in a document whose alert had the level `before`."""
    (family,) = {family_of(rule.source) for rule in rules.values()}
    (fresh,) = (one for one in read_facts(family, document, rules, {}) if one.rule_id != RULE_FAILED)
    present = {fresh.fingerprint: before} if before else {}
    (found,) = (one for one in read_facts(family, document, rules, present) if one.rule_id != RULE_FAILED)
    return found.level


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


# Disks and hysteresis


@pytest.mark.parametrize(
    ("usage", "severity"), [(80.0, None), (80.01, "warning"), (90.0, "warning"), (90.01, "critical")]
)
@pytest.mark.parametrize("key", ["usage", "inodes"])
def test_disk_and_inodes_alert_strictly_above_80_and_90(key: str, usage: float, severity: str | None) -> None:
    found = readings(disk(mount(**{key: usage})), "disk")  # type: ignore[arg-type]
    assert [one.level for one in found] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("usage", "before", "now"),
    [
        (77.01, None, None),
        (77.01, "warning", "warning"),
        (77.0, "warning", None),
        (87.01, "warning", "warning"),
        (87.01, "critical", "critical"),
        (87.0, "critical", "warning"),
        (90.01, "warning", "critical"),
        (77.01, "critical", "warning"),
        (77.0, "critical", None),
    ],
)
def test_a_level_is_left_three_points_below_where_it_is_reached(
    usage: float, before: Severity | None, now: Severity | None
) -> None:
    rules = {"disk_usage_high": RULES["disk_usage_high"]}
    assert level_of(rules, disk(mount(usage=usage)), before=before) == now


@pytest.mark.parametrize(("usage", "now"), [(60.01, "warning"), (60.0, None)])
def test_where_a_level_is_left_can_be_set(usage: float, now: Severity | None) -> None:
    rules = one_rule(levels={"warning": {"raise": 80, "clear": 60}})
    assert level_of(rules, disk(mount(usage=usage)), before="warning") == now


@pytest.mark.parametrize(("waiting", "now"), [(70, None), (71, "warning"), (700, "warning"), (701, "critical")])
def test_a_queue_must_shrink_to_seventy_percent(waiting: int, now: Severity | None) -> None:
    rules = {"queue_backlog": RULES["queue_backlog"]}
    document = {"depths": {"receipt": waiting}, "wait_p95_s": None, "wait_samples": 0}
    assert level_of(rules, document, before="critical") == now


@pytest.mark.parametrize(
    ("op", "value", "level"),
    [(">", 3, None), (">=", 3, "error"), (">=", 2, None), ("<", 3, None), ("<=", 3, "error"), ("==", 3, "error")],
)
def test_every_operator_is_judged_at_its_threshold(op: str, value: int, level: str | None) -> None:
    rules = one_rule(source="services.broker_failures", op=op, levels={"error": 3})
    assert level_of(rules, {"services": [{"name": "broker", "failures": value, "why": "no answer"}]}) == level


@pytest.mark.parametrize(
    ("hours", "severity"),
    [(None, None), (168.0, None), (167.9, "warning"), (24.0, "warning"), (23.9, "critical"), (0.0, "critical")],
)
def test_a_disk_that_will_be_full_in_a_week_warns_and_in_a_day_is_critical(
    hours: float | None, severity: str | None
) -> None:
    found = readings(disk(mount("/数据", forecast=full_in(hours))), "disk")
    assert [(one.rule_id, one.level) for one in found] == ([("disk_will_fill", severity)] if severity else [])
    assert all(one.labels == {"mount": "/数据", "of": "space"} for one in found)


def test_space_and_inodes_that_run_out_are_alerts_of_their_own() -> None:
    found = mount("/数据", forecast=full_in(30.5), inode_forecast=full_in(2.0, "fast"))
    space, inodes = readings(disk(found), "disk")
    assert space.message == "/数据 will have no space left in 30.5 h, at 2026-03-12T08:00+08:00 (slow estimate)"
    assert inodes.message.startswith("/数据 will have no inodes left in 2 h, ")
    assert (space.level, inodes.level) == ("warning", "critical")
    assert space.fingerprint != inodes.fingerprint


@pytest.mark.parametrize(("verdict", "facts"), [("steady", [None]), ("insufficient data", []), ("full", [])])
def test_a_disk_that_is_known_not_to_fill_is_told_from_one_of_which_nothing_is_known(
    verdict: str, facts: list[None]
) -> None:
    document = disk(mount(forecast={**full_in(None), "verdict": verdict}))
    assert [fact.value for fact in facts_of("disk.will_fill", document)] == facts


def test_a_full_disk_is_told_by_its_usage_and_not_twice() -> None:
    full = full_in(0.0) | {"method": None, "verdict": "full"}
    assert names(disk(mount(usage=100.0, forecast=full)), "disk") == ["DiskUsageHigh"]


def test_a_mount_without_a_forecast_is_never_taken_for_one_that_does_not_fill() -> None:
    found = mount()
    del found["forecast"]
    (failed,) = readings(disk(found), "disk")
    assert (failed.rule_id, failed.labels) == (RULE_FAILED, {"rule": "disk_will_fill"})
    assert failed.message == "rule disk_will_fill could not be judged: disk.will_fill: 'forecast' is missing"


def test_each_full_mount_is_an_alert_of_its_own() -> None:
    found = readings(disk(mount("/", 95.0), mount("/数据", 85.0), mount("/ok", 10.0)), "disk")
    assert [(one.labels["mount"], one.level) for one in found] == [("/", "critical"), ("/数据", "warning")]
    assert len({one.fingerprint for one in found}) == 2


def test_a_file_system_without_inode_numbers_is_not_judged_by_them() -> None:
    assert readings(disk(mount(inodes=None)), "disk") == []


def test_a_mount_that_can_not_be_measured_is_said_beside_the_others() -> None:
    found = readings(disk(mount(usage=85.0), errors=[{"path": "/gone", "why": "it does not exist"}]), "disk")
    assert [one.rule_id for one in found] == ["disk_usage_high", "disk_check_errors"]
    assert "/gone" in found[1].message


# What can't be judged


def test_no_measured_mount_is_never_taken_for_all_is_well() -> None:
    found = readings(disk(errors=[{"path": "/gone", "why": "it does not exist"}]), "disk")
    failed = [one for one in found if one.rule_id == RULE_FAILED]
    rules = {"disk_usage_high", "inode_usage_high", "disk_will_fill"}
    assert {one.labels["rule"] for one in failed} == rules
    assert len({one.fingerprint for one in failed}) == len(rules)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"task_statistics": None},
        {"task_statistics": []},
        report(failure_rate=None),
        report(failure_rate=float("nan")),
        report(failure_rate=10**400),
        report(total=10**400),
        report(total=-1),
        {"success": False},
    ],
)
def test_a_report_that_can_not_be_read_is_an_error_for_each_rule_touched(document: dict[str, Any]) -> None:
    found = readings(document, "daily")
    assert found
    assert {(one.rule_id, one.level) for one in found} == {(RULE_FAILED, "error")}


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "alerting"])
@pytest.mark.parametrize("document", [{}, {"mounts": 3}, {"services": [{}]}, {"facts": [None]}])
def test_no_document_of_any_family_raises(family: str, document: dict[str, Any]) -> None:
    assert {one.rule_id for one in readings(document, family)} == {RULE_FAILED}


def test_a_rule_that_fails_does_not_stop_the_others() -> None:
    document = report(failure_rate=70.0)
    del document["error_statistics"]
    assert set(names(document, "daily")) == {"TaskFailureRateHigh", "RuleEvaluationFailed"}


def test_the_level_and_labels_of_failed_rules_can_be_set() -> None:
    row = {"levels": {"critical": 0}, "labels": {"component": "alerts"}}
    rules = read(AlertSettings, {"rules": {RULE_FAILED: row}}).rules
    bad, good = (read_facts("daily", document, rules, {}) for document in ({}, report()))
    assert {one.level for one in bad} == {"critical"}
    failed = {one.fingerprint for one in bad}
    assert {one.fingerprint for one in good if one.rule_id == RULE_FAILED} == failed


def test_missing_figures_are_an_alert_only_where_the_rule_says_so() -> None:
    document = {"services": []}
    kept, told = one_rule(source="services.failures"), one_rule(source="services.failures", no_data="alert")
    assert readings(document, "services", kept) == []
    (missing,) = readings(document, "services", told)
    assert (missing.level, missing.labels) == ("warning", {"no_data": "services.failures"})
    again = read_facts("services", {"services": [{"name": "x", "failures": 0}]}, told, {})
    assert {one.fingerprint: one.level for one in again}[missing.fingerprint] is None


# Clean-up


def cleanup(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {"run_id": "r1", "errors": [], "error_count": 0, "refused_paths": {}, "held_roots": []}
    cleaned = {"tasks_cleaned": 0, "receipts_cleaned": 0, "files_cleaned": 0, "logs_cleaned": 0}
    return {**document, **cleaned, "rules": [], **changes}


def rule(**changes: Any) -> dict[str, Any]:
    quiet = {"name": "订单", "state": "done", "reasons": [], "rows": 0, "usual_rows": None}
    return {**quiet, "lag_hours": 0.0, "lag_growing": 0, **changes}


@pytest.mark.parametrize(
    ("found", "value", "words"),
    [
        ([{"path": "x", "why": "changed"}, {"path": "y"}], 2, '"why": "changed"'),
        ({"link": 2, "changed": 1}, 3, "link 2, changed 1"),
        (4, 4, "see the report"),
    ],
)
def test_refused_paths_are_errors(found: Any, value: int, words: str) -> None:
    (one,) = readings(cleanup(refused_paths=found), "cleanup")
    assert (one.level, one.value) == ("error", value)
    assert words in one.message


@pytest.mark.parametrize(("cleaned", "alerts"), [(99, []), (98, ["CleanupErrors"]), (0, ["CleanupErrors"])])
def test_errors_are_told_above_one_percent_of_what_was_tried(cleaned: int, alerts: list[str]) -> None:
    document = cleanup(errors=["回证/a.png: EACCES"], error_count=1, files_cleaned=cleaned)
    assert names(document, "cleanup") == alerts
    assert all("回证/a.png" in one.message for one in readings(document, "cleanup"))


@pytest.mark.parametrize("state", ["held", "refused"])
def test_a_rule_that_did_not_run_is_an_error_with_its_reason(state: str) -> None:
    held = rule(name="归档", state=state, reasons=["51 %", "x"])
    (one,) = readings(cleanup(rules=[rule(), held]), "cleanup")
    assert (one.rule_id, one.level, one.labels) == ("cleanup_held", "error", {"rule": "归档"})
    assert one.message == f"the rule 归档 was {state} in run r1, nothing was deleted there: 51 %"


def test_a_held_root_is_an_error() -> None:
    (one,) = readings(cleanup(held_roots=[{"root": "uploads", "why": "no mark"}]), "cleanup")
    assert (one.rule_id, one.labels) == ("cleanup_held", {"root": "uploads"})


def test_a_folder_rule_that_a_guard_held_is_an_error_and_one_of_a_held_root_is_told_once() -> None:
    folders = [
        {"name": "temp", "root": "temp", "state": "held", "reasons": ["55 %", "x"]},
        {"name": "logs", "root": "logs", "state": "held", "reasons": []},
    ]
    (one,) = readings(cleanup(folders=folders), "cleanup")
    assert (one.rule_id, one.labels) == ("cleanup_held", {"rule": "temp", "root": "temp"})
    assert "the folder rule temp was held in run r1" in one.message


@pytest.mark.parametrize(
    ("rows", "usual", "alerts"),
    [(3001, 1000, ["CleanupDeletedUnusual"]), (3000, 1000, []), (999, 1, []), (5000, None, []), (5000, 0, [])],
)
def test_an_unusual_amount_is_told(rows: int, usual: int | None, alerts: list[str]) -> None:
    assert names(cleanup(rules=[rule(rows=rows, usual_rows=usual)]), "cleanup") == alerts


@pytest.mark.parametrize(("growing", "alerts"), [(2, []), (3, ["RetentionLag"])])
def test_a_lag_that_grew_three_times_in_a_row_is_told(growing: int, alerts: list[str]) -> None:
    assert names(cleanup(rules=[rule(lag_growing=growing, lag_hours=30.5)]), "cleanup") == alerts


def test_a_clean_cleanup_is_quiet() -> None:
    assert names(cleanup(rules=[rule()]), "cleanup") == []
    assert names(cleanup(tasks_cleaned=5, refused_paths=0), "cleanup") == []


# What the monitor samples


@pytest.mark.parametrize(
    ("family", "document", "expected"),
    [
        ("system", {"memory_percent": 80.0, "cpu_percent": 90.0}, []),
        ("system", {"memory_percent": 80.1, "cpu_percent": 90.1}, [("MemoryHigh", "warning"), ("CpuHigh", "warning")]),
        ("queues", {"depths": {"低": 100}, "wait_p95_s": 300, "wait_samples": 40}, []),
        (
            "queues",
            {"depths": {"低": 101, "高": 1001}, "wait_p95_s": 301, "wait_samples": 40},
            [("QueueBacklog", "warning"), ("QueueBacklog", "critical"), ("QueueWaitHigh", "warning")],
        ),
        ("workers", {"workers": [{"name": "夜@vm", "silent_s": 120.0, "deaths": 0}]}, []),
        ("workers", {"workers": [{"name": "夜@vm", "silent_s": 121.0, "deaths": 0}]}, [("WorkerDown", "warning")]),
        ("workers", {"workers": [{"name": "夜@vm", "silent_s": 601.0, "deaths": 0}]}, [("WorkerDown", "critical")]),
        ("workers", {"workers": [{"name": "夜@vm", "silent_s": 0.0, "deaths": 2}]}, []),
        ("workers", {"workers": [{"name": "夜@vm", "silent_s": 0.0, "deaths": 3}]}, [("WorkerCrashing", "warning")]),
        ("workers", {"workers": [{"name": "夜@vm", "silent_s": 0.0, "deaths": 9}]}, [("WorkerCrashing", "warning")]),
        ("workers", {"workers": [{"name": "夜@vm", "silent_s": 0.0, "deaths": 10}]}, [("WorkerCrashing", "critical")]),
        ("services", {"services": [{"name": "broker", "failures": 2, "why": "x"}]}, []),
        ("services", {"services": [{"name": "broker", "failures": 3, "why": "x"}]}, [("BrokerDown", "critical")]),
        ("services", {"services": [{"name": "database", "failures": 3}]}, [("DatabaseDown", "critical")]),
        ("services", {"services": [{"name": "物流", "failures": 3}]}, [("ServiceDown", "critical")]),
        ("services", {"services": [{"name": "物流", "failures": 0, "latency_s": 1.1}]}, [("ServiceSlow", "warning")]),
        ("monitoring", {"silent_s": 300}, []),
        ("monitoring", {"silent_s": 301}, [("MonitoringStale", "error")]),
        ("channels", {"broken": []}, []),
        ("channels", {"broken": [{"target": "钉钉", "why": "403"}]}, [("NotificationChannelBroken", "error")]),
        ("schedule", {"facts": []}, []),
        (
            "schedule",
            {"facts": [{"fact": "BeatDown", "seconds": 61.0, "since": "2026-03-09T20:00:00+00:00"}]},
            [("BeatDown", "critical")],
        ),
    ],
)
def test_samples_are_judged_on_both_sides_of_their_thresholds(
    family: str, document: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    found = [(NAMES[one.rule_id], one.level) for one in readings(document, family)]
    assert found == expected


# Labels, words, names


def test_a_rule_switched_off_is_not_judged() -> None:
    rules = read(AlertSettings, {"rules": {"task_failure_rate_high": {"enabled": False}}}).rules
    assert readings(report(failure_rate=99.0), "daily", rules) == []


def test_labels_of_the_rule_are_part_of_the_alerts_identity() -> None:
    plain, labelled = one_rule(), one_rule(labels={"component": "上传"})
    (bare,), (found,) = (readings(disk(mount(usage=85.0)), "disk", rules) for rules in (plain, labelled))
    assert found.labels == {"mount": "/", "component": "上传"}
    assert found.fingerprint != bare.fingerprint


def test_annotations_are_filled_in_like_the_message() -> None:
    rules = one_rule(annotations={"summary": "{mount} 已用 {value} %", "runbook_url": "https://wiki.example/disk"})
    (found,) = readings(disk(mount("/数据", usage=85.0)), "disk", rules)
    assert found.annotations == {"summary": "/数据 已用 85 %", "runbook_url": "https://wiki.example/disk"}


def test_hostile_names_end_up_as_text_in_one_line() -> None:
    (found,) = readings(report(errors={"{value.__class__}\n\x1b[31m": 30}), "daily")
    assert "{value.__class__}" in found.message
    assert "\n" not in found.message


def test_a_name_that_no_database_takes_is_spelt_so_that_it_comes_back_the_same() -> None:
    (found,) = readings(disk(mount("/\udc80\0", usage=85.0)), "disk", one_rule())
    assert found.labels == {"mount": r"/\udc80\x00"}


def test_only_what_is_bad_or_was_told_of_gets_a_message() -> None:
    (quiet,) = (one for one in read_facts("disk", disk(mount()), one_rule(), {}) if one.rule_id == "own")
    (open_one,) = (
        one
        for one in read_facts("disk", disk(mount()), one_rule(message="{value} %"), {quiet.fingerprint: "warning"})
        if one.rule_id == "own"
    )
    assert (quiet.level, quiet.message) == (None, "")
    assert (open_one.level, open_one.message, open_one.threshold) == (None, "now 70 %", 80)


def ran(succeeded: int, failed: int, job: str = "disk-space-check") -> dict[str, Any]:
    return {"jobs": [{"job": job, "succeeded": succeeded, "failed": failed}]}


@pytest.mark.parametrize(
    ("succeeded", "failed", "fires"),
    [
        (24, 0, False),
        (19, 5, False),
        (18, 6, True),
        (253, 35, False),
        (245, 43, True),
        (0, 19, False),
        (0, 20, True),
        (0, 0, False),
    ],
)
def test_a_success_rate_fires_where_it_is_certain_to_be_too_low(succeeded: int, failed: int, *, fires: bool) -> None:
    assert names(ran(succeeded, failed), "runs") == (["SuccessRateLow"] if fires else [])


def test_a_success_rate_names_its_job_and_both_figures() -> None:
    (found,) = readings(ran(18, 6), "runs")
    assert (found.labels, found.value, found.samples) == ({"job": "disk-space-check"}, 75.0, 24)
    assert "75 % of the 24 runs of disk-space-check in a day succeeded, 6 failed" in found.message
    assert "at most 88.0 % with 95 % certainty" in found.message


@pytest.mark.parametrize(("late_h", "expected"), [(0.0, []), (1.0, []), (1.02, ["ReportMissing"])])
def test_a_report_is_told_as_missing_more_than_an_hour_after_its_time(late_h: float, expected: list[str]) -> None:
    document = {"missing": [{"date": "2026-03-09", "late_h": late_h}]}
    assert names(document, "reports") == expected


def test_a_missing_report_names_what_mends_it() -> None:
    (found,) = readings({"missing": [{"date": "2026-03-09", "late_h": 2.5}]}, "reports")
    assert found.labels == {"date": "2026-03-09"}
    assert "`gengfu report backfill --from 2026-03-09 --to 2026-03-09`" in found.message
    assert "`gengfu run generate-daily-statistics --day 2026-03-09`" in found.message


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_says_what_it_is(source: str) -> None:
    about = SOURCES[source]
    assert about.tells
    assert about.tells[0].islower() or about.tells[0].isdigit()
    assert source.count(".") == 1
