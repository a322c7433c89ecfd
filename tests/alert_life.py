"""Alerts on their way through time, of rules of their own."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from app.alerts.alert import Severity, fingerprint_of
from app.alerts.life.instance import Instance, Transition
from app.alerts.life.lifecycle import Step, advance, expire
from app.alerts.rules.readings import RULE_FAILED, Reading
from app.alerts.rules.rule import Rule
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


def failed_rule(name: str) -> Reading:
    return Reading(rule_id=RULE_FAILED, labels={"rule": name}, level="error", value=1)


def flap(life: Life, *minutes: float) -> list[str]:
    """Go to and fro, one change at each minute; returns the events."""
    events: list[str] = []
    for minute in minutes:
        bad = FINGERPRINT not in life.instances or life.alert.state == "resolved"
        events += life.see(minute, "warning" if bad else None)
    return events
