from typing import Any

import pytest

from app.alerts.alert import Alert, parse_alert, parse_alerts

SEED = {"type": "test", "message": "测试", "severity": "warning"}


def test_the_seeds_minimal_form_is_an_alert() -> None:
    alert = parse_alert(SEED)
    assert (alert.type, alert.alertname, alert.message, alert.severity) == ("test", "Test", "测试", "warning")
    assert (alert.value, alert.threshold, alert.labels, alert.rule) == (None, None, {}, "test")


def test_an_alert_survives_the_way_through_plain_values() -> None:
    alert = Alert(
        type="disk_usage",
        alertname="DiskUsageHigh",
        message="/ 满了",
        severity="critical",
        rule="disk_usage_high",
        value=91.2,
        threshold=90,
        labels={"mount": "/"},
    )
    again = parse_alert(alert.to_dict())
    assert again == alert
    assert again.fingerprint == alert.fingerprint


@pytest.mark.parametrize("change", [{"severity": "critical"}, {"message": "别的"}, {"value": 3}, {"threshold": 1}])
def test_severity_value_and_text_are_not_identity(change: dict[str, Any]) -> None:
    assert parse_alert(SEED | change).fingerprint == parse_alert(SEED).fingerprint


@pytest.mark.parametrize("change", [{"labels": {"mount": "/"}}, {"rule": "other"}, {"type": "other"}])
def test_rule_and_labels_are_identity(change: dict[str, Any]) -> None:
    assert parse_alert(SEED | change).fingerprint != parse_alert(SEED).fingerprint


def test_the_order_of_labels_is_not_identity() -> None:
    one = parse_alert(SEED | {"labels": {"a": "1", "b": "2"}})
    other = parse_alert(SEED | {"labels": {"b": "2", "a": "1"}})
    assert one.fingerprint == other.fingerprint
    assert len(one.fingerprint) == 16


@pytest.mark.parametrize(
    ("item", "why"),
    [
        (None, "not None"),
        ("disk full", "type str"),
        ([], "type list"),
        ({}, "type is missing"),
        ({"type": "x", "severity": "warning"}, "message is missing"),
        (SEED | {"type": ""}, "type is empty"),
        (SEED | {"type": "  "}, "type"),
        (SEED | {"type": 7}, "type is a value of type int"),
        (SEED | {"type": "x" * 101}, "at most 100"),
        (SEED | {"message": ["测试"]}, "type list"),
        (SEED | {"severity": "warnin"}, 'did you mean "warning"?'),
        (SEED | {"severity": "Critical"}, 'did you mean "critical"?'),
        (SEED | {"severity": None}, "None is none of"),
        (SEED | {"severity": ["warning"]}, "none of critical, warning, error"),
        (SEED | {"value": "12"}, "value '12' is no finite number"),
        (SEED | {"value": True}, "value True"),
        (SEED | {"value": float("nan")}, "value nan"),
        (SEED | {"value": 10**400}, "value 1000"),
        (SEED | {"threshold": float("inf")}, "threshold inf"),
        (SEED | {"labels": "mount=/"}, "labels is a value of type str"),
        (SEED | {"labels": {1: "x"}}, "label name 1"),
        (SEED | {"labels": {"": "x"}}, "label name ''"),
        (SEED | {"labels": {"mount": None}}, "label 'mount' is None"),
        (SEED | {"labels": {"mount": "x" * 257}}, "at most 256"),
        (SEED | {"labels": {f"l{number}": "x" for number in range(17)}}, "at most 16"),
    ],
)
def test_a_malformed_alert_is_refused_with_the_reason(item: object, why: str) -> None:
    alerts, refusals = parse_alerts([SEED, item, SEED])
    assert len(alerts) == 2
    assert [refusal.index for refusal in refusals] == [1]
    assert why in refusals[0].why
    assert "\n" not in refusals[0].why


@pytest.mark.parametrize("items", [None, "text", SEED, 3])
def test_what_is_no_list_is_refused_as_a_whole(items: object) -> None:
    alerts, refusals = parse_alerts(items)
    assert alerts == []
    assert [refusal.index for refusal in refusals] == [None]
    assert "come as a list" in refusals[0].why


def test_a_message_of_2000_characters_stays_whole_and_a_longer_one_is_cut() -> None:
    assert parse_alert(SEED | {"message": "错" * 2000}).message == "错" * 2000
    assert parse_alert(SEED | {"message": "错" * 2001}).message == "错" * 1999 + "…"


def test_undecodable_file_names_in_a_message_become_text() -> None:
    alert = parse_alert(SEED | {"message": "bad \udcff", "labels": {"path": "a\udcfe"}})
    assert alert.message == "bad \\udcff"
    assert alert.labels == {"path": "a\\udcfe"}


def test_keys_we_do_not_know_are_passed_over() -> None:
    assert parse_alert(SEED | {"extra": object()}) == parse_alert(SEED)
