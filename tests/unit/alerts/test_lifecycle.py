"""How alerts begin, change their level and end. Times are minutes since noon."""

import pytest
from alert_life import FINGERPRINT, MOUNT, Life, at, failed_rule, own_rule

from app.alerts.alert import Severity
from app.alerts.rules.readings import RULE_FAILED, Reading

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
