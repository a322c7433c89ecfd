"""Channels that take each transition by itself: rows for what happens, and repeats of what goes on.

`log_files` writes down everything, also what nobody is told; the others are told as people are. What each knows of an
alert stands in one row of `gengfu_notify_group`: no target (`EVENTS`), the fingerprint as key, `told` by channel.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.alerts.channel import Event
from app.alerts.life.instance import Instance, Transition
from app.alerts.notices import groups, outbox
from app.alerts.notices.decision import Decision, Mark, decide, marked
from app.alerts.notices.grouping import Group, Saying, compose
from app.alerts.notices.outbox import Draft
from app.alerts.notices.outlook import View
from app.alerts.notices.recipients import Recipient
from app.alerts.notices.settling import look_again_at

EVENTS = ""
"""Stands for the target where no target's group is meant."""
# What becomes of an alert of which somebody asked not to hear.
_SILENCED: frozenset[Event] = frozenset({"firing", "escalated", "eased", "flapping"})


def announce(
    connection: Connection,
    view: View,
    recipients: Sequence[Recipient],
    transitions: Iterable[Transition],
    zone: ZoneInfo,
) -> None:
    """Write a row for each transition and channel."""
    by_alert: dict[str, list[Transition]] = {}
    for one in transitions:
        by_alert.setdefault(one.instance.fingerprint, []).append(one)
    if not recipients:
        return
    book = _Book(view, recipients, zone)
    locked = groups.lock(connection, EVENTS, {name: {} for name in by_alert})
    for name, changes in by_alert.items():
        for change in changes:
            locked[name] = book.told(locked[name], change.instance, change.event)
    _save(connection, book, locked.values())


def repeat(
    connection: Connection, view: View, recipients: Sequence[Recipient], fingerprints: Sequence[str], zone: ZoneInfo
) -> None:
    """Write a row for each alert that goes on and of which a channel is to be told again, or now at last."""
    book = _Book(view, recipients, zone)
    locked = groups.lock_known(connection, EVENTS, fingerprints)
    alerts = {one.fingerprint: one for one in view.alerts(locked)}
    for name, group in locked.items():
        # Without the alert, or without channels, nothing is left to remember.
        forgotten = replace(group, told={}, next_at=None)
        locked[name] = book.told(group, alerts[name], None) if name in alerts and recipients else forgotten
    _save(connection, book, locked.values())


class _Book:
    """Writes rows and what the channels know by them."""

    def __init__(self, view: View, recipients: Sequence[Recipient], zone: ZoneInfo) -> None:
        self._view = view
        self._recipients = recipients
        self._zone = zone
        self.drafts: list[Draft] = []

    def told(self, group: Group, instance: Instance, event: Event | None) -> Group:
        """Return what all channels know of an alert after `event`, or after some time where that is None."""
        told, decisions = dict(group.told), []
        for recipient in self._recipients:
            mark = told.get(recipient.name)
            decision = self._decision(recipient, instance, mark, event)
            if decision.event is not None:
                mark = self._say(recipient, instance, mark, decision)
                decision = self._decision(recipient, instance, mark, None)
            # The record of what is over is complete.
            over = recipient.is_record and not instance.is_open
            told = {name: known for name, known in told.items() if name != recipient.name}
            told |= {recipient.name: mark} if mark is not None and not decision.forget and not over else {}
            decisions.append(Decision() if over else decision)
        return replace(group, told=told, next_at=look_again_at(decisions, self._view.at))

    def _decision(self, recipient: Recipient, instance: Instance, mark: Mark | None, event: Event | None) -> Decision:
        view = self._view
        wishes = view.wishes(recipient, instance)
        if recipient.is_record and event is not None and not _stands_there(event, instance, mark):
            return self._recorded(instance, event) if wishes.wanted or mark is not None else Decision()
        if event == "acked":
            return Decision()
        decision = decide(instance, mark, view.flags(instance), wishes, view.at)
        # What happened was recorded when it happened.
        return replace(decision, event=None) if recipient.is_record and decision.event != "repeat" else decision

    def _recorded(self, instance: Instance, event: Event) -> Decision:
        silent = self._view.flags(instance).silent and event in _SILENCED
        over = not instance.is_open
        return Decision(event="silenced" if silent else event, status="resolved" if over else "firing")

    def _say(self, recipient: Recipient, instance: Instance, mark: Mark | None, decision: Decision) -> Mark | None:
        view, at = self._view, self._view.at
        after = marked(instance, mark, decision, view.flags(instance), at)
        saying = Saying(instance=instance, decision=decision, before=mark, after=after)
        key = outbox.key_of("event", recipient.name, instance.fingerprint, decision.event, at.isoformat())
        group = Group(target=recipient.name, key=instance.fingerprint, labels={})
        notification = compose(group, [saying], at, self._zone, kind="event", idempotency_key=key)
        self.drafts.append(Draft(notification=notification, level=saying.level, marks={}, at=at, send_at=at))
        return after


def _stands_there(event: Event, instance: Instance, mark: Mark | None) -> bool:
    """Whether it was recorded while the database was away; see `told_before`."""
    if mark is None or event not in {"firing", "escalated"}:
        return False
    return (mark.episode, mark.level) == (instance.episode, instance.level)


def _save(connection: Connection, book: _Book, changed: Iterable[Group]) -> None:
    outbox.enqueue(connection, book.drafts)
    kept = [group for group in changed if group.told or group.next_at is not None]
    groups.save(connection, kept)
    names = {group.key for group in kept}
    groups.remove(connection, EVENTS, [group.key for group in changed if group.key not in names])
