"""What the default rules read in clean-ups, in samples and in the runs of jobs."""

from typing import Any

import pytest
from alert_readings import NAMES, names, readings

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
