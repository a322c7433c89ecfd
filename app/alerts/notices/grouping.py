"""Alerts that are told in one message: what makes them a group, and the message itself."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from app.alerts.alert import RANK, Severity
from app.alerts.channel import Event, Kind, Notification, Status, Told
from app.alerts.life.instance import Instance
from app.alerts.notices.decision import Decision, Mark
from app.alerts.notices.labels import labels_of

GROUP_WAIT = timedelta(seconds=30)
"""A new group's first message waits for the alerts that come with the first."""
GROUP_INTERVAL = timedelta(minutes=5)
"""Least time between two messages of a group."""
MOST_ALERTS = 20
"""In one message; then "and N more"."""
_LONGEST_KEY = 200
# The most urgent first: it is the message's own event.
_URGENCY: tuple[Event, ...] = (
    *("escalated", "firing", "flapping", "repeat", "eased", "resolved", "silenced", "acked"),
)


@dataclass(frozen=True, kw_only=True)
class Group:
    """What one target was told of one group of alerts, and when there may be more to say."""

    target: str
    key: str
    labels: Mapping[str, str]
    """The labels that made it a group."""
    next_at: datetime | None = None
    """When it is to be looked at again; None: only when something happens."""
    last_sent_at: datetime | None = None
    told: Mapping[str, Mark] = field(default_factory=dict)
    """Fingerprint -> what the target knows. Only what got through stands here, or was given up."""
    version: int = 0
    """Counts the messages made."""


@dataclass(frozen=True, kw_only=True)
class Saying:
    """What is to be said of one alert."""

    instance: Instance
    decision: Decision
    before: Mark | None
    """What the target knew."""
    after: Mark | None
    """What it knows once it was told."""

    @property
    def event(self) -> Event:
        if self.decision.event is None:
            raise ValueError(f"there is nothing to say of {self.instance.fingerprint}")
        return self.decision.event

    @property
    def level(self) -> Severity:
        """The level at which people know it: the end of a critical alert is as important as its beginning."""
        known = self.before.level if self.before is not None else self.instance.level
        return known if self.decision.status == "resolved" else self.instance.level


def group_labels(instance: Instance, names: Sequence[str]) -> dict[str, str]:
    """Return the labels that make `instance` part of a group; one it does not have is empty."""
    labels = labels_of(instance)
    return {name: labels.get(name, "") for name in names}


def group_key(labels: Mapping[str, str]) -> str:
    """Return a group's name of at most 200 characters, such as `{alertname="DiskUsageHigh"}`."""
    key = "{" + ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(labels.items())) + "}"
    return key if len(key) <= _LONGEST_KEY else f"sha256:{hashlib.sha256(key.encode()).hexdigest()}"


def compose(
    group: Group,
    sayings: Sequence[Saying],
    at: datetime,
    zone: ZoneInfo,
    *,
    kind: Kind,
    idempotency_key: str,
    still_firing: bool = False,
) -> Notification:
    """Return the message that says all of `sayings`, the most urgent first, the least urgent only counted.

    `still_firing`: of the group something fires that the target knows of already.
    """
    said = sorted(sayings, key=_order)
    tolds = tuple(told_of(saying, at, zone) for saying in said[:MOST_ALERTS])
    return Notification(
        kind=kind,
        target=group.target,
        group_key=group.key,
        group_labels=dict(group.labels),
        status="firing" if still_firing or any(one.decision.status == "firing" for one in said) else "resolved",
        event=headline([saying.event for saying in said] or ["resolved"]),
        at=at.astimezone(zone),
        idempotency_key=idempotency_key,
        alerts=tolds,
        left_out=len(said) - len(tolds),
    )


def told_of(saying: Saying, at: datetime, zone: ZoneInfo) -> Told:
    """Return what is told of one alert."""
    instance = saying.instance
    ended = saying.decision.status == "resolved"
    resolved_at = (instance.resolved_at or at).astimezone(zone) if ended else None
    # A condition that has come again, and not fired yet, knows no longer when it fired before.
    fired_at = (instance.fired_at or (saying.before.at if saying.before else instance.pending_since)).astimezone(zone)
    status: Status = "resolved" if ended else "firing"
    return Told(
        alert=instance.alert,
        status=status,
        event=saying.event,
        fired_at=fired_at,
        resolved_at=resolved_at,
        duration_s=max(((resolved_at or at) - fired_at).total_seconds(), 0.0),
        count=saying.before.count + 1 if saying.before is not None else 1,
        # Of one that has come again, and not fired yet, nothing is known of how it was over.
        reason=instance.resolve_reason or "" if ended and instance.state == "resolved" else "",
        annotations=dict(instance.annotations),
    )


def headline(events: Collection[Event]) -> Event:
    """Return the most urgent of some events."""
    return min(events, key=_URGENCY.index)


def highest(levels: Collection[Severity]) -> Severity:
    """Return the most severe of some levels."""
    return max(levels, key=RANK.__getitem__)


def _order(saying: Saying) -> tuple[bool, int, int, datetime, str]:
    instance = saying.instance
    ended = saying.decision.status == "resolved"
    since = instance.fired_at or instance.pending_since
    return ended, -RANK[saying.level], _URGENCY.index(saying.event), since, instance.fingerprint
