"""Silences: who does not want to hear of what, from when to when, and why. They apply to alerts of every source."""

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from app.alerts.notices.matchers import Matcher
from app.alerts.rules.windows import Window, parse_window
from app.core.clock import Clock
from app.core.database import Database
from app.core.errors import BadArgument
from app.core.own_tables import notify_group, silence
from app.core.settings_file import nearest

_LONGEST_TEXT = 500


@dataclass(frozen=True, kw_only=True)
class Silence:
    """One silence. It suppresses sending and never changes what is known of an alert."""

    id: str
    """Six letters and digits to name it by."""
    matchers: tuple[Matcher, ...]
    """All of them must fit."""
    starts_at: datetime
    ends_at: datetime
    """From here on it is over."""
    recurrence: Window | None = None
    """Only within these hours of the time between start and end; None: all of it."""
    author: str
    comment: str
    created_at: datetime
    ended_at: datetime | None = None
    """When somebody ended it before its time."""

    def in_force(self, at: datetime) -> bool:
        """Tell whether it is silent at `at`."""
        if not self.starts_at <= at < self.ends_at or (self.ended_at is not None and self.ended_at <= at):
            return False
        return self.recurrence is None or self.recurrence.covers(at)

    def fits(self, labels: Mapping[str, str]) -> bool:
        """Tell whether it is about an alert with these labels (see `labels_of`)."""
        return all(matcher.matches(labels) for matcher in self.matchers)


class Silences:
    """Makes, ends and lists silences. Every method may raise the errors of `Database`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def create(
        self,
        matchers: Sequence[Matcher],
        *,
        starts_at: datetime,
        ends_at: datetime,
        author: str,
        comment: str,
        recurrence: Window | None = None,
    ) -> Silence:
        """Keep a new silence. Raises BadArgument where it could never be in force or does not say who and why."""
        now = self._clock.now()
        if ends_at <= max(starts_at, now):
            raise BadArgument(f"a silence from {starts_at.isoformat()} to {ends_at.isoformat()} is over; end it later")
        if not matchers:
            raise BadArgument("a silence without matchers would fit every alert; name what is to be silent")
        made = Silence(
            id=secrets.token_hex(3),
            matchers=tuple(matchers),
            starts_at=starts_at,
            ends_at=ends_at,
            recurrence=recurrence,
            author=_said("author", author),
            comment=_said("comment", comment),
            created_at=now,
        )
        with self._database.write() as connection:
            connection.execute(insert(silence), _row(made))
            look_again(connection, now)
        return made

    def end(self, silence_id: str) -> Silence:
        """End a silence now; one that is over already stays as it is. Raises BadArgument where there is none."""
        now = self._clock.now()
        with self._database.write() as connection:
            found = _found(connection, silence_id)
            if found.ended_at is not None or found.ends_at <= now:
                return found
            connection.execute(update(silence).where(silence.c.id == silence_id).values(ended_at=now))
            look_again(connection, now)
            return _found(connection, silence_id)

    def list(self, *, over: bool = False) -> list[Silence]:
        """Return the silences that are or will be in force, with `over` also those of the past; soonest end first."""
        with self._database.read() as connection:
            if over:
                rows = connection.execute(select(silence).order_by(silence.c.ends_at, silence.c.id))
                return [_silence(row) for row in rows]
            return not_over(connection, self._clock.now())


def not_over(connection: Connection, at: datetime) -> list[Silence]:
    """Return the silences that are or will be in force at `at` or later, soonest end first."""
    query = select(silence).where(silence.c.ends_at > at).order_by(silence.c.ends_at, silence.c.id)
    found = [_silence(row) for row in connection.execute(query)]
    return [one for one in found if one.ended_at is None or one.ended_at > at]


def in_force(connection: Connection, at: datetime) -> list[Silence]:
    """Return the silences that are in force at `at`."""
    return [one for one in not_over(connection, at) if one.in_force(at)]


def that_fit(silences: Iterable[Silence], labels: Mapping[str, str]) -> tuple[str, ...]:
    """Return the ids of the silences that are about an alert with these labels."""
    return tuple(one.id for one in silences if one.fits(labels))


def look_again(connection: Connection, at: datetime) -> None:
    """Have every group of alerts judged anew at the next flush: what may be said has changed."""
    later = notify_group.c.next_at.is_(None) | (notify_group.c.next_at > at)
    connection.execute(update(notify_group).where(later).values(next_at=at))


def _found(connection: Connection, silence_id: str) -> Silence:
    row = connection.execute(select(silence).where(silence.c.id == silence_id)).one_or_none()
    if row is None:
        known = connection.execute(select(silence.c.id)).scalars().all()
        hint = nearest(silence_id, known)
        raise BadArgument(f"there is no silence {silence_id!r}{hint}; `gengfu alerts silences` lists them")
    return _silence(row)


def _said(what: str, text: str) -> str:
    words = " ".join(text.split())
    if not words:
        raise BadArgument(f"a silence needs a {what}: somebody will ask later who wanted it and why")
    return words[:_LONGEST_TEXT]


def _row(made: Silence) -> dict[str, Any]:
    return {
        "id": made.id,
        "matchers": [matcher.to_json() for matcher in made.matchers],
        "starts_at": made.starts_at,
        "ends_at": made.ends_at,
        "recurrence": made.recurrence.to_json() if made.recurrence else None,
        "author": made.author,
        "comment": made.comment,
        "created_at": made.created_at,
        "ended_at": made.ended_at,
    }


def _silence(row: Row[Any]) -> Silence:
    return Silence(
        id=row.id,
        matchers=tuple(Matcher.from_json(matcher) for matcher in row.matchers),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        recurrence=parse_window(row.recurrence) if row.recurrence else None,
        author=row.author,
        comment=row.comment,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )
