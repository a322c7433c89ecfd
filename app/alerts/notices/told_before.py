"""What targets were told while the database was away counts as told once the alert is entered: nobody hears it twice.

Steps within a transaction of the caller, before what happened is announced.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from sqlalchemy import Connection

from app.alerts.channel import Event
from app.alerts.life.instance import Instance, Transition
from app.alerts.notices import groups
from app.alerts.notices.day_summary import Change, Heard
from app.alerts.notices.decision import Mark
from app.alerts.notices.event_rows import EVENTS
from app.alerts.notices.grouping import Group, group_key
from app.alerts.notices.outlook import View
from app.alerts.notices.recipients import Recipient

_HEARD: frozenset[Event] = frozenset({"firing", "escalated"})
"""Without the database nothing else is told."""

_Marks = Mapping[str, Mapping[str, Mark]]
"""Group key -> what stands there to be told of -> what is known."""


def may_be_heard(transitions: Iterable[Transition]) -> list[Instance]:
    """Return the alerts of which somebody may have been told already."""
    return [one.instance for one in transitions if one.event in _HEARD]


def enter_single(
    connection: Connection, recipients: Sequence[Recipient], instances: Iterable[Instance], heard: Heard
) -> None:
    """Enter what channels know that take each transition by itself."""
    marks = {
        one.fingerprint: {
            recipient.name: _mark(one, heard[recipient.name][one.fingerprint])
            for recipient in recipients
            if one.fingerprint in heard.get(recipient.name, {})
        }
        for one in instances
    }
    _enter(connection, EVENTS, marks, {name: {} for name, known in marks.items() if known})


def enter_grouped(
    connection: Connection, view: View, recipient: Recipient, instances: Iterable[Instance], heard: Heard
) -> None:
    """Enter what a target knows that is told of groups."""
    mine = heard.get(recipient.name, {})
    marks: dict[str, dict[str, Mark]] = {}
    labels: dict[str, Mapping[str, str]] = {}
    for one in instances:
        if one.fingerprint in mine:
            own = view.labels(recipient, one)
            labels[group_key(own)] = own
            marks.setdefault(group_key(own), {})[one.fingerprint] = _mark(one, mine[one.fingerprint])
    _enter(connection, recipient.name, marks, labels)


def _enter(connection: Connection, target: str, marks: _Marks, labels: Mapping[str, Mapping[str, str]]) -> None:
    if labels:
        locked = groups.lock(connection, target, labels)
        groups.save(connection, [_with(group, marks[group.key]) for group in locked.values()])


def _with(group: Group, marks: Mapping[str, Mark]) -> Group:
    told = dict(group.told)
    for name, mark in marks.items():
        before = told.get(name)
        if before is None or before.at < mark.at:
            count = before.count + 1 if before is not None and before.episode == mark.episode else 1
            told[name] = replace(mark, count=count)
    return replace(group, told=told)


def _mark(instance: Instance, told: Change) -> Mark:
    return Mark(level=told.severity, at=told.at, episode=instance.episode)
