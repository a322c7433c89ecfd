"""What becomes of alerts over time. Times are minutes since noon."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.alert import Alert, Severity, fingerprint_of
from app.alerts.life.flapping import held_until
from app.alerts.life.instance import Instance, Transition
from app.alerts.life.lifecycle import Step, advance, advance_outside, expire
from app.alerts.rules.readings import RULE_FAILED, Reading
from app.alerts.rules.rule import Rule
from app.alerts.settings import AlertSettings
from app.core.settings_reader import read

NOON = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
DAY = timedelta(hours=24)
MOUNT = {"mount": "/数据"}
FINGERPRINT = fingerprint_of("own", MOUNT)


def own_rule(**changes: Any) -> Rule:
    """A rule that waits for nothing unless a test says so."""
    row = {"alertname": "Own", "type": "own", "source": "disk.usage_percent", "message": "m"}
    levels = {"warning": 80, "error": 85, "critical": 90}
    return read(Rule, {**row, "levels": levels, "keep_firing_for": "0s", "clear_for": 1, **changes})


class Life:
    """Instances on their way through time."""

    def __init__(self, rules: dict[str, Rule] | None = None, **changes: Any) -> None:
        self.rules = rules or {"own": own_rule(**changes)}
        self.instances: dict[str, Instance] = {}
        self.told: list[Transition] = []

    def see(self, minute: float, *levels: Severity | None, sparse: bool = False, **figures: Any) -> list[str]:
        """Return the events of an evaluation that finds `levels` of one alert."""
        readings = [Reading(rule_id="own", labels=MOUNT, level=level, **figures) for level in levels]
        return self.take(advance(self.rules, self.instances, readings, at(minute), families=["disk"], sparse=sparse))

    def read(self, minute: float, readings: Iterable[Reading], families: Sequence[str] = ()) -> list[str]:
        return self.take(advance(self.rules, self.instances, readings, at(minute), families=families))

    def tick(self, minute: float) -> list[str]:
        return self.take(expire(self.rules, self.instances, at(minute), told_once_for=DAY))

    def take(self, step: Step) -> list[str]:
        for instance in step.changed:
            before = self.instances.get(instance.fingerprint)
            assert instance.version == (before.version + 1 if before else 1)
            self.instances[instance.fingerprint] = instance
        self.told += step.transitions
        return [transition.event for transition in step.transitions]

    @property
    def alert(self) -> Instance:
        return self.instances[FINGERPRINT]


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


# Firing


def test_a_condition_without_patience_fires_at_once_and_is_told_once() -> None:
    life = Life()
    assert life.see(0, "warning", value=81.0, threshold=80.0, message="/数据 81 %") == ["firing"]
    assert life.see(1, "warning", value=82.0, threshold=80.0, message="/数据 82 %") == []
    alert = life.alert
    assert (alert.state, alert.level, alert.episode, alert.fired_at) == ("firing", "warning", 1, at(0))
    assert (alert.value, alert.message, alert.last_seen_at) == (82.0, "/数据 82 %", at(1))
    assert (alert.alert.fingerprint, life.told[0].before) == (FINGERPRINT, None)


def test_what_is_good_and_was_never_bad_leaves_no_trace() -> None:
    life = Life()
    assert life.see(0, None) == []
    assert life.instances == {}


@pytest.mark.parametrize(("minute", "events"), [(4.99, []), (5, ["firing"])])
def test_a_condition_fires_when_it_has_held_for_as_long_as_its_rule_says(minute: float, events: list[str]) -> None:
    life = Life(**{"for": "5m"})
    assert life.see(0, "warning") == []
    assert life.alert.state == "pending"
    assert life.see(minute, "warning") == events


def test_a_condition_that_passes_before_it_fires_is_told_to_nobody() -> None:
    life = Life(**{"for": "5m"})
    life.see(0, "critical")
    assert life.see(3, None) == []
    assert (life.alert.state, life.alert.fired_at, life.alert.episode) == ("resolved", None, 0)
    assert life.see(4, "critical") == []
    assert life.see(8.9, "critical") == []
    assert life.see(9, "critical") == ["firing"]
    assert life.alert.level == "critical"


def test_a_pending_condition_fires_at_the_level_it_has_then() -> None:
    life = Life(**{"for": "5m"})
    life.see(0, "critical")
    life.see(5, "warning")
    assert (life.told[0].event, life.told[0].instance.level) == ("firing", "warning")


@pytest.mark.parametrize(("minute", "events"), [(60, ["firing"]), (60.1, [])])
def test_a_pending_condition_keeps_its_clock_over_an_hour_without_evaluation_and_no_longer(
    minute: float, events: list[str]
) -> None:
    life = Life(**{"for": "5m"})
    life.see(0, "warning")
    assert life.see(minute, "warning") == events


def test_a_firing_alert_goes_on_firing_after_any_outage() -> None:
    life = Life()
    life.see(0, "warning")
    assert life.see(3000, "warning") == []
    assert (life.alert.state, life.alert.fired_at) == ("firing", at(0))


def test_n_of_m_evaluations_must_be_bad() -> None:
    life = Life(n_of_m="3 of 5")
    seen: list[Severity | None] = ["warning", None, "warning", None, None, "warning", "warning"]
    assert [life.see(minute, level) for minute, level in enumerate(seen)] == [[]] * 6 + [["firing"]]


def test_n_of_m_forgets_what_is_longer_ago_than_m_evaluations() -> None:
    life = Life(n_of_m="2 of 3")
    life.see(0, "warning")
    assert [life.see(minute, None) for minute in (1, 2)] == [[], []]
    assert life.alert.state == "pending"
    assert life.see(3, None) == []
    assert life.alert.state == "resolved"


def test_a_jobs_figures_wait_for_nothing() -> None:
    life = Life(**{"for": "5m"}, keep_firing_for="5m", clear_for=None)
    assert life.see(0, "critical", sparse=True) == ["firing"]
    assert life.see(1, None, sparse=True) == ["resolved"]


def test_a_jobs_figures_wait_for_as_many_good_ones_as_the_rule_itself_asks_for() -> None:
    life = Life(clear_for=2)
    life.see(0, "critical", sparse=True)
    assert life.see(1, None, sparse=True) == []
    assert life.see(2, None, sparse=True) == ["resolved"]


# Levels


def test_escalation_is_told_at_once_and_easing_after_enough_evaluations() -> None:
    life = Life(clear_for=2)
    assert life.see(0, "warning") == ["firing"]
    assert life.see(1, "critical") == ["escalated"]
    assert life.see(2, "warning") == []
    assert life.alert.level == "critical"
    assert life.see(3, "warning") == ["eased"]
    assert (life.alert.level, life.told[-1].before) == ("warning", "critical")


def test_a_relapse_begins_the_count_anew() -> None:
    life = Life(clear_for=2)
    life.see(0, "critical")
    assert [life.see(*seen) for seen in ((1, "error"), (2, "critical"), (3, "error"))] == [[], [], []]
    assert life.see(4, "error") == ["eased"]


def test_two_figures_of_one_name_are_one_alert_at_the_worse_level() -> None:
    life = Life()
    assert life.see(0, "warning", "critical", None) == ["firing"]
    assert life.alert.level == "critical"


# Ending


def test_an_alert_ends_after_clear_for_good_evaluations_in_a_row() -> None:
    life = Life(clear_for=2)
    life.see(0, "warning", value=81.0, message="81 %")
    assert life.see(1, None, value=70.0, message="70 %") == []
    assert life.alert.state == "recovering"
    assert life.see(2, "warning", value=82.0, message="82 %") == []
    assert life.alert.state == "firing"
    assert life.see(3, None, value=70.0, message="now 70 %") == []
    assert life.see(4, None, value=69.0, message="now 69 %") == ["resolved"]
    assert (life.alert.resolved_at, life.alert.level, life.alert.value) == (at(4), "warning", 69.0)
    assert (life.told[-1].before, life.told[-1].reason) == ("warning", "now 69 %")


def test_what_has_become_good_keeps_the_words_of_when_it_was_bad() -> None:
    life = Life(clear_for=2)
    life.see(0, "warning", value=82.0, message="82 %", annotations={"summary": "满了"})
    for minute in (1, 2):
        life.see(minute, None, value=70.0, message="now 70 %", annotations={"summary": "70"})
        assert (life.alert.message, life.alert.annotations, life.alert.value) == ("82 %", {"summary": "满了"}, 70.0)


def test_what_is_no_longer_listed_ends_without_a_figure() -> None:
    life = Life(source="schedule.missed")
    life.see(0, "warning", value=3.0, message="3 slots")
    life.read(1, [], ["schedule"])
    assert (life.told[-1].event, life.told[-1].reason, life.alert.value) == ("resolved", None, 3.0)


def test_what_was_only_better_does_not_count_towards_the_end() -> None:
    life = Life(clear_for=3)
    life.see(0, "critical")
    assert [life.see(*seen) for seen in ((1, "warning"), (2, "warning"), (3, None))] == [[], [], []]
    assert life.alert.state == "recovering"


@pytest.mark.parametrize(("minute", "events"), [(4.9, []), (5, ["resolved"])])
def test_an_alert_is_kept_for_a_while_after_its_condition_was_last_met(minute: float, events: list[str]) -> None:
    life = Life(keep_firing_for="5m")
    life.see(-10, "warning")
    life.see(0, "warning")
    assert life.see(minute, None) == events


def test_an_alert_that_comes_back_is_another_episode() -> None:
    life = Life()
    assert [life.see(minute, level) for minute, level in ((0, "error"), (1, None), (2, "warning"))] == [
        ["firing"],
        ["resolved"],
        ["firing"],
    ]
    assert (life.alert.episode, life.alert.fired_at, life.alert.resolved_at) == (2, at(2), None)


def test_an_alert_without_words_keeps_those_it_was_told_with() -> None:
    life = Life(clear_for=2)
    life.see(0, "warning", value=30.5, message="full in 30.5 h")
    life.see(1, None)
    assert (life.alert.value, life.alert.message) == (30.5, "full in 30.5 h")


# What is missing


def failed_rule(name: str) -> Reading:
    return Reading(rule_id=RULE_FAILED, labels={"rule": name}, level="error", value=1)


@pytest.mark.parametrize(
    ("no_data", "events", "state"),
    [("keep", [], "firing"), ("ok", ["resolved"], "resolved"), ("alert", [], "firing")],
)
def test_a_figure_that_was_not_measured_means_what_its_rule_says(no_data: str, events: list[str], state: str) -> None:
    life = Life(no_data=no_data)
    life.see(0, "warning")
    assert life.read(5, [], ["disk"]) == events
    assert life.alert.state == state


def test_what_is_looked_for_and_not_found_for_a_week_is_gone_and_by_silence_alone_nothing_is() -> None:
    life, week = Life(no_data="keep"), 7 * 24 * 60
    life.see(0, "warning")
    assert life.read(week - 1, [], ["disk"]) == []
    assert life.read(week, [], ["queues"]) == []
    assert life.alert.state == "firing"
    assert life.read(week, [], ["disk"]) == ["resolved"]
    assert life.alert.resolve_reason == "there was no figure of disk.usage_percent for it for 7 days"


def test_a_kept_alert_says_when_it_was_last_seen_and_one_of_no_data_why_it_stays() -> None:
    kept, bad = Life(no_data="keep"), Life(no_data="alert")
    for life in (kept, bad):
        life.see(0, "warning")
        life.read(5, [], ["disk"])
    assert kept.alert.last_seen_at == at(0)
    assert (bad.alert.last_seen_at, bad.alert.message) == (
        at(5),
        "there is no figure of disk.usage_percent for it any more",
    )


def test_what_is_only_listed_while_it_is_broken_ends_when_it_is_no_longer_listed() -> None:
    life = Life(source="schedule.missed")
    life.see(0, "warning")
    assert life.read(1, [], ["disk"]) == []
    assert life.read(2, [], ["schedule"]) == ["resolved"]


def test_a_rule_that_could_not_be_judged_ends_nothing() -> None:
    rules = {"own": own_rule(source="schedule.missed"), RULE_FAILED: own_rule(source="alerting.rule_failed")}
    life = Life(rules)
    life.see(0, "warning")
    assert life.read(1, [failed_rule("own")], ["schedule"]) == ["firing"]
    assert life.alert.state == "firing"
    assert life.read(2, [Reading(rule_id=RULE_FAILED, labels={"rule": "own"})], ["schedule"]) == [
        "resolved",
        "resolved",
    ]


def test_too_few_rows_end_nothing_and_begin_nothing() -> None:
    life = Life()
    unknown = Reading(rule_id="own", labels=MOUNT, known=False)
    assert life.read(0, [unknown], ["disk"]) == []
    assert life.instances == {}
    life.see(1, "warning")
    assert life.read(2, [unknown], ["disk"]) == []
    assert life.alert.state == "firing"


@pytest.mark.parametrize("no_data", ["keep", "ok", "alert"])
def test_too_few_rows_are_no_missing_figure_whatever_that_means(no_data: str) -> None:
    life = Life(source="runs.success_percent", no_data=no_data)
    job = {"job": "夜间清理"}
    failing = Reading(rule_id="own", labels=job, level="warning", value=0.0, samples=20, message="0 %")
    assert life.read(0, [failing], ["runs"]) == ["firing"]
    few = Reading(rule_id="own", labels=job, value=0.0, samples=19, known=False)
    for minute in (1, 10, 100, 7 * 24 * 60 - 1):
        assert life.read(minute, [few], ["runs"]) == []
    (alert,) = life.instances.values()
    assert (alert.state, alert.message) == ("firing", "0 %")
    assert life.read(7 * 24 * 60, [few], ["runs"]) == ["resolved"]


def test_nothing_ends_because_time_passes() -> None:
    life = Life()
    life.see(0, "warning")
    assert life.tick(60 * 24 * 30) == []
    assert life.alert.state == "firing"


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


def flap(life: Life, *minutes: float) -> list[str]:
    """Go to and fro, one change at each minute; returns the events."""
    events: list[str] = []
    for minute in minutes:
        bad = FINGERPRINT not in life.instances or life.alert.state == "resolved"
        events += life.see(minute, "warning" if bad else None)
    return events


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
