"""Judge figures, and write what changes with all that is to be told of it in one transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import structlog
from sqlalchemy import Connection

from app.alerts.alert import Alert, Severity, fingerprint_of, shortened
from app.alerts.facts import FAMILIES, Document, family_of
from app.alerts.life import instance_rows
from app.alerts.life.instance import Instance, Transition, outside_rule
from app.alerts.life.lifecycle import Step, advance, advance_outside, expire
from app.alerts.rules import latest_readings
from app.alerts.rules.readings import RULE_FAILED, Reading, read_facts
from app.alerts.rules.rule import Rule
from app.alerts.settings import AlertSettings
from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import DatabaseBusy
from app.core.storable import storable, storable_text

log = structlog.get_logger("gengfu.alerts")

Announce = Callable[[Connection, Sequence[Transition], datetime], None]
"""Called within the transaction: what it writes stands or falls with the transitions."""

_ATTEMPTS = 5
"""Of two evaluators at once one wins each time; a third and a fourth are unheard of."""
PARTIAL = "partial"
"""Key of a document that is not about all of its family: it can raise alerts and end none."""


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What one evaluation found and changed."""

    at: datetime
    transitions: tuple[Transition, ...] = ()
    open: tuple[Instance, ...] = ()
    """The alerts it was about that are open now, whether they changed or not."""
    readings: tuple[Reading, ...] = ()


class _Outrun(Exception):
    """Somebody else changed an alert between our look and our write."""


