"""What rules read in the figures of disks, and at which level an alert begins and ends."""

import pytest
from alert_readings import RULES, disk, full_in, level_of, mount, names, one_rule, readings

from app.alerts.alert import Severity
from app.alerts.facts import facts_of
from app.alerts.rules.readings import RULE_FAILED

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
