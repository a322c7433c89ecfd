"""What a channel is: one class named `Channel` in one file of app/alerts/channels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TextIO

from app.alerts.alert import Alert
from app.alerts.targets import TargetSettings
from app.core.clock import Clock, SystemClock

Kind = Literal["event", "group", "digest", "test"]
Status = Literal["firing", "resolved"]
Event = Literal["firing", "escalated", "eased", "repeat", "resolved", "acked", "silenced", "flapping"]

# Not `parse_alert`: its limits are for what others hand over, and our own rules' ids may be longer.
_ALERT_KEYS = ("type", "alertname", "message", "severity", "rule", "value", "threshold", "labels")


class DeliveryError(Exception):
    """A channel could not tell people; the message is one line without secrets and without the address."""

    def __init__(self, message: str, *, permanent: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.permanent = permanent
        """True where sending the same again can't succeed before somebody changes something."""
        self.retry_after_s = retry_after_s
        """Seconds for which the receiver asked to be left alone; None where it did not say."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """One alert within a notification."""

    alert: Alert
    status: Status
    event: Event
    """What happened to it; in a digest, what last happened."""
    fired_at: datetime
    resolved_at: datetime | None = None
    duration_s: float | None = None
    """Seconds since it fired, up to its end where it has one."""
    count: int = 1
    """How often it was told in this life, this time included."""
    reason: str = ""
    """Of what is over: its figure now, such as `now 40 %`, or why it ended without one."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """The rule's summary, description and runbook_url, as far as it has them."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, readable by `from_json`."""
        return {
            "alert": self.alert.to_dict(),
            "status": self.status,
            "event": self.event,
            "fired_at": self.fired_at.isoformat(),
            "resolved_at": self.resolved_at.isoformat() if self.resolved_at else None,
            "duration_s": self.duration_s,
            "count": self.count,
            "reason": self.reason,
            "annotations": dict(self.annotations),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Told":
        """Return what `to_json` wrote. Raises KeyError, TypeError or ValueError where it did not."""
        ended = document["resolved_at"]
        return cls(
            alert=Alert(**{key: document["alert"][key] for key in _ALERT_KEYS}),
            status=document["status"],
            event=document["event"],
            fired_at=datetime.fromisoformat(document["fired_at"]),
            resolved_at=datetime.fromisoformat(ended) if ended else None,
            duration_s=document["duration_s"],
            count=document["count"],
            reason=document.get("reason", ""),  # messages of earlier versions may wait to be sent
            annotations=document["annotations"],
        )


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One message on its way to one target."""

    kind: Kind
    """`event`: one transition; `group`: transitions told together; `digest`: all that is still open; `test`."""
    target: str
    """Name of the target as the settings know it."""
    group_key: str = ""
    group_labels: Mapping[str, str] = field(default_factory=dict)
    """The labels that all alerts of the group share because they made it a group."""
    status: Status
    """`firing` while one of its alerts fires."""
    event: Event
    """The most urgent thing that happened."""
    at: datetime
    """Now, aware, in the zone in which people read it."""
    idempotency_key: str
    """The same for every attempt at this message: a receiver may use it to drop the second copy."""
    alerts: tuple[Told, ...]
    left_out: int = 0
    """Alerts that did not fit ("and N more")."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, readable by `from_json`: the payload of an outbox row."""
        return {
            "kind": self.kind,
            "target": self.target,
            "group_key": self.group_key,
            "group_labels": dict(self.group_labels),
            "status": self.status,
            "event": self.event,
            "at": self.at.isoformat(),
            "idempotency_key": self.idempotency_key,
            "alerts": [told.to_json() for told in self.alerts],
            "left_out": self.left_out,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Notification":
        """Return what `to_json` wrote; its times have fixed offsets. Raises KeyError, TypeError or ValueError."""
        return cls(
            kind=document["kind"],
            target=document["target"],
            group_key=document["group_key"],
            group_labels=document["group_labels"],
            status=document["status"],
            event=document["event"],
            at=datetime.fromisoformat(document["at"]),
            idempotency_key=document["idempotency_key"],
            alerts=tuple(Told.from_json(told) for told in document["alerts"]),
            left_out=document["left_out"],
        )


@dataclass(frozen=True, kw_only=True)
class ChannelContext:
    """What a channel may need; it takes its part."""

    logs: Path
    """The folder of log files."""
    stderr: TextIO | None
    """The console; None where the process has none."""
    clock: Clock = field(default_factory=SystemClock)
    target: str = ""
    """Name of the target that the channel serves; empty: the channel's own."""


class Channel(Protocol):
    """A way to tell people."""

    grouped: ClassVar[bool]
    """True where alerts are told together after a short wait; False where each transition is told by itself."""

    def __init__(self, context: ChannelContext, options: TargetSettings) -> None:
        """Make ready; nothing is opened or asked yet."""
        ...

    @property
    def name(self) -> str:
        """The target's name."""
        ...

    @classmethod
    def check(cls, options: TargetSettings) -> None:
        """Raise ValueError naming the key where the options can't serve; read with the settings, so load no library."""
        ...

    def send(self, notification: Notification) -> None:
        """Tell people. Raises DeliveryError."""
        ...

    def test(self) -> str:
        """Try it for real, with a message that says it is a test; return what was done. Raises DeliveryError."""
        ...
