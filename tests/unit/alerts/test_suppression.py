"""What holds an alert back."""

from datetime import timedelta
from typing import Any

import pytest
from alert_lab import NOON, an_instance

from app.alerts.notices.matchers import parse_matchers
from app.alerts.notices.silences import Silence
from app.alerts.notices.suppression import Flags, Inhibitors, flags, rules_that_inhibit
from app.alerts.rules.rule import Rule
from app.alerts.rules.windows import parse_window
from app.core.settings_reader import read

HOUR = timedelta(hours=1)
NOTHING = Inhibitors()


def rule(**changed: Any) -> Rule:
    given = {
        "alertname": "Trouble",
        "type": "trouble",
        "source": "disk.usage_percent",
        "levels": {"warning": 80, "critical": 90},
        "message": "{mount} is full",
    }
    return read(Rule, given | changed)


def silence(*matchers: str, **changed: Any) -> Silence:
    given: dict[str, Any] = {
        "id": "5e1ec7",
        "matchers": parse_matchers(matchers),
        "starts_at": NOON - HOUR,
        "ends_at": NOON + HOUR,
        "author": "王伟",
        "comment": "换盘",
        "created_at": NOON - HOUR,
    }
    return Silence(**given | changed)


@pytest.mark.parametrize(
    ("silenced", "matchers"),
    [
        (True, ["alertname=Trouble"]),
        (True, ["what=a", "severity=warning"]),
        (True, ["rule=trouble"]),
        (True, ["type=~tr.*"]),
        (False, ["what=a", "severity=critical"]),
        (False, ["alertname=Peace"]),
    ],
)
def test_a_silence_is_about_labels_and_what_every_alert_has(matchers: list[str], *, silenced: bool) -> None:
    found = flags(an_instance(), [silence(*matchers)], NOTHING, None, NOON)
    assert found.silenced_by == (("5e1ec7",) if silenced else ())
    assert found.quiet is found.silent is silenced


@pytest.mark.parametrize(
    ("at", "in_force"),
    [
        (-HOUR - timedelta(microseconds=1), False),
        (-HOUR, True),
        (HOUR - timedelta(microseconds=1), True),
        (HOUR, False),
    ],
)
def test_a_silence_has_its_first_instant_and_not_its_end(at: timedelta, *, in_force: bool) -> None:
    assert silence("what=a").in_force(NOON + at) is in_force


def test_a_silence_ended_by_hand_is_over_from_then_on() -> None:
    ended = silence("what=a", ended_at=NOON)
    assert ended.in_force(NOON - timedelta(seconds=1))
    assert not ended.in_force(NOON)


def test_a_recurring_silence_is_in_force_in_its_hours_only() -> None:
    window = parse_window({"from": "11:30", "to": "12:30", "timezone": "Asia/Shanghai"})
    weekly = silence("what=a", ends_at=NOON + timedelta(days=30), recurrence=window)
    assert weekly.in_force(NOON)
    assert not weekly.in_force(NOON + HOUR)
    assert weekly.in_force(NOON + timedelta(days=1))
    assert not weekly.in_force(NOON + timedelta(days=31))


ACKED: dict[str, Any] = {"acked_at": NOON - HOUR, "acked_by": "李娜", "ack_until": NOON + HOUR, "ack_level": "warning"}


@pytest.mark.parametrize(
    ("changed", "at", "acked"),
    [
        ({}, NOON, True),
        ({}, NOON + HOUR, False),
        ({"level": "critical"}, NOON, False),
        ({"level": "critical", "ack_level": "critical"}, NOON, True),
        ({"ack_level": "critical"}, NOON, True),
        ({"acked_at": None}, NOON, False),
    ],
)
def test_an_acknowledgement_holds_until_its_end_or_a_higher_level(changed: Any, at: Any, *, acked: bool) -> None:
    found = flags(an_instance(**ACKED | changed), [], NOTHING, None, at)
    assert found.acked is acked
    assert not found.quiet


def inhibited(by: str, other: dict[str, Any], labels: dict[str, str] | None = None) -> bool:
    own = an_instance("a", labels=labels or {})
    explains = an_instance("b", rule="broker_down", **other)
    found = flags(own, [], Inhibitors([explains, own]), rule(inhibited_by=[by]), NOON)
    assert found.inhibited_by in {None, explains.fingerprint}
    assert found.quiet is (found.inhibited_by is not None)
    assert not found.silent
    return found.quiet


def test_an_alert_that_fires_explains_another() -> None:
    assert inhibited("broker_down", {"labels": {"what": "a"}})
    assert inhibited("broker_down", {"labels": {"what": "a"}, "state": "recovering"})
    assert not inhibited("broker_down", {"labels": {"what": "a"}, "state": "pending"})
    assert not inhibited("broker_down", {"labels": {"what": "a"}, "state": "resolved"})
    assert not inhibited("database_down", {"labels": {"what": "a"}})


def test_labels_that_both_have_must_be_the_same() -> None:
    assert not inhibited("broker_down", {"labels": {"what": "b"}})
    assert inhibited("broker_down", {"labels": {"what": "a", "queue": "x"}})
    assert not inhibited("broker_down", {"labels": {"what": "a", "queue": "x"}}, {"queue": "y"})


def test_an_inhibitor_may_have_to_be_severe_enough() -> None:
    assert not inhibited("broker_down critical", {"labels": {"what": "a"}, "level": "error"})
    assert inhibited("broker_down critical", {"labels": {"what": "a"}, "level": "critical"})


def test_an_alert_does_not_explain_itself() -> None:
    own = an_instance(rule="broker_down")
    assert flags(own, [], Inhibitors([own]), rule(inhibited_by=["broker_down"]), NOON) == Flags()


def test_the_rules_that_may_inhibit_are_known() -> None:
    rules = {"x": rule(inhibited_by=["broker_down", "disk_usage_high critical"]), "y": rule()}
    assert rules_that_inhibit(rules) == {"broker_down", "disk_usage_high"}


def test_a_rule_is_muted_in_its_hours() -> None:
    muted = rule(mute_windows=[{"from": "12:00", "to": "13:00", "timezone": "Asia/Shanghai"}])
    assert flags(an_instance(), [], NOTHING, muted, NOON).muted
    assert flags(an_instance(), [], NOTHING, muted, NOON).silent
    assert not flags(an_instance(), [], NOTHING, muted, NOON + HOUR).quiet


def test_a_flapping_alert_is_held_until_it_has_been_calm() -> None:
    flapping = an_instance(flapping_since=NOON - HOUR, changes=(NOON - timedelta(minutes=4),), hold_s=300.0)
    assert flags(flapping, [], NOTHING, None, NOON).held_until == NOON + timedelta(minutes=1)
    assert flags(flapping, [], NOTHING, None, NOON + timedelta(minutes=1)).held_until is None
