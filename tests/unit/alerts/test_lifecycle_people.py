"""Alerts that are acknowledged, flap or come from outside. Times are minutes since noon."""

from datetime import timedelta
from typing import Any

import pytest
from alert_life import FINGERPRINT, Life, at, flap
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.alert import Alert, Severity
from app.alerts.life.flapping import held_until
from app.alerts.life.instance import Instance
from app.alerts.life.lifecycle import advance_outside
from app.alerts.settings import AlertSettings

# Acknowledgement


def acked(life: Life, level: Severity) -> None:
    life.instances[FINGERPRINT] = life.alert.but(acked_at=at(1), acked_by="王伟", ack_until=at(999), ack_level=level)


def test_an_acknowledgement_ends_when_the_alert_rises_above_it() -> None:
    life = Life()
    life.see(0, "warning")
    acked(life, "warning")
    life.see(2, "warning")
    assert life.alert.acked_by == "王伟"
    life.see(3, "critical")
    assert (life.alert.acked_at, life.alert.acked_by, life.alert.ack_until, life.alert.ack_level) == (None,) * 4


def test_an_acknowledgement_of_a_higher_level_stays_below_it() -> None:
    life = Life()
    life.see(0, "critical")
    acked(life, "critical")
    life.see(2, "warning")
    life.see(3, "critical")
    assert life.alert.acked_by == "王伟"


def test_an_acknowledgement_ends_with_the_alert() -> None:
    life = Life()
    life.see(0, "warning")
    acked(life, "warning")
    life.see(2, None)
    life.see(3, "warning")
    assert life.alert.acked_at is None


# Flapping


def test_four_changes_within_an_hour_are_flapping_and_that_is_told_once() -> None:
    life = Life()
    assert flap(life, 0, 10, 20) == ["firing", "resolved", "firing"]
    assert flap(life, 30) == ["resolved", "flapping"]
    assert flap(life, 31, 32) == ["firing", "resolved"]
    assert life.alert.flapping_since == at(30)


@pytest.mark.parametrize(("fourth", "flapping"), [(59.9, True), (60, False)])
def test_changes_of_more_than_an_hour_ago_do_not_count(fourth: float, flapping: bool) -> None:  # noqa: FBT001 - a parameter of the table
    life = Life()
    flap(life, 0, 10, 20, fourth)
    assert (life.alert.flapping_since is not None) == flapping


def test_each_further_change_holds_it_half_as_long_again_up_to_an_hour() -> None:
    life = Life()
    flap(life, 0, 1, 2, 3)
    holds = [life.alert.hold_s]
    for minute in range(4, 12):
        flap(life, minute)
        holds.append(life.alert.hold_s)
    assert holds[:4] == [300, 450, 675, 1012.5]
    assert holds[-1] == 3600
    assert held_until(life.alert) == at(11 + 60)


@pytest.mark.parametrize(("minute", "calm"), [(7.9, False), (8, True)])
@pytest.mark.parametrize("by", ["tick", "evaluation"])
def test_an_alert_that_keeps_its_level_for_the_hold_is_calm_again(minute: float, calm: bool, by: str) -> None:  # noqa: FBT001 - a parameter of the table
    life = Life()
    flap(life, 0, 1, 2)
    assert life.see(3, "critical") == ["escalated", "flapping"]
    assert (life.tick(minute) if by == "tick" else life.see(minute, "critical")) == []
    assert (life.alert.flapping_since is None) == calm


def test_flapping_never_changes_the_state() -> None:
    life = Life()
    flap(life, 0, 1, 2, 3, 4)
    assert (life.alert.state, life.alert.flapping_since) == ("firing", at(3))


# Outside alerts


def told(name: str = "backlog", severity: Severity = "warning") -> Alert:
    return Alert(type=name, alertname="Backlog", message="积压", severity=severity, rule=name, labels={"queue": "低"})


