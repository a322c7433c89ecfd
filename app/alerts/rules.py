"""Judge what a job returned by the rules: each holds or not, and none can stop the others."""

import operator
from collections.abc import Callable, Mapping

from app.alerts.alert import RANK, Alert, Severity, shortened
from app.alerts.facts import Document, Fact, facts_of
from app.alerts.rule import Operator, Rule

_COMPARE: dict[Operator, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
}


def evaluate_daily(report: Document, rules: Mapping[str, Rule]) -> list[Alert]:
    """Return the alerts of a daily report (the document of `generate_daily_statistics`)."""
    return _evaluate("daily.", report, rules)


def evaluate_disk(document: Document, rules: Mapping[str, Rule]) -> list[Alert]:
    """Return the alerts of a disk check (the result of `check_disks`)."""
    return _evaluate("disk.", document, rules)


def evaluate_cleanup(document: Document, rules: Mapping[str, Rule]) -> list[Alert]:
    """Return the alerts of a cleanup (the result of `cleanup_expired_tasks`)."""
    return _evaluate("cleanup.", document, rules)


def evaluate_schedule(document: Document, rules: Mapping[str, Rule]) -> list[Alert]:
    """Return the alerts of the schedule: `document` holds `facts`, what `app.schedule.limits` finds broken."""
    return _evaluate("schedule.", document, rules)


def _evaluate(prefix: str, document: Document, rules: Mapping[str, Rule]) -> list[Alert]:
    alerts: list[Alert] = []
    for rule_id, rule in rules.items():
        if rule.enabled and rule.source.startswith(prefix):
            alerts += _judge(rule_id, rule, document)
    return alerts


def _judge(rule_id: str, rule: Rule, document: Document) -> list[Alert]:
    try:
        facts = facts_of(rule.source, document)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        return [_unjudged(rule_id, rule, error)]
    return [alert for fact in facts if (alert := _judged(rule_id, rule, fact)) is not None]


def _judged(rule_id: str, rule: Rule, fact: Fact) -> Alert | None:
    if fact.samples < rule.min_samples:
        return None
    reached = [name for name, threshold in rule.levels.items() if _COMPARE[rule.op](fact.value, threshold)]
    if not reached:
        return None
    severity: Severity = max(reached, key=RANK.__getitem__)
    threshold = rule.levels[severity]
    return Alert(
        type=rule.type,
        alertname=rule.alertname,
        message=_message(rule, fact, threshold),
        severity=severity,
        rule=rule_id,
        value=fact.value,
        threshold=threshold,
        labels=fact.labels,
    )


def _message(rule: Rule, fact: Fact, threshold: float) -> str:
    text = rule.message.format(
        **{**fact.words, "value": f"{fact.value:.10g}", "threshold": f"{threshold:.10g}", "samples": fact.samples}
    )
    return shortened(" ".join(text.split()))


def _unjudged(rule_id: str, rule: Rule, error: Exception) -> Alert:
    """A rule that can't be judged is never "all is well"."""
    why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return Alert(
        type="rule_evaluation_failed",
        alertname="RuleEvaluationFailed",
        message=shortened(f"rule {rule_id} could not be judged: {rule.source}: {' '.join(why.split())}"),
        severity="error",
        rule="rule_evaluation_failed",
        labels={"rule": rule_id},
    )
