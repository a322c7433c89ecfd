"""What a channel is: one class named `Channel` in one file of app/alerts/channels."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol, TextIO

from app.alerts.alert import Alert

Event = Literal["firing", "escalated", "repeat"]


class DeliveryError(Exception):
    """A channel could not tell people; the message is one line without secrets."""

    def __init__(self, message: str, *, permanent: bool = False) -> None:
        super().__init__(message)
        self.permanent = permanent
        """True where sending the same again can't succeed before somebody changes something."""


@dataclass(frozen=True, kw_only=True)
class Notification:
    """One alert on its way to people."""

    alert: Alert
    event: Event
    at: datetime
    """Now, aware, in the zone in which people read it."""
    fired_at: datetime
    """When it was first seen that day."""
    count: int
    """How often it was seen that day, this time included."""


@dataclass(frozen=True, kw_only=True)
class ChannelContext:
    """What a channel may need; it takes its part."""

    logs: Path
    """The folder of log files."""
    stderr: TextIO | None
    """The console; None where the process has none."""


class Channel(Protocol):
    """A way to tell people."""

    def __init__(self, context: ChannelContext) -> None:
        """Make ready; nothing is opened or asked yet."""
        ...

    def send(self, notification: Notification) -> None:
        """Tell people. Raises DeliveryError."""
        ...
