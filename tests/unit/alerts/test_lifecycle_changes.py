"""What becomes of alerts whose rules change, and under clocks that jump. Times are minutes since noon."""

import pytest
from alert_life import Life, failed_rule, flap, own_rule

from app.alerts.rules.readings import RULE_FAILED
from app.alerts.rules.rule import Rule

# Rules that change


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        ({}, "the rule was removed"),
        ({"own": own_rule(enabled=False)}, "the rule was switched off"),
        ({"own": own_rule(levels={"warning": 81})}, "the rule was changed"),
        ({"own": own_rule(op=">=")}, "the rule was changed"),
        ({"own": own_rule(labels={"component": "x"})}, "the rule was changed"),
    ],
)
@pytest.mark.parametrize("evaluated", [True, False])
def test_a_rule_that_is_gone_or_changed_ends_its_alerts(rules: dict[str, Rule], why: str, evaluated: bool) -> None:  # noqa: FBT001 - a parameter of the table
    life = Life()
    life.see(0, "warning")
    life.rules = rules
    assert (life.read(1, []) if evaluated else life.tick(1)) == ["resolved"]
    assert (life.alert.resolve_reason, life.told[-1].reason) == (why, why)


def test_words_times_and_recipients_of_a_rule_may_change() -> None:
    life = Life()
    life.see(0, "warning")
    life.rules = {"own": own_rule(message="另一句", repeat={"warning": "1h"}, group_by=["mount"], **{"for": "1h"})}
    assert life.read(1, []) == []
    assert life.alert.state == "firing"


def test_a_changed_rule_fires_anew_where_its_new_condition_is_met() -> None:
    life = Life()
    life.see(0, "warning")
    life.rules = {"own": own_rule(levels={"warning": 70})}
    assert life.see(1, "warning") == ["resolved", "firing"]
    assert (life.alert.state, life.alert.episode, life.alert.rule_hash) == ("firing", 2, life.rules["own"].hash)


def test_an_alert_of_a_changed_rule_that_is_no_longer_listed_ends_once() -> None:
    life = Life(source="schedule.missed")
    life.see(0, "warning")
    life.rules = {"own": own_rule(source="schedule.missed", levels={"warning": 70})}
    assert life.read(1, [], ["schedule"]) == ["resolved"]
    assert life.told[-1].reason == "the rule was changed"


def test_a_pending_condition_of_a_rule_that_is_gone_ends_in_silence() -> None:
    life = Life(**{"for": "5m"})
    life.see(0, "warning")
    life.rules = {}
    assert life.tick(1) == []
    assert life.alert.state == "resolved"


def test_the_failure_of_a_rule_ends_with_the_rule() -> None:
    failed = own_rule(source="alerting.rule_failed")
    life = Life({"own": own_rule(), RULE_FAILED: failed})
    life.read(0, [failed_rule("own")])
    life.rules = {RULE_FAILED: failed}
    assert life.tick(1) == ["resolved"]


# Clocks and races


def test_a_reading_older_than_the_state_is_a_slower_evaluators_and_counts_for_nothing() -> None:
    life = Life()
    life.see(1, "critical")
    assert life.see(0.5, None) == []
    assert (life.alert.state, life.alert.version) == ("firing", 1)


def test_a_clock_that_was_set_back_does_not_blind_us() -> None:
    life = Life()
    life.see(600, "warning")
    assert life.see(0, "critical") == ["escalated"]
    assert life.see(1, None) == ["resolved"]


def test_an_alert_kept_for_a_while_is_not_kept_for_as_long_as_the_clock_was_set_back() -> None:
    life = Life(keep_firing_for="5m")
    life.see(600, "warning")
    assert life.see(0, None) == []
    assert life.see(4.9, None) == []
    assert life.see(5, None) == ["resolved"]


def test_a_flapping_alert_is_not_held_for_as_long_as_the_clock_was_set_back() -> None:
    life = Life()
    flap(life, 600, 601, 602, 603)
    life.tick(500)
    assert life.alert.flapping_since is None


def test_a_pending_condition_starts_again_when_the_clock_was_set_back() -> None:
    life = Life(**{"for": "5m"})
    life.see(600, "warning")
    assert life.see(0, "warning") == []
    assert life.see(4.9, "warning") == []
    assert life.see(5, "warning") == ["firing"]
