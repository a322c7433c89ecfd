"""What is said of the end of an alert, for every rule and level: never a bad sentence with good figures."""

from collections.abc import Iterator

import pytest
from alert_lab import NOON, ZONE

from app.alerts.channel import Told
from app.alerts.facts import SOURCES, Fact, family_of
from app.alerts.life.instance import Instance
from app.alerts.life.lifecycle import advance
from app.alerts.notices.decision import Decision
from app.alerts.notices.grouping import Saying, told_of
from app.alerts.rules.readings import Reading, read_fact
from app.alerts.rules.rule import Rule, Threshold
from app.alerts.settings import default_rules
from app.alerts.wire.wording import said

RULES = default_rules()
LEVELS = [(rule_id, one.level) for rule_id, rule in RULES.items() for one in rule.thresholds]


def figure(rule: Rule, value: float) -> Fact:
    """A figure on many rows, about a rule where it may be about one; every word of its source is a Chinese one."""
    labels = {"rule": "disk_usage_high"} if "rule" in rule.about.labels else {}
    return Fact(value=value, samples=100_000, labels=labels, words=dict.fromkeys(rule.about.words, "某"))


def bad_value(rule: Rule, threshold: Threshold) -> float:
    step = {">": 1, "<": -1}.get(rule.op[0], 0)
    return threshold.raise_at + step


def good_value(rule: Rule) -> float:
    """Zero, or what is far above where little is what is wrong."""
    if rule.op[0] == ">":
        return 0.0
    return 100.0 if rule.about.unit == "%" else 1000.0


def life(rule_id: str, level: str, *, listed: bool) -> Iterator[tuple[Reading, Instance]]:
    """Yield what was read of an alert, and what it is: when it fires, and when it is over."""
    rule = RULES[rule_id]
    (threshold,) = (one for one in rule.thresholds if one.level == level)
    known: dict[str, Instance] = {}
    for value in (bad_value(rule, threshold), good_value(rule)):
        present = {one.fingerprint: one.level for one in known.values()}
        found = [read_fact(rule_id, rule, figure(rule, value), present)]
        shown = found if listed or not known else []
        step = advance(RULES, known, shown, NOON, families=[family_of(rule.source)], sparse=True)
        known |= {one.fingerprint: one for one in step.changed}
        (instance,) = known.values()
        yield found[0], instance


def end_of(instance: Instance) -> Told:
    decision = Decision(event="resolved", status="resolved")
    return told_of(Saying(instance=instance, decision=decision, before=None, after=None), NOON, ZONE)


@pytest.mark.parametrize(("rule_id", "level"), LEVELS)
def test_the_end_tells_what_it_was_and_what_the_figure_is_now(rule_id: str, level: str) -> None:
    rule = RULES[rule_id]
    (bad, fired), (_, over) = life(rule_id, level, listed=True)
    assert (fired.state, fired.level, over.state, over.value) == ("firing", level, "resolved", good_value(rule))
    now = f"now {good_value(rule):g} {rule.about.unit}".rstrip()
    assert said(end_of(over)) == f"over after 0 s, {now}; it was: {bad.message}"


@pytest.mark.parametrize(
    ("rule_id", "level"), [(name, level) for name, level in LEVELS if SOURCES[RULES[name].source].absent == "ok"]
)
def test_the_end_of_what_is_no_longer_listed_tells_what_it_was(rule_id: str, level: str) -> None:
    (bad, _), (_, over) = life(rule_id, level, listed=False)
    assert said(end_of(over)) == f"over after 0 s; it was: {bad.message}"


def test_the_end_of_an_alert_whose_rule_is_gone_says_so() -> None:
    (_, fired), *_ = life("broker_down", "critical", listed=True)
    (over,) = advance({}, {fired.fingerprint: fired}, [], NOON).changed
    assert said(end_of(over)) == (
        "over after 0 s, the rule was removed; it was: the broker did not answer 4 times in a row: 某"
    )


def test_the_end_of_what_has_come_again_already_says_no_figure_of_then() -> None:
    """Its words are those of the time that follows; how the one before was over is not known any more."""
    *_, (_, over) = life("broker_down", "critical", listed=True)
    again = over.but(state="pending", fired_at=None, resolve_reason="now 7")
    assert end_of(again).reason == ""
