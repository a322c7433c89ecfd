"""What a target is told of one alert now: from what it knows, what is true, and what holds the alert back."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.alerts.alert import RANK, Severity
from app.alerts.channel import Event, Status
from app.alerts.life.instance import Instance
from app.alerts.notices.suppression import Flags


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What a target knows of an alert: the last thing it was told."""

    level: Severity
    at: datetime
    episode: int
    count: int = 1
    """How often it was told."""
    flapping_since: datetime | None = None
    """It was told that the alert flaps since then."""
    lost: bool = False
    """The message never got through and was given up: it is not tried again before a repeat would be due."""

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, readable by `from_json`."""
        document: dict[str, Any] = {"level": self.level, "at": self.at.isoformat(), "episode": self.episode}
        # Ten thousand of these may stand in one row: what says nothing is left out.
        if self.count != 1:
            document["count"] = self.count
        if self.flapping_since is not None:
            document["flapping_since"] = self.flapping_since.isoformat()
        return document | {"lost": True} if self.lost else document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Mark":
        """Return what `to_json` wrote."""
        since = document.get("flapping_since")
        return cls(
            level=document["level"],
            at=datetime.fromisoformat(document["at"]),
            episode=document["episode"],
            count=document.get("count", 1),
            flapping_since=datetime.fromisoformat(since) if since else None,
            lost=document.get("lost", False),
        )


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """What a target wants to hear of an alert."""

    repeat: timedelta
    """How long an alert of its level has to fire on until it is told again."""
    wanted: bool = True
    """Whether it wants alerts of this level at all."""
    send_resolved: bool = True


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What to say; nothing where `event` is None."""

    event: Event | None = None
    status: Status = "firing"
    forget: bool = False
    """What the target knows of the alert is of no use any more."""
    look_again_at: datetime | None = None
    """When there may be something to say although nothing happens; None where only an event changes anything."""
    held_back: bool = False
    """Something would be said if the alert were not held back; when that ends need not be known."""


_NOTHING = Decision()


def decide(
    instance: Instance, mark: Mark | None, flags: Flags, wishes: Wishes, at: datetime, *, owed: bool = False
) -> Decision:
    """Return what is to be said of `instance`.

    `mark` is what the target knows, None where it was told nothing or the end of it all. `owed`: a message that it
    fires was made and never got through. Who was told that an alert fires is told that it is over, whatever holds the
    alert back by then; who was not told never hears the end alone, but beginning and end in one (`firing`, `resolved`).
    """
    if instance.is_open:
        return _of_active(instance, mark, flags, wishes, at)
    return _of_ended(instance, mark, flags, wishes, owed=owed)


def marked(instance: Instance, mark: Mark | None, decision: Decision, flags: Flags, at: datetime) -> Mark | None:
    """Return what the target knows once it was told; None: nothing any more, for the alert is over."""
    if decision.status == "resolved" and decision.event != "flapping":
        return None
    return Mark(
        level=_highest(instance, mark) if decision.event == "flapping" else instance.level,
        at=at,
        episode=instance.episode,
        count=mark.count + 1 if mark is not None and mark.episode == instance.episode else 1,
        flapping_since=instance.flapping_since if flags.held_until is not None else None,
    )


def _of_active(instance: Instance, mark: Mark | None, flags: Flags, wishes: Wishes, at: datetime) -> Decision:
    if mark is None and not wishes.wanted:
        return _NOTHING
    if flags.quiet:
        return Decision(held_back=True)
    if flags.held_until is not None:
        return _of_flapping(instance, mark, flags)
    if mark is None:
        return Decision(event="firing")
    if instance.level != mark.level:
        risen = RANK[instance.level] > RANK[mark.level]
        return Decision(event="firing" if mark.lost else "escalated" if risen else "eased")
    return _repeated(mark, flags, wishes, at)


def _repeated(mark: Mark, flags: Flags, wishes: Wishes, at: datetime) -> Decision:
    due = mark.at + wishes.repeat
    if not wishes.wanted:
        return _NOTHING
    if flags.acked:
        return Decision(held_back=at >= due, look_again_at=due if at < due else None)
    if at < due:
        return Decision(look_again_at=due)
    return Decision(event="firing" if mark.lost else "repeat")


def _of_flapping(instance: Instance, mark: Mark | None, flags: Flags) -> Decision:
    """One message that says so, and then none but of a level higher than any before."""
    until = flags.held_until
    if mark is None or mark.lost or mark.flapping_since != instance.flapping_since:
        return Decision(event="flapping", status="firing" if instance.is_open else "resolved", look_again_at=until)
    if instance.is_open and RANK[instance.level] > RANK[mark.level]:
        return Decision(event="escalated", look_again_at=until)
    return Decision(look_again_at=until)


def _of_ended(instance: Instance, mark: Mark | None, flags: Flags, wishes: Wishes, *, owed: bool) -> Decision:
    known = mark is not None and not mark.lost
    if flags.held_until is not None and known:
        return _of_flapping(instance, mark, flags)
    if not wishes.send_resolved:
        return Decision(forget=mark is not None)
    if known:
        return Decision(event="resolved", status="resolved")
    # A message given up is a dead letter, which tells of itself; the end of what nobody heard of is no news.
    if owed and not flags.quiet:
        return Decision(event="firing", status="resolved")
    return Decision(forget=mark is not None)


def _highest(instance: Instance, mark: Mark | None) -> Severity:
    if mark is None:
        return instance.level
    return max(instance.level, mark.level, key=RANK.__getitem__)