def hear(life: Life, minute: float, *alerts: Alert, complete: bool = True) -> list[str]:
    return life.take(advance_outside(life.instances, "check-pending", alerts, at(minute), complete=complete))


def test_an_outside_alert_has_the_same_life() -> None:
    life = Life()
    assert hear(life, 0, told()) == ["firing"]
    assert hear(life, 1, told()) == []
    assert hear(life, 2, told(severity="critical")) == ["escalated"]
    assert hear(life, 90, told(severity="error")) == ["eased"]
    assert hear(life, 91) == ["resolved"]
    (instance,) = life.instances.values()
    assert instance.rule == "outside:check-pending/backlog"
    assert (instance.alert.fingerprint, instance.labels) == (instance.fingerprint, {"queue": "低"})


def test_a_source_that_does_not_name_all_it_knows_ends_nothing_by_leaving_it_out() -> None:
    life = Life()
    hear(life, 0, told(), complete=False)
    assert hear(life, 1, told("other"), complete=False) == ["firing"]
    assert {instance.state for instance in life.instances.values()} == {"firing"}


@pytest.mark.parametrize(("hours", "events"), [(23.99, []), (24, ["resolved"])])
def test_what_such_a_source_told_ends_when_it_is_not_told_again_for_a_day(hours: float, events: list[str]) -> None:
    life = Life()
    hear(life, -60, told(), complete=False)
    hear(life, 0, told(), complete=False)
    assert life.tick(hours * 60) == events


def test_what_a_complete_source_told_never_ends_by_time() -> None:
    life = Life()
    hear(life, 0, told())
    assert life.tick(60 * 24 * 30) == []


def test_the_rules_of_ours_mean_nothing_to_outside_alerts() -> None:
    life = Life()
    hear(life, 0, told())
    life.rules = {}
    assert life.read(1, [], ["disk"]) == []


# Whatever comes


LEVELS: list[Severity | None] = [None, "warning", "error", "critical"]
SEEN = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([*LEVELS, "missing"]), st.booleans()), max_size=40)


@given(SEEN, st.sampled_from(["0s", "5m"]), st.sampled_from(["0s", "5m"]), st.sampled_from([None, 1, 3]))
def test_no_alert_ends_that_was_not_told_and_every_event_fits_the_one_before(
    seen: list[tuple[int, Any, bool]], wait: str, keep: str, clear_for: int | None
) -> None:
    life, minute = Life(clear_for=clear_for, keep_firing_for=keep, **{"for": wait}), 0
    for pause, level, sparse in seen:
        minute += pause
        before = life.instances.get(FINGERPRINT)
        events = life.read(minute, [], ["disk"]) if level == "missing" else life.see(minute, level, sparse=sparse)
        fits(events, before, life.instances.get(FINGERPRINT), level)
    assert [t.event for t in life.told].count("firing") == (life.alert.episode if life.instances else 0)


def fits(events: list[str], before: Instance | None, after: Instance | None, level: Any) -> None:
    was_open, is_open = (one is not None and one.is_open for one in (before, after))
    changes = [event for event in events if event != "flapping"]
    assert len(changes) <= 1
    if changes == ["firing"]:
        assert (was_open, is_open) == (False, True)
    elif changes == ["resolved"]:
        assert (was_open, is_open, level) == (True, False, None)
    else:
        assert was_open == is_open
    if before is not None and after is not None and was_open and is_open:
        assert (changes != []) == (before.level != after.level)
        assert after.fired_at == before.fired_at


def test_the_default_rules_are_patient_as_specified() -> None:
    rules = AlertSettings().rules
    minutes = {name: rule.for_.total_seconds() / 60 for name, rule in rules.items() if rule.for_}
    five = ("disk_usage_high", "inode_usage_high", "memory_high", "cpu_high", "service_slow")
    assert minutes == {"queue_backlog": 10, **dict.fromkeys(five, 5)}
    assert {rule.keep_firing_for for rule in rules.values()} == {timedelta(minutes=5)}
