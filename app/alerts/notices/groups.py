"""`gengfu_notify_group`: what each target was told of each group. Steps within a transaction of the caller.

Whoever changes a group or its messages locks the row first, and several in the order of their names.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, String, cast, delete, exists, select

from app.alerts.notices.decision import Mark
from app.alerts.notices.grouping import Group
from app.core.own_tables import alert_outbox, notify_group
from app.core.upsert import execute_many, insert_into

AT_ONCE = 500
"""Rows that one statement names."""

_KEY = ("channel", "group_key")


def lock(connection: Connection, target: str, labels: Mapping[str, Mapping[str, str]]) -> dict[str, Group]:
    """Return the groups of `target` named by the keys of `labels`, made where they are not there, and locked."""
    found: dict[str, Group] = {}
    for keys in _portions(sorted(labels)):
        rows = [_row(Group(target=target, key=key, labels=labels[key])) for key in keys]
        made = insert_into(notify_group, connection.dialect.name).on_conflict_do_nothing()
        execute_many(connection, made, rows, notify_group.c.group_key)
        found |= {group.key: group for group in _locked(connection, target, keys)}
    return found


def lock_known(connection: Connection, target: str, keys: Iterable[str]) -> dict[str, Group]:
    """Return those groups of `target` that are there, locked."""
    found = (_locked(connection, target, portion) for portion in _portions(sorted(keys)))
    return {group.key: group for portion in found for group in portion}


def save(connection: Connection, groups: Iterable[Group]) -> None:
    """Write groups that were locked."""
    # An INSERT although the rows are there: of many UPDATEs each would be a round trip.
    execute_many(
        connection, _replace(connection.dialect.name), [_row(group) for group in groups], notify_group.c.group_key
    )


def remove(connection: Connection, target: str, keys: Iterable[str]) -> None:
    """Forget groups of which nothing is left to remember."""
    for portion in _portions(sorted(keys)):
        connection.execute(
            delete(notify_group).where(notify_group.c.channel == target, notify_group.c.group_key.in_(portion))
        )


def due(connection: Connection, at: datetime) -> dict[str, list[str]]:
    """Return the groups that are to be looked at: target -> keys."""
    query = select(notify_group.c.channel, notify_group.c.group_key).where(notify_group.c.next_at <= at)
    found: dict[str, list[str]] = {}
    for target, key in connection.execute(query.order_by(notify_group.c.channel, notify_group.c.group_key)):
        found.setdefault(target, []).append(key)
    return found


def prune(connection: Connection) -> int:
    """Forget groups that nobody knows anything of any more; return how many.

    One whose messages still stand in the outbox stays: made anew it would give the next message an old one's key.
    """
    has_messages = exists().where(
        alert_outbox.c.channel == notify_group.c.channel, alert_outbox.c.group_key == notify_group.c.group_key
    )
    idle = (notify_group.c.next_at.is_(None), cast(notify_group.c.told, String) == "{}", ~has_messages)
    # What events were told, under the channel without a name, is removed with the events.
    gone = delete(notify_group).where(notify_group.c.channel != "", *idle)
    return max(connection.execute(gone).rowcount, 0)


def told(connection: Connection, target: str, key: str) -> dict[str, Mark]:
    """Return what a target was told of one group."""
    mine = (notify_group.c.channel == target, notify_group.c.group_key == key)
    found = connection.execute(select(notify_group.c.told).where(*mine)).scalar_one_or_none()
    return _marks(found or {})


def _locked(connection: Connection, target: str, keys: list[str]) -> list[Group]:
    mine = (notify_group.c.channel == target, notify_group.c.group_key.in_(keys))
    query = select(notify_group).where(*mine).order_by(notify_group.c.group_key).with_for_update()
    return [_group(row) for row in connection.execute(query)]


def _group(row: Row[Any]) -> Group:
    return Group(
        target=row.channel,
        key=row.group_key,
        labels=row.group_labels,
        next_at=row.next_at,
        last_sent_at=row.last_sent_at,
        told=_marks(row.told),
        version=row.version,
    )


def _marks(documents: Mapping[str, Any]) -> dict[str, Mark]:
    return {name: Mark.from_json(document) for name, document in documents.items()}


@cache
def _replace(dialect: str) -> Any:
    into = insert_into(notify_group, dialect)
    changed = {name: into.excluded[name] for name in notify_group.c.keys() if name not in _KEY}  # noqa: SIM118 - columns
    return into.on_conflict_do_update(index_elements=_KEY, set_=changed)


def _row(group: Group) -> dict[str, Any]:
    return {
        "channel": group.target,
        "group_key": group.key,
        "group_labels": dict(group.labels),
        "next_at": group.next_at,
        "last_sent_at": group.last_sent_at,
        "told": {name: mark.to_json() for name, mark in group.told.items()},
        "version": group.version,
    }


def _portions(keys: list[str]) -> Iterable[list[str]]:
    return (keys[first : first + AT_ONCE] for first in range(0, len(keys), AT_ONCE))