class Evaluator:
    """Judges in whatever process has the figures. Two at once are safe: of two who change one alert, one looks again.

    Its methods raise the errors of `Database`; nothing is kept then, and nothing told.
    """

    def __init__(
        self, database: Database, clock: Clock, settings: AlertSettings, announce: Announce = lambda *_: None
    ) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings
        self._announce = announce

    def evaluate(
        self, family: str, document: Document, at: datetime | None = None, *, sparse: bool = False
    ) -> Evaluation:
        """Judge the document of a family by its rules.

        `sparse` says that it stands for the time since the one before, as a job's does: nothing waits then. A document
        that is not what was promised becomes RuleEvaluationFailed. Raises KeyError for a family that is none.
        """
        return self.evaluate_all({family: document}, at, sparse=sparse)

    def evaluate_all(
        self, documents: Mapping[str, Document], at: datetime | None = None, *, sparse: bool = False
    ) -> Evaluation:
        """Judge several families at once, in one transaction."""
        for family in documents:
            if family not in FAMILIES:
                raise KeyError(f"{family} is no family of figures; known: {', '.join(FAMILIES)}")
        now = at or self._clock.now()
        if not self._settings.enabled or not documents:
            return Evaluation(at=now)
        return self._written(now, lambda connection: self._judge(connection, documents, now, sparse=sparse))

    def outside(
        self, source: str, alerts: Iterable[Alert], at: datetime | None = None, *, complete: bool
    ) -> Evaluation:
        """Take alerts that another source found; with `complete` it named all it knows, so that the others are over."""
        now, named = at or self._clock.now(), [_storable(alert) for alert in alerts]
        if not self._settings.enabled:
            return Evaluation(at=now)
        return self._written(now, lambda connection: _take(connection, source, named, now, complete=complete))

    def enter(self, told: Sequence[tuple[Reading, datetime]], at: datetime | None = None) -> Evaluation:
        """Take as found what people were told already: it fires at once, so that its end can be told.

        With each stands when it was found; of what was looked at since, more is known.
        """
        now = at or self._clock.now()
        if not self._settings.enabled or not told:
            return Evaluation(at=now)
        return self._written(now, lambda connection: self._entered(connection, told, now))

    def tick(self, at: datetime | None = None) -> Evaluation:
        """Do what only time and the settings ask for; see `lifecycle.expire`."""
        now = at or self._clock.now()
        if not self._settings.enabled:
            return Evaluation(at=now)
        with self._database.read() as connection:
            if not self._timed(connection, now):
                return Evaluation(at=now)
        return self._written(now, lambda connection: self._expire(connection, now))

    def _written(self, at: datetime, think: Callable[[Connection], "_Thought"]) -> Evaluation:
        """Think and write until nobody was faster."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._database.write() as connection:
                    return self._write(connection, at, think(connection))
            except _Outrun:
                log.info("alert_evaluation_outrun", attempt=attempt)
        raise DatabaseBusy("alerts were changed by others each time we judged them; the next evaluation judges anew")

    def _write(self, connection: Connection, at: datetime, thought: "_Thought") -> Evaluation:
        step = thought.step
        if not instance_rows.write(connection, step.changed, thought.about):
            raise _Outrun
        instance_rows.append_events(connection, step.transitions)
        if step.transitions:
            self._announce(connection, step.transitions, at)
        for family, readings in thought.latest.items():
            latest_readings.keep(connection, family, readings, at)
        now = {**thought.about, **{instance.fingerprint: instance for instance in step.changed}}
        still_open = tuple(instance for instance in now.values() if instance.is_open)
        return Evaluation(at=at, transitions=tuple(step.transitions), open=still_open, readings=tuple(thought.readings))

    def _judge(
        self, connection: Connection, documents: Mapping[str, Document], at: datetime, *, sparse: bool
    ) -> "_Thought":
        rules = self._settings.rules
        others = [name for name, rule in rules.items() if _is_elsewhere(name, rule, documents)]
        instances = instance_rows.living(connection, except_rules=others)
        present = _present(instances)
        latest = {family: read_facts(family, each, rules, present) for family, each in documents.items()}
        readings = [
            reading
            for family, found in latest.items()
            for reading in found
            if reading.level is not None or not documents[family].get(PARTIAL)
        ]
        unseen = [one.fingerprint for one in readings if one.level is not None and one.fingerprint not in instances]
        instances |= instance_rows.by_fingerprint(connection, unseen)
        complete = [family for family, document in documents.items() if not document.get(PARTIAL)]
        step = advance(rules, instances, readings, at, families=complete, sparse=sparse)
        about = {name: each for name, each in instances.items() if not _is_failure_elsewhere(each, rules, documents)}
        return _Thought(step=step, about=about, readings=readings, latest=latest)

    def _entered(self, connection: Connection, told: Sequence[tuple[Reading, datetime]], at: datetime) -> "_Thought":
        instances = instance_rows.by_fingerprint(connection, [one.fingerprint for one, _ in told])
        readings = [
            one
            for one, found_at in told
            if one.fingerprint not in instances or instances[one.fingerprint].last_seen_at <= found_at
        ]
        return _Thought(step=advance(self._settings.rules, instances, readings, at, sparse=True), about=instances)

    def _timed(self, connection: Connection, at: datetime) -> dict[str, Instance]:
        settings = self._settings
        return instance_rows.timed(connection, settings.rules, at, settings.told_once_for)

    def _expire(self, connection: Connection, at: datetime) -> "_Thought":
        settings, instances = self._settings, self._timed(connection, at)
        return _Thought(step=expire(settings.rules, instances, at, told_once_for=settings.told_once_for))


@dataclass(frozen=True, kw_only=True)
class _Thought:
    """What is to be written."""

    step: Step
    about: Mapping[str, Instance] = field(default_factory=dict)
    readings: Sequence[Reading] = ()
    latest: Mapping[str, Sequence[Reading]] = field(default_factory=dict)


def _take(connection: Connection, source: str, alerts: Sequence[Alert], at: datetime, *, complete: bool) -> _Thought:
    instances = instance_rows.living_outside(connection, source)
    named = {fingerprint_of(outside_rule(source, alert.rule), alert.labels) for alert in alerts}
    instances |= instance_rows.by_fingerprint(connection, named - instances.keys())
    return _Thought(step=advance_outside(instances, source, alerts, at, complete=complete), about=instances)


def _present(instances: Mapping[str, Instance]) -> dict[str, Severity]:
    return {each.fingerprint: each.level for each in instances.values() if each.is_open}


def _is_elsewhere(name: str, rule: Rule, documents: Mapping[str, Document]) -> bool:
    """Whether a rule's alerts are none of these documents' business. Failures of rules are told with any of them."""
    return name != RULE_FAILED and rule.enabled and family_of(rule.source) not in documents


def _is_failure_elsewhere(instance: Instance, rules: Mapping[str, Rule], documents: Mapping[str, Document]) -> bool:
    if instance.rule != RULE_FAILED:
        return False
    rule = rules.get(instance.labels.get("rule", ""))
    return rule is not None and family_of(rule.source) not in documents


def _storable(alert: Alert) -> Alert:
    """Return the alert as the database will give it back: the fingerprint must stay the same."""
    return replace(
        alert,
        message=shortened(" ".join(storable_text(alert.message).split())),
        alertname=storable_text(alert.alertname),
        type=storable_text(alert.type),
        rule=storable_text(alert.rule),
        labels=storable(dict(alert.labels)),
        # An integer may be larger than any that a database keeps.
        value=None if alert.value is None else float(alert.value),
        threshold=None if alert.threshold is None else float(alert.threshold),
    )
