"""The one place where it is decided what a group's next message is: from all that is known, whatever led there.

Pure. It is done whenever something happened to an alert of the group, or time may have changed something. What waits to
be sent is not added to but made anew: who could not be reached for an hour gets one message that is true, not twelve.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from app.alerts.alert import RANK, Severity
from app.alerts.channel import Notification, Told
from app.alerts.life.instance import Instance
from app.alerts.notices.decision import Decision, Mark, Wishes, decide, marked
from app.alerts.notices.grouping import GROUP_INTERVAL, GROUP_WAIT, Group, Saying, highest
from app.alerts.notices.suppression import Flags

Marks = Mapping[str, Mark | None]
"""Fingerprint -> what the target knows of it after a message; None: nothing any more."""

HELD_BACK_LOOK = GROUP_INTERVAL
"""How soon an alert that is held back is looked at again: nobody says when an inhibition ends."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A message of the group that has not got through."""

    id: int
    marks: Marks
    next_at: datetime
    attempts: int
    last_error: str | None = None


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """How the target sees alerts; each is a function of one alert."""

    flags: Callable[[Instance], Flags]
    wishes: Callable[[Instance], Wishes]
    group_wait: timedelta = GROUP_WAIT


@dataclass(frozen=True, kw_only=True)
class Settled:
    """What is to be done."""

    group: Group
    """As it is from now on."""
    sayings: Sequence[Saying] = ()
    """The new message; none where nothing is to be said."""
    replaced: Sequence[int] = ()
    """Messages that are not to be sent any more."""
    send_at: datetime
    level: Severity = "warning"
    still_firing: bool = False
    attempts: int = 0
    last_error: str | None = None

    @property
    def marks(self) -> Marks:
        return {saying.instance.fingerprint: saying.after for saying in self.sayings}


def settle(
    group: Group,
    instances: Iterable[Instance],
    outlook: Outlook,
    at: datetime,
    *,
    waiting: Sequence[Waiting] = (),
    in_flight: Sequence[Waiting] = (),
) -> Settled:
    """Return the group's next message.

    `instances` are its alerts that are open, and those over of which the target knows or is about to. What is in flight
    is taken for told: the target gets messages of a group one after the other, and each is looked at again before it is
    sent (see `as_known`).
    """
    known = known_after(group.told, in_flight)
    owed = {name for row in waiting for name in row.marks if name not in known or known[name].lost}
    found = {one.fingerprint: one for one in instances}
    decisions = {
        name: decide(one, known.get(name), outlook.flags(one), outlook.wishes(one), at, owed=name in owed)
        for name, one in found.items()
    }
    sayings = [
        Saying(
            instance=found[name],
            decision=decision,
            before=known.get(name),
            after=marked(found[name], known.get(name), decision, outlook.flags(found[name]), at),
        )
        for name, decision in decisions.items()
        if decision.event is not None
    ]
    forgotten = {name for name in group.told if name not in found or decisions[name].forget}
    told = {name: mark for name, mark in group.told.items() if name not in forgotten}
    rest = replace(group, told=told, next_at=look_again_at(decisions.values(), at))
    if not sayings:
        return Settled(group=rest, replaced=[row.id for row in waiting], send_at=at)
    message = Settled(
        group=rest,
        sayings=sayings,
        send_at=_send_at(rest, sayings, known, at, waiting, outlook.group_wait),
        level=highest([saying.level for saying in sayings]),
        still_firing=any(name in found and found[name].is_open for name in known),
        attempts=max((row.attempts for row in waiting), default=0),
        last_error=next((row.last_error for row in reversed(waiting) if row.last_error), None),
    )
    if len(waiting) == 1 and _same(waiting[0].marks, message.marks):
        # What waits says it already; sending it under another key could tell it twice.
        return Settled(group=rest, send_at=at)
    return replace(message, group=replace(rest, version=rest.version + 1), replaced=[row.id for row in waiting])


def known_after(told: Mapping[str, Mark], sent: Iterable[Waiting]) -> dict[str, Mark]:
    """Return what the target knows once it got the messages of `sent` too, in their order."""
    known = dict(told)
    for row in sent:
        for name, mark in row.marks.items():
            if mark is None:
                known.pop(name, None)
            else:
                known[name] = mark
    return known


def _send_at(
    group: Group,
    sayings: Sequence[Saying],
    known: Mapping[str, Mark],
    at: datetime,
    waiting: Sequence[Waiting],
    group_wait: timedelta,
) -> datetime:
    if any(_cannot_wait(saying, known, at) for saying in sayings):
        return at
    if tried := [row.next_at for row in waiting if row.attempts]:
        return max(tried)
    if waiting:
        return min(row.next_at for row in waiting)
    if group.last_sent_at is not None:
        # No message waits longer than that, also where the clock was set back.
        return min(max(at, group.last_sent_at + GROUP_INTERVAL), at + GROUP_INTERVAL)
    return at + group_wait


def _cannot_wait(saying: Saying, known: Mapping[str, Mark], at: datetime) -> bool:
    """A critical alert, or one that became worse, is told at once; but a thousand that come one by one are not."""
    if saying.decision.status == "resolved" or saying.event not in {"firing", "escalated", "flapping"}:
        return False
    level = saying.instance.level
    if level != "critical" and saying.event != "escalated":
        return False
    since = at - GROUP_INTERVAL
    return not any(
        RANK[mark.level] >= RANK[level] and since < mark.at <= at and not mark.lost for mark in known.values()
    )


def _same(waiting: Marks, new: Marks) -> bool:
    return {name: _gist(mark) for name, mark in waiting.items()} == {name: _gist(mark) for name, mark in new.items()}


def _gist(mark: Mark | None) -> tuple[str, int, datetime | None] | None:
    return None if mark is None else (mark.level, mark.episode, mark.flapping_since)


def look_again_at(decisions: Iterable[Decision], at: datetime) -> datetime | None:
    """Return when there may be something to say although nothing happens."""
    decisions = list(decisions)
    times = [one.look_again_at for one in decisions if one.look_again_at is not None]
    held_back = any(one.held_back for one in decisions)
    return min([*times, at + HELD_BACK_LOOK] if held_back else times, default=None)


def got(group: Group, marks: Marks, at: datetime) -> Group:
    """Return a group whose target got a message; it is looked at again for what has to be told next."""
    told = dict(group.told)
    for name, mark in marks.items():
        told.pop(name, None)
        if mark is not None:
            told[name] = replace(mark, at=at)
    return replace(group, told=told, last_sent_at=at, next_at=at)


def given_up(group: Group, marks: Marks, at: datetime) -> Group:
    """Return a group one of whose messages never got through: it counts as told until a repeat would be due."""
    told = dict(group.told)
    for name, mark in marks.items():
        if mark is not None:
            told[name] = replace(mark, at=at, lost=name not in told or told[name].lost)
    return replace(group, told=told, next_at=at)


def as_known(notification: Notification, told: Mapping[str, Mark]) -> Notification:
    """Return a message as it is to be sent to a target that knows `told`.

    An earlier message may have been given up since this one was made. Then the end of an alert is told with its
    beginning, and one that became worse is simply one that fires.
    """
    alerts = tuple(_told_as_known(one, told) for one in notification.alerts)
    return notification if alerts == notification.alerts else replace(notification, alerts=alerts)


def _told_as_known(one: Told, told: Mapping[str, Mark]) -> Told:
    mark = told.get(one.alert.fingerprint)
    if one.event not in {"resolved", "escalated", "eased", "repeat"} or (mark is not None and not mark.lost):
        return one
    return replace(one, event="firing")
