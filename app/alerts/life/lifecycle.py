"""The life of alerts: pending, firing, recovering, resolved. Pure: what was, what was read, and when, give what is.

Steps of one alert stand in `life_steps`; the words follow Prometheus (`for`, keep_firing_for).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.alerts.alert import RANK, Alert
from app.alerts.facts import SOURCES, family_of
from app.alerts.life.flapping import calmed_by
from app.alerts.life.instance import OUTSIDE, Instance, Transition, outside_rule
from app.alerts.life.life_steps import Change, Patience, Subject, Told, bad, good_now, over
from app.alerts.rules.readings import RULE_FAILED, Reading
from app.alerts.rules.rule import Rule

RACE = timedelta(seconds=60)
"""A reading older than the state by less comes from a slower evaluator; by more, the clock was set back."""
CLEAR_FOR = 2
GONE_AFTER = timedelta(days=7)
"""What is looked for and not found for so long, such as a mount taken out of the settings, will not come back."""

LISTED = "listed"
"""`rule_hash` of outside alerts whose source always names all it knows."""
TOLD_ONCE = "told once"
"""`rule_hash` of outside alerts whose source says nothing when they end."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """What one evaluation changes: write all of it in one transaction."""

    changed: list[Instance] = field(default_factory=list)
    """With the version they are to have."""
    transitions: list[Transition] = field(default_factory=list)


def advance(
    rules: Mapping[str, Rule],
    instances: Mapping[str, Instance],
    readings: Iterable[Reading],
    at: datetime,
    *,
    families: Collection[str] = (),
    sparse: bool = False,
) -> Step:
    """Return what `readings` change in `instances` (by fingerprint).

    `families` are those whose documents are complete: an alert of theirs that no reading names is judged by what its
    source says of absent figures. With `sparse` each reading stands for the time since the one before, so that nothing
    waits: no `for`, no n of m, no keep_firing_for, and one good reading ends an alert unless its rule says otherwise.
    """
    walk = _Walk(instances, at)
    _close_orphans(walk, rules)
    found = _worst(readings)
    subjects = {name: _subject(name, rule, sparse=sparse) for name, rule in rules.items() if rule.enabled}
    for fingerprint, reading in found.items():
        if subject := subjects.get(reading.rule_id):
            _read(walk, subject, fingerprint, reading)
    failed = {reading.labels.get("rule") for reading in found.values() if _tells_failure(reading)}
    for instance in walk.before:
        known = instance.fingerprint in found or walk.was_changed(instance.fingerprint)
        if known or instance.rule not in subjects or instance.rule in failed:
            continue
        rule = rules[instance.rule]
        if family_of(rule.source) in families:
            _missed(walk, subjects[instance.rule], rule, instance)
    return walk.step()


def advance_outside(
    instances: Mapping[str, Instance], source: str, alerts: Iterable[Alert], at: datetime, *, complete: bool
) -> Step:
    """Return what a source's alerts change; with `complete` those it no longer names are over."""
    walk, named = _Walk(instances, at), set()
    for alert in alerts:
        rule = outside_rule(source, alert.rule)
        labels = alert.labels
        reading = Reading(
            rule_id=rule,
            labels=labels,
            level=alert.severity,
            value=alert.value,
            threshold=alert.threshold,
            message=alert.message,
        )
        subject = Subject(
            rule=rule,
            rule_hash=LISTED if complete else TOLD_ONCE,
            alertname=alert.alertname,
            type=alert.type,
            patience=Patience(),
        )
        named.add(reading.fingerprint)
        walk.put(bad(walk.seen(reading.fingerprint), subject, reading, at))
    if complete:
        for instance in list(instances.values()):
            if instance.state != "resolved" and instance.fingerprint not in named:
                walk.put(over(instance, at, None))
    return walk.step()


def expire(
    rules: Mapping[str, Rule], instances: Mapping[str, Instance], at: datetime, *, told_once_for: timedelta
) -> Step:
    """Return what only time and the settings change: rules gone or changed, flapping calmed, sources fallen silent.

    Nothing else ends an alert without a fresh reading.
    """
    walk = _Walk(instances, at)
    _close_orphans(walk, rules)
    for instance in instances.values():
        if instance.state == "resolved" or walk.was_changed(instance.fingerprint):
            continue
        if instance.rule_hash == TOLD_ONCE and at - instance.last_seen_at >= told_once_for:
            why = f"its source has not named it for {told_once_for.total_seconds() / 3600:g} h"
            walk.put(over(instance, at, why))
    for instance in instances.values():
        if not walk.was_changed(instance.fingerprint) and (calmed := calmed_by(instance, at)):
            walk.put((instance.but(**calmed), ()))
    return walk.step()


