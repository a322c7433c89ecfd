"""`gengfu_alert_outbox`: what is still to be told. A row is written with what it tells of and marked after the send.

Steps within a transaction of the caller. A row that somebody has taken (`lease_until`) is neither changed nor replaced
before it was marked: should its sender die, the same message goes out again under the same key, and nothing else does.
"""

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from itertools import count
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Text, cast, func, literal, select, tuple_, update

from app.alerts.alert import Severity
from app.alerts.channel import Notification
from app.alerts.notices import groups
from app.alerts.notices.decision import Mark
from app.alerts.notices.groups import AT_ONCE
from app.alerts.notices.settling import Marks, Waiting, given_up
from app.core.own_tables import alert_outbox as outbox
from app.core.upsert import execute_many, insert_into

EXPIRES_AFTER: Mapping[Severity, timedelta] = {
    "critical": timedelta(hours=48),
    "error": timedelta(hours=12),
    "warning": timedelta(hours=12),
}
"""A row that did not get through within this is a dead letter."""
DIGEST_OWNER = "digest:"
"""Begins the owner of rows that are sent in one message."""
_LEAST_PAGE = 20
"""Rows looked at for one that may go."""
DAILY = "digest"
"""Group of the daily digests."""
OVERFLOW = "overflow"
"""Group that a message names which tells what did not fit into the hour."""


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A row to be written."""

    notification: Notification
    level: Severity
    marks: Marks
    """What the target knows once it got the message."""
    at: datetime
    send_at: datetime
    attempts: int = 0
    last_error: str | None = None
    is_void: bool = False
    """Nothing is sent; the row only keeps another one of its key away."""


@dataclass(frozen=True, kw_only=True)
class OutboxRow:
    """A row of the outbox."""

    id: int
    target: str
    group_key: str
    kind: str
    level: Severity
    dedupe_key: str
    payload: Mapping[str, Any]
    state: str
    """pending | sent | dead | superseded"""
    attempts: int
    created_at: datetime
    next_at: datetime
    lease_until: datetime | None
    lease_owner: str | None
    sent_at: datetime | None
    last_error: str | None
    expires_at: datetime

    @cached_property
    def notification(self) -> Notification:
        """What is to be said. Raises KeyError, TypeError or ValueError where the row is none of ours."""
        return Notification.from_json(self.payload)

    @cached_property
    def marks(self) -> Marks:
        """What the target knows once it got it."""
        rows = self.payload.get("marks", {}).items()
        return {name: Mark.from_json(mark) if mark else None for name, mark in rows}

    @property
    def waiting(self) -> Waiting:
        return Waiting(
            id=self.id, marks=self.marks, next_at=self.next_at, attempts=self.attempts, last_error=self.last_error
        )


def key_of(*parts: object) -> str:
    """Return a key for a row: the same parts give the same one, and a receiver may see it."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:32]


def enqueue(connection: Connection, drafts: Iterable[Draft]) -> None:
    """Write rows; one whose key is there already stands as it is."""
    statement = insert_into(outbox, connection.dialect.name).on_conflict_do_nothing(index_elements=["dedupe_key"])
    execute_many(connection, statement, [_row(draft) for draft in drafts], outbox.c.id)


