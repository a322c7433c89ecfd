"""Why an alert that fires is not told of: silenced, acknowledged, inhibited, muted, flapping. Its state goes on."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.alerts.alert import RANK
from app.alerts.life.flapping import held_until
from app.alerts.life.instance import Instance
from app.alerts.notices.labels import labels_of
from app.alerts.notices.silences import Silence, that_fit
from app.alerts.rules.rule import Rule


@dataclass(frozen=True, kw_only=True)
class Flags:
    """What holds an alert back."""

    silenced_by: tuple[str, ...] = ()
    """Ids of the silences about it."""
    acked: bool = False
    """Somebody takes care of it: no repeats."""
    inhibited_by: str | None = None
    """Fingerprint of an alert that explains it."""
    muted: bool = False
    """Its rule wants to be quiet at this hour."""
    held_until: datetime | None = None
    """It flaps, and is left alone until then; None where it does not."""

    @property
    def quiet(self) -> bool:
        """Nothing new is told of it."""
        return bool(self.silenced_by) or self.inhibited_by is not None or self.muted

    @property
    def silent(self) -> bool:
        """Somebody asked for quiet, now or by a rule; an alert that is only inhibited is still written down as told."""
        return bool(self.silenced_by) or self.muted


class Inhibitors:
    """The alerts that fire and may explain others, found by their rule."""

    def __init__(self, active: Iterable[Instance] = ()) -> None:
        self._by_rule: defaultdict[str, list[Instance]] = defaultdict(list)
        for instance in active:
            if instance.is_open:
                self._by_rule[instance.rule].append(instance)

    def of(self, instance: Instance, rule: Rule | None) -> str | None:
        """Return the fingerprint of an alert that explains `instance`; labels that both have must be the same."""
        for inhibitor in rule.inhibitors if rule is not None else ():
            for other in self._by_rule.get(inhibitor.rule, ()):
                if other.fingerprint != instance.fingerprint and _explains(other, inhibitor.level, instance):
                    return other.fingerprint
        return None


def flags(
    instance: Instance, silences: Sequence[Silence], inhibitors: Inhibitors, rule: Rule | None, at: datetime
) -> Flags:
    """Return what holds `instance` back at `at`; `silences` are those in force, `rule` its own, if there is one."""
    held = held_until(instance) if instance.flapping_since is not None else None
    return Flags(
        silenced_by=that_fit(silences, labels_of(instance)) if silences else (),
        acked=_acked(instance, at),
        inhibited_by=inhibitors.of(instance, rule),
        muted=rule is not None and any(window.covers(at) for window in rule.mute_windows),
        held_until=held if held is not None and at < held else None,
    )


def rules_that_inhibit(rules: Mapping[str, Rule]) -> frozenset[str]:
    """Return the ids of the rules whose alerts may explain those of others."""
    return frozenset(inhibitor.rule for rule in rules.values() for inhibitor in rule.inhibitors)


def _acked(instance: Instance, at: datetime) -> bool:
    """Until it escalates, or the time is over; the life cycle takes the acknowledgement back when it resolves."""
    if instance.acked_at is None or (instance.ack_until is not None and at >= instance.ack_until):
        return False
    return instance.ack_level is None or RANK[instance.level] <= RANK[instance.ack_level]


def _explains(other: Instance, level: str | None, instance: Instance) -> bool:
    if level is not None and RANK[other.level] < RANK[level]:
        return False
    return all(other.labels[name] == instance.labels[name] for name in other.labels.keys() & instance.labels.keys())