def why_orphaned(instance: Instance, rules: Mapping[str, Rule]) -> str | None:
    """Return why no rule stands for an alert any more; None where one does."""
    if instance.rule.startswith(OUTSIDE):
        return None
    rule = rules.get(instance.rule)
    about = rules.get(instance.labels.get("rule", "")) if instance.rule == RULE_FAILED else rule
    if rule is None or about is None:
        return "the rule was removed"
    if not rule.enabled or not about.enabled:
        return "the rule was switched off"
    return None if rule.hash == instance.rule_hash else "the rule was changed"


class _Walk:
    """The instances on their way through one evaluation."""

    def __init__(self, before: Mapping[str, Instance], at: datetime) -> None:
        self._before = before
        self._now: dict[str, Instance] = {}
        self._told: list[tuple[Instance, Told]] = []
        self.at = at

    @property
    def before(self) -> list[Instance]:
        return list(self._before.values())

    def seen(self, fingerprint: str) -> Instance | None:
        return self._now.get(fingerprint) or self._before.get(fingerprint)

    def was_changed(self, fingerprint: str) -> bool:
        return fingerprint in self._now

    def put(self, change: Change) -> None:
        instance, told = change
        before = self._before.get(instance.fingerprint)
        if instance is before:
            return
        version = before.version + 1 if before is not None else 1
        if instance.version != version:
            instance = instance.but(version=version)
        self._now[instance.fingerprint] = instance
        self._told += [(instance, each) for each in told]

    def step(self) -> Step:
        transitions = [
            Transition(instance=instance, event=event, at=self.at, before=before, reason=reason)
            for instance, (event, before, reason) in self._told
        ]
        return Step(changed=list(self._now.values()), transitions=transitions)


def _close_orphans(walk: _Walk, rules: Mapping[str, Rule]) -> None:
    for instance in walk.before:
        if instance.state != "resolved" and (why := why_orphaned(instance, rules)):
            walk.put(over(instance, walk.at, why))


def _worst(readings: Iterable[Reading]) -> dict[str, Reading]:
    """Two figures of one name are one alert, at the worse of their levels."""
    found: dict[str, Reading] = {}
    for reading in readings:
        known = found.get(reading.fingerprint)
        if known is None or RANK.get(reading.level or "", 0) > RANK.get(known.level or "", 0):
            found[reading.fingerprint] = reading
    return found


def _tells_failure(reading: Reading) -> bool:
    return reading.rule_id == RULE_FAILED and reading.level is not None


def _subject(name: str, rule: Rule, *, sparse: bool) -> Subject:
    if sparse:
        patience = Patience(clear_for=rule.clear_for or 1)
    else:
        patience = Patience(
            wait=rule.for_, n_of_m=rule.n_of_m_pair, keep=rule.keep_firing_for, clear_for=rule.clear_for or CLEAR_FOR
        )
    return Subject(rule=name, rule_hash=rule.hash, alertname=rule.alertname, type=rule.type, patience=patience)


def _read(walk: _Walk, subject: Subject, fingerprint: str, reading: Reading) -> None:
    seen, at = walk.seen(fingerprint), walk.at
    if seen is not None and timedelta(0) < seen.last_seen_at - at <= RACE:
        return
    if not reading.known:
        # There is a figure, and it says nothing: neither that all is well nor that it is gone.
        if seen is not None and seen.state != "resolved" and at - seen.last_seen_at >= GONE_AFTER:
            walk.put(over(seen, at, f"there were too few rows to tell for {GONE_AFTER.days} days"))
    elif reading.level is not None:
        walk.put(bad(seen, subject, reading, at))
    elif seen is not None and seen.state != "resolved":
        walk.put(good_now(seen, subject.patience, reading, at))


def _missed(walk: _Walk, subject: Subject, rule: Rule, seen: Instance) -> None:
    """An open alert without a figure."""
    if seen.state == "resolved" or seen.rule == RULE_FAILED:
        return
    if SOURCES[rule.source].absent == "ok" or rule.no_data == "ok":
        walk.put(good_now(seen, subject.patience, None, walk.at))
    elif rule.no_data == "alert" and seen.is_open:
        why = f"there is no figure of {rule.source} for it any more"
        gone = Reading(rule_id=seen.rule, labels=seen.labels, level=seen.level, message=why)
        walk.put(bad(seen, subject, gone, walk.at))
    elif walk.at - seen.last_seen_at >= GONE_AFTER:
        walk.put(over(seen, walk.at, f"there was no figure of {rule.source} for it for {GONE_AFTER.days} days"))