def unknown(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Return those of some keys under which there is no row."""
    wanted = set(keys)
    query = select(outbox.c.dedupe_key).where(outbox.c.dedupe_key.in_(wanted))
    return wanted - set(connection.execute(query).scalars())


def of_groups(connection: Connection, target: str, keys: Sequence[str]) -> dict[str, list[OutboxRow]]:
    """Return the rows of locked groups that wait or are in flight, oldest first, and lock those that wait."""
    found: dict[str, list[OutboxRow]] = {}
    for first in range(0, len(keys), AT_ONCE):
        mine = (outbox.c.channel == target, outbox.c.group_key.in_(keys[first : first + AT_ONCE]))
        query = select(outbox).where(*mine, outbox.c.state == "pending").order_by(outbox.c.id).with_for_update()
        for row in connection.execute(query):
            found.setdefault(row.group_key, []).append(_outbox_row(row))
    return found


def supersede(connection: Connection, ids: Collection[int]) -> None:
    """Have rows replaced that nobody has taken."""
    for portion in _portions(list(ids)):
        connection.execute(
            update(outbox).where(outbox.c.id.in_(portion), outbox.c.state == "pending").values(state="superseded")
        )


def targets_due(connection: Connection, at: datetime) -> list[str]:
    """Return the targets for which something may be sent now."""
    query = select(outbox.c.channel).where(outbox.c.state == "pending", outbox.c.next_at <= at, _free(at))
    return sorted(connection.execute(query.distinct()).scalars())


def claim(
    connection: Connection,
    target: str,
    at: datetime,
    owner: str,
    until: datetime,
    *,
    limit: int = 1,
    exempt_only: bool = False,
) -> list[OutboxRow]:
    """Take rows of `target` that are due, critical ones first, and of each group only the oldest.

    `exempt_only`: none but those that no limit of messages holds back.
    """
    conditions = _due(target, at)
    if exempt_only:
        conditions = (*conditions, outbox.c.level == "critical")
    ids = _first_of_groups(connection, target, conditions, (outbox.c.level != "critical", outbox.c.id), limit)
    return _take(connection, ids, at, owner, until)


def claim_crashed_digest(connection: Connection, target: str, at: datetime, until: datetime) -> list[OutboxRow]:
    """Take again, whole and under one name, rows that somebody died sending in one message; none where nobody did."""
    mine = (*_due(target, at), outbox.c.lease_owner.startswith(DIGEST_OWNER, autoescape=True))
    owner = connection.execute(select(outbox.c.lease_owner).where(*mine).limit(1)).scalar_one_or_none()
    if owner is None:
        return []
    rows = select(outbox.c.id).where(*mine, outbox.c.lease_owner == owner).order_by(outbox.c.id)
    return _take(connection, connection.execute(rows).scalars().all(), at, owner, until)


def claim_for_digest(
    connection: Connection, target: str, at: datetime, owner: str, until: datetime, *, limit: int
) -> list[OutboxRow]:
    """Take all rows of `target` that are due and not critical, to be sent in one message: two at least, or none."""
    # What somebody died sending may have got through under its own key, and has to be sent again under that.
    fresh = (*_due(target, at), outbox.c.level != "critical", outbox.c.lease_owner.is_(None))
    ids = _first_of_groups(connection, target, fresh, (outbox.c.id,), limit)
    return _take(connection, ids, at, owner, until) if len(ids) > 1 else []


def sent_since(connection: Connection, target: str, since: datetime) -> int:
    """Return how many messages that are not critical `target` got after `since`."""
    mine = (outbox.c.channel == target, outbox.c.state == "sent", outbox.c.sent_at > since)
    query = select(func.count()).select_from(outbox).where(*mine, outbox.c.level != "critical")
    return connection.execute(query).scalar_one()


def has_got_one_since(connection: Connection, target: str, since: datetime) -> bool:
    """Tell whether `target` took any message from `since` on."""
    mine = (outbox.c.channel == target, outbox.c.state == "sent", outbox.c.sent_at >= since)
    return connection.execute(select(outbox.c.id).where(*mine).limit(1)).first() is not None


def mark(connection: Connection, rows: Sequence[OutboxRow], **values: Any) -> list[int]:
    """Change rows that are still ours and return their ids; others may have taken them when our lease was over."""
    values |= {"lease_until": None}
    marked: list[int] = []
    for portion in _portions(list(rows)):
        ours = tuple_(outbox.c.id, outbox.c.lease_owner).in_([(row.id, row.lease_owner) for row in portion])
        changed = update(outbox).where(ours, outbox.c.state == "pending").values(**values).returning(outbox.c.id)
        marked += connection.execute(changed).scalars()
    return marked


def overdue(connection: Connection, target: str, at: datetime) -> list[OutboxRow]:
    """Return the rows of `target` that nobody has taken and whose time is over."""
    mine = (outbox.c.channel == target, outbox.c.state == "pending", outbox.c.expires_at <= at, _free(at))
    return [_outbox_row(row) for row in connection.execute(select(outbox).where(*mine).order_by(outbox.c.id))]


def targets_overdue(connection: Connection, at: datetime) -> list[str]:
    """Return the targets for which a row's time is over."""
    query = select(outbox.c.channel).where(outbox.c.state == "pending", outbox.c.expires_at <= at, _free(at))
    return sorted(connection.execute(query.distinct()).scalars())


def bury(connection: Connection, rows: Collection[OutboxRow], at: datetime) -> int:
    """Make dead letters of rows that nobody has taken, and return how many.

    What they tell of counts as told until a repeat would be due.
    """
    buried = 0
    for target in sorted({row.target for row in rows}):
        mine = [row for row in rows if row.target == target]
        locked = groups.lock_known(connection, target, {row.group_key for row in mine})
        gone = _bury(connection, [row.id for row in mine], at)
        buried += len(gone)
        for row in mine:
            if row.id in gone and row.group_key in locked:
                locked[row.group_key] = given_up(locked[row.group_key], row.marks, at)
        groups.save(connection, locked.values())
    return buried


def replay(connection: Connection, at: datetime, ids: Collection[int] | None = None, target: str | None = None) -> int:
    """Send dead letters again, all or those named, and return how many: their keys stay the same."""
    wanted = [outbox.c.state == "dead"]
    if ids is not None:
        wanted.append(outbox.c.id.in_(list(ids)))
    if target is not None:
        wanted.append(outbox.c.channel == target)
    dead = connection.execute(select(outbox.c.id, outbox.c.level).where(*wanted)).all()
    for level, after in EXPIRES_AFTER.items():
        values = {"state": "pending", "next_at": at, "attempts": 0, "expires_at": at + after}
        for portion in _portions([row.id for row in dead if row.level == level]):
            connection.execute(update(outbox).where(outbox.c.id.in_(portion)).values(**values))
    return len(dead)


def listed(
    connection: Connection, *, states: Collection[str] = ("pending", "dead"), limit: int = 1000
) -> list[OutboxRow]:
    """Return rows in these states, the oldest first."""
    query = select(outbox).where(outbox.c.state.in_(list(states))).order_by(outbox.c.id).limit(limit)
    return [_outbox_row(row) for row in connection.execute(query)]


def counted(connection: Connection) -> dict[str, dict[str, int]]:
    """Return how many rows there are: target -> state -> number."""
    query = select(outbox.c.channel, outbox.c.state, func.count()).group_by(outbox.c.channel, outbox.c.state)
    found: dict[str, dict[str, int]] = {}
    for target, state, number in connection.execute(query):
        found.setdefault(target, {})[state] = number
    return found


def newest(connection: Connection, *, state: str | None, limit: int) -> list[OutboxRow]:
    """Return the newest rows of a state, or of all, newest first."""
    wanted = () if state is None else (outbox.c.state == state,)
    query = select(outbox).where(*wanted).order_by(outbox.c.id.desc()).limit(limit)
    return [_outbox_row(row) for row in connection.execute(query)]


def about(connection: Connection, fingerprint: str, singly: Collection[str], limit: int) -> list[OutboxRow]:
    """Return the newest rows that tell of an alert, by name or as one of those left out.

    `singly` are the targets that are told each transition by itself: their rows, most of all there are, have the
    fingerprint as key. The others are looked through, target by target.
    """
    found: list[OutboxRow] = []
    for target in _targets(connection):
        told = outbox.c.group_key == fingerprint if target in singly else names(outbox.c.payload, fingerprint)
        query = select(outbox).where(outbox.c.channel == target, told).order_by(outbox.c.id.desc()).limit(limit)
        found += map(_outbox_row, connection.execute(query))
    return sorted(found, key=lambda row: row.id, reverse=True)[:limit]


def names(document: ColumnElement[Any], fingerprint: Any) -> ColumnElement[bool]:
    """Return the condition that a JSON column has a text or key that is this fingerprint, a value or a column."""
    return cast(document, Text).like(literal('%"') + fingerprint + literal('"%'))


def _targets(connection: Connection) -> Iterator[str]:
    """Yield the target of every row: one look into the index for each, for DISTINCT would read every row."""
    target = ""
    while target is not None:
        following = select(func.min(outbox.c.channel)).where(outbox.c.channel > target)
        if (target := connection.execute(following).scalar_one()) is not None:
            yield target


def _bury(connection: Connection, ids: list[int], at: datetime) -> set[int]:
    buried: set[int] = set()
    for portion in _portions(ids):
        mine = (outbox.c.id.in_(portion), outbox.c.state == "pending", _free(at))
        changed = update(outbox).where(*mine).values(state="dead", lease_until=None, lease_owner=None)
        buried |= {row.id for row in connection.execute(changed.returning(outbox.c.id))}
    return buried


def _due(target: str, at: datetime) -> tuple[ColumnElement[bool], ...]:
    return (outbox.c.channel == target, outbox.c.state == "pending", outbox.c.next_at <= at, _free(at))


def _free(at: datetime) -> ColumnElement[bool]:
    return outbox.c.lease_until.is_(None) | (outbox.c.lease_until <= at)


def _first_of_groups(
    connection: Connection,
    target: str,
    conditions: Collection[ColumnElement[bool]],
    order: Collection[ColumnElement[Any]],
    limit: int,
) -> list[int]:
    """Return the first rows that nothing of their group waits before.

    Asked in two steps: in one, PostgreSQL compares each row with every other while its statistics are old.
    """
    found: list[int] = []
    size = min(max(limit, _LEAST_PAGE), AT_ONCE)
    page = select(outbox.c.id, outbox.c.group_key).where(*conditions).order_by(*order).limit(size)
    for number in count():
        rows = connection.execute(page.offset(number * size)).all()
        mine = (outbox.c.channel == target, outbox.c.group_key.in_({row.group_key for row in rows}))
        oldest = select(func.min(outbox.c.id)).where(*mine, outbox.c.state == "pending").group_by(outbox.c.group_key)
        first = set(connection.execute(oldest).scalars())
        found += [row.id for row in rows if row.id in first]
        if len(found) >= limit or len(rows) < size:
            break
    return found[:limit]


def _take(connection: Connection, ids: Sequence[int], at: datetime, owner: str, until: datetime) -> list[OutboxRow]:
    # A row that somebody else is about to take is left to them, not waited for.
    mine = (outbox.c.id.in_(ids), outbox.c.state == "pending", _free(at))
    still = connection.execute(select(outbox.c.id).where(*mine).with_for_update(skip_locked=True)).scalars().all()
    taken = update(outbox).where(outbox.c.id.in_(still)).values(lease_owner=owner, lease_until=until)
    rows = connection.execute(taken.returning(*outbox.c)).all() if still else []
    place = {row_id: number for number, row_id in enumerate(ids)}
    return sorted((_outbox_row(row) for row in rows), key=lambda row: place[row.id])


def _row(draft: Draft) -> dict[str, Any]:
    notification = draft.notification
    marks = {name: mark.to_json() if mark else None for name, mark in draft.marks.items()}
    return {
        "channel": notification.target,
        "group_key": notification.group_key,
        "kind": notification.kind,
        "level": draft.level,
        "dedupe_key": notification.idempotency_key,
        "payload": notification.to_json() | {"marks": marks},
        "state": "superseded" if draft.is_void else "pending",
        "attempts": draft.attempts,
        "created_at": draft.at,
        "next_at": draft.send_at,
        "last_error": draft.last_error,
        "expires_at": draft.at + EXPIRES_AFTER[draft.level],
    }


def _outbox_row(row: Row[Any]) -> OutboxRow:
    facts = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name
    return OutboxRow(target=facts.pop("channel"), **facts)


def _portions(things: list[Any]) -> Iterable[list[Any]]:
    return (things[first : first + AT_ONCE] for first in range(0, len(things), AT_ONCE))
