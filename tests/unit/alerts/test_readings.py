"""What can not be judged, and the words and labels of what can."""

from typing import Any

import pytest
from alert_readings import disk, mount, names, one_rule, readings, report

from app.alerts.facts import FAMILIES, SOURCES
from app.alerts.rules.readings import RULE_FAILED, read_facts
from app.alerts.settings import AlertSettings
from app.core.settings_reader import read

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


@pytest.mark.parametrize("source", SOURCES)
def test_every_source_says_what_it_is(source: str) -> None:
    about = SOURCES[source]
    assert about.tells
    assert about.tells[0].islower() or about.tells[0].isdigit()
    assert source.count(".") == 1
