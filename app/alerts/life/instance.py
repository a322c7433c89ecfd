"""One alert's life: what is known of it now, and each change that somebody may be told of."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from app.alerts.alert import Alert, Severity
from app.alerts.channel import Event

__all__ = ["OUTSIDE", "Event", "Instance", "State", "Transition", "outside_rule"]

State = Literal["pending", "firing", "recovering", "resolved"]

OUTSIDE = "outside:"
"""Begins the rule of an alert that no rule of ours found."""


def outside_rule(source: str, name: str = "") -> str:
    """Return the rule of an outside alert: its source, and what the alert itself calls its rule or type."""
    return f"{OUTSIDE}{source}/{name}"


@dataclass(frozen=True, kw_only=True)
class Instance:
    """One alert, identified by rule and labels, through all the times it fires."""

    fingerprint: str
    rule: str
    """Id of the rule, or `outside:<source>/<rule or type>`."""
    rule_hash: str
    """Of the rule's condition: a changed condition ends what the old one found."""
    alertname: str
    type: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    state: State
    """`resolved` with `fired_at` None is a condition that passed before it fired: nobody was told."""
    level: Severity
    """Of now; of a resolved alert the last one."""
    value: float | None
    threshold: float | None
    samples: int
    message: str
    """Of the last bad figure, also when it has become good."""
    pending_since: datetime
    fired_at: datetime | None
    """When this episode fired."""
    resolved_at: datetime | None
    resolve_reason: str | None
    """Its figure, such as `now 40 %`, or why it ended without one: a rule removed or changed, a silent source."""
    last_bad_at: datetime
    last_seen_at: datetime
    """Latest evaluation that had a figure for it."""
    good: int
    """Evaluations in a row that were better than `level`."""
    recent: str
    """Latest evaluations, oldest first, 1 for a bad one; only where the rule counts n of m."""
    episode: int
    """How often it has fired, this time included."""
    changes: tuple[datetime, ...]
    """Level changes of an hour up to the latest one."""
    flapping_since: datetime | None
    hold_s: float
    """Seconds without a change after which it no longer counts as flapping."""
    acked_at: datetime | None = None
    acked_by: str | None = None
    ack_until: datetime | None = None
    ack_level: Severity | None = None
    version: int = 0
    """Changes with every write; 0 where it was never stored."""

    def but(self, **changes: Any) -> "Instance":
        """Return a copy with some fields changed: `dataclasses.replace` takes eight times as long, for each alert."""
        return Instance.of({**self.__dict__, **changes})

    @staticmethod
    def of(values: dict[str, Any]) -> "Instance":
        """Return the instance with these fields, all of them; the dict is the instance's from then on."""
        made = object.__new__(Instance)
        object.__setattr__(made, "__dict__", values)
        return made

    @property
    def is_open(self) -> bool:
        """Whether it has fired and is not over."""
        return self.state in {"firing", "recovering"}

    @property
    def alert(self) -> Alert:
        """What channels tell; its fingerprint is this one's."""
        return Alert(
            type=self.type,
            alertname=self.alertname,
            message=self.message,
            severity=self.level,
            rule=self.rule,
            value=self.value,
            threshold=self.threshold,
            labels=self.labels,
        )


@dataclass(frozen=True, kw_only=True)
class Transition:
    """One change that somebody may be told of."""

    instance: Instance
    """As it is after the change."""
    event: Event
    at: datetime
    before: Severity | None
    """The level before; None where it was not open."""
    reason: str | None = None
