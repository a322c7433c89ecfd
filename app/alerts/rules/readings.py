"""What the rules find in the figures of one document: each good or bad, and none can stop the others."""

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from app.alerts.alert import RANK, Severity, fingerprint_of, shortened
from app.alerts.facts import Document, Fact, facts_of, family_of
from app.alerts.facts.alerting import RULE_FAILED as FAILED_SOURCE
from app.alerts.rules.rule import Operator, Rule, Threshold

RULE_FAILED = "rule_evaluation_failed"
"""Id of the rule under which it is told that another one could not be judged."""
NO_DATA = "no_data"
"""Label of the alert that a figure is missing altogether."""

_Z = 1.959964  # 95 %, two-sided
_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one rule finds in one figure now."""

    rule_id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    level: Severity | None = None
    """None: it is good."""
    value: float | None = None
    threshold: float | None = None
    samples: int = 0
    message: str = ""
    """One line; of what is good again only its figure, such as `now 40 %`, and empty where nobody was told of it."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    known: bool = True
    """False: it rests on too few rows to say anything."""

    @cached_property
    def fingerprint(self) -> str:
        """The alert's identity, see `Alert.fingerprint`."""
        return fingerprint_of(self.rule_id, self.labels)


def read_facts(
    family: str, document: Document, rules: Mapping[str, Rule], present: Mapping[str, Severity]
) -> list[Reading]:
    """Return what the rules of a family find in its document.

    `present` are the levels of open alerts by fingerprint: hysteresis needs them, and only they and what is bad get a
    message. Nothing is raised for a document that is not what was promised: that is an alert of its own.
    """
    readings: list[Reading] = []
    for rule_id, rule in rules.items():
        if rule.enabled and family_of(rule.source) == family:
            readings += _judged(rule_id, rule, document, rules, present)
    return readings


def wilson(percent: float, samples: int, *, upper: bool = False) -> float:
    """Return the percent surpassed (or, `upper`, not reached) with 95 % certainty, by Wilson's score interval."""
    share, spread = percent / 100, _Z * _Z / samples
    margin = _Z * math.sqrt(max(0.0, share * (1 - share) / samples + spread / (4 * samples)))
    return 100 * (share + spread / 2 + (margin if upper else -margin)) / (1 + spread)


def _judged(
    rule_id: str, rule: Rule, document: Document, rules: Mapping[str, Rule], present: Mapping[str, Severity]
) -> Iterator[Reading]:
    try:
        facts = facts_of(rule.source, document)
        readings = [read_fact(rule_id, rule, fact, present) for fact in facts]
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        yield _failure(rule_id, rule, error, rules)
        return
    yield from readings
    if rule.no_data == "alert":
        yield _no_data(rule_id, rule, missing=not facts)
    yield Reading(rule_id=RULE_FAILED, labels=_failure_labels(rule_id, rules))


def read_fact(rule_id: str, rule: Rule, fact: Fact, present: Mapping[str, Severity]) -> Reading:
    """Return what one rule finds in one figure; `present` as for `read_facts`. Raises KeyError for a missing word."""
    labels = {**fact.labels, **rule.labels} if rule.labels else fact.labels
    before = present.get(fingerprint_of(rule_id, labels)) if present else None
    reached, known = _reached(rule, fact, before)
    if reached is None and before is None:
        return Reading(rule_id=rule_id, labels=labels, value=fact.value, samples=fact.samples, known=known)
    threshold = (reached or rule.thresholds[-1]).raise_at
    words = _words(fact, threshold)
    return Reading(
        rule_id=rule_id,
        labels=labels,
        level=reached.level if reached else None,
        value=fact.value,
        threshold=threshold,
        samples=fact.samples,
        message=_message(rule, fact, words) if reached else _good_again(rule, fact),
        annotations=_annotations(rule, words),
        known=known,
    )


def _reached(rule: Rule, fact: Fact, before: Severity | None) -> tuple[Threshold | None, bool]:
    """Return the highest level reached, and whether the figure says anything."""
    if fact.value is None:
        return None, True
    if fact.samples < rule.min_samples:
        return _of_few(rule, fact.value)
    certain = _certain(rule, fact)
    beyond = _COMPARE[rule.op]
    for threshold in rule.thresholds:
        if beyond(certain, threshold.raise_at):
            return threshold, True
        if before is not None and RANK[before] >= RANK[threshold.level] and beyond(fact.value, threshold.clear_at):
            return threshold, True
    return None, True


def _of_few(rule: Rule, value: float) -> tuple[Threshold | None, bool]:
    """Few rows mean little work, which is good; but a share among them proves nothing unless it is small as well."""
    beyond = rule.about.kind == "rate" and _COMPARE[rule.op](value, rule.thresholds[-1].clear_at)
    return None, not beyond


def _certain(rule: Rule, fact: Fact) -> float:
    """Return the figure that decides: of a rate what is certain, for two failures of five tasks are no 40 %."""
    value = fact.value or 0.0
    if rule.about.kind != "rate" or not fact.samples or rule.op == "==":
        return value
    return wilson(value, fact.samples, upper=rule.op.startswith("<"))


def _words(fact: Fact, threshold: float) -> dict[str, object]:
    value = "" if fact.value is None else f"{fact.value:.10g}"
    return {**fact.words, "value": value, "threshold": f"{threshold:.10g}", "samples": fact.samples}


def _message(rule: Rule, fact: Fact, words: Mapping[str, object]) -> str:
    text = rule.message.format_map(words)
    if rule.about.kind == "rate" and fact.samples:
        bound = "at most" if rule.op.startswith("<") else "at least"
        text += f" ({bound} {_certain(rule, fact):.1f} % with 95 % certainty)"
    return shortened(" ".join(text.split()))


def _good_again(rule: Rule, fact: Fact) -> str:
    return "" if fact.value is None else f"now {fact.value:.10g} {rule.about.unit}".rstrip()


def _annotations(rule: Rule, words: Mapping[str, object]) -> dict[str, str]:
    given = rule.annotation_texts
    if not given:
        return {}
    known = {"value": "", "threshold": "", "samples": 0, **dict.fromkeys(rule.about.words, ""), **words}
    return {name: text.format_map(known) for name, text in given.items()}


def _no_data(rule_id: str, rule: Rule, *, missing: bool) -> Reading:
    lowest = rule.thresholds[-1].level
    return Reading(
        rule_id=rule_id,
        labels={**rule.labels, NO_DATA: rule.source},
        level=lowest if missing else None,
        message=f"there is no figure of {rule.source}" if missing else f"there are figures of {rule.source} again",
    )


def _failure(rule_id: str, rule: Rule, error: Exception, rules: Mapping[str, Rule]) -> Reading:
    """A rule that can't be judged is never "all is well"."""
    why = f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__
    words = {"rule": rule_id, "source": rule.source, "why": " ".join(why.split())}
    about = rules.get(RULE_FAILED)
    if about is None or about.source != FAILED_SOURCE:
        labels = _failure_labels(rule_id, rules)
        return Reading(rule_id=RULE_FAILED, labels=labels, level="error", value=1, message=shortened(words["why"]))
    found = read_fact(RULE_FAILED, about, Fact(value=1, labels={"rule": rule_id}, words=words), {})
    return replace(
        found, level=found.level or about.thresholds[-1].level, message=found.message or shortened(words["why"])
    )


def _failure_labels(rule_id: str, rules: Mapping[str, Rule]) -> dict[str, str]:
    about = rules.get(RULE_FAILED)
    return {"rule": rule_id, **(about.labels if about is not None else {})}
