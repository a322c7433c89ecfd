"""What is kept of alerts: history and past silences as the settings say, messages for a week, dead letters for four.

What is open, still to be sent, or known to a target that is to hear of its end stays, however old it is.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Table, delete, exists, func, or_, select

from app.alerts.notices import groups, outbox
from app.alerts.notices.event_rows import EVENTS
from app.alerts.settings import AlertSettings
from app.core.clock import Clock
from app.core.database import Database
from app.core.own_tables import alert_event, alert_instance, alert_outbox, notify_group, service_state, silence
from app.core.upsert import insert_into

KEPT_SENT = timedelta(days=7)
"""Sent and replaced messages."""
KEPT_DEAD = timedelta(days=28)
"""Dead letters: for as long they can be sent again."""
EVERY = timedelta(days=1)
AT_ONCE = 1000
"""Rows of one transaction."""
BUDGET_S = 2.0
"""Alerts are not to wait for this: what is left is done in the passes that follow, half a minute apart."""
_MARK = "alerts:trimmed"
_DEADLINE_S = 15.0

Remove = Callable[[Connection], int]


@dataclass(frozen=True, kw_only=True)
class Trimming:
    """Removes what is no longer kept."""

    database: Database
    clock: Clock
    settings: AlertSettings

    def trim(self) -> Mapping[str, int]:
        """Remove what is too old, where that was not done within a day, and return how many rows of what.

        Raises the errors of `Database`; what was removed until then stays so.
        """
        now, removed = self.clock.now(), Counter[str]()
        if not self._is_due(now):
            return removed
        deadline = self.clock.monotonic() + BUDGET_S
        for name, remove in self._steps(now):
            count = AT_ONCE
            while count >= AT_ONCE:
                with self.database.write(deadline_s=_DEADLINE_S) as connection:
                    count = remove(connection)
                removed[name] += count
                if count >= AT_ONCE and self.clock.monotonic() >= deadline:
                    return +removed
        with self.database.write(deadline_s=_DEADLINE_S) as connection:
            _mark(connection, now)
        return +removed

    def _is_due(self, now: datetime) -> bool:
        mine = service_state.c.key == _MARK
        with self.database.read(deadline_s=_DEADLINE_S) as connection:
            done = connection.execute(select(service_state.c.updated_at).where(mine)).scalar_one_or_none()
        # Later than now only where the clock was set back.
        return done is None or not timedelta(0) <= now - done < EVERY

    def _steps(self, now: datetime) -> Iterator[tuple[str, Remove]]:
        """Yield what removes one sort of rows, at most AT_ONCE, each time it is called."""
        for state, kept in (("sent", KEPT_SENT), ("superseded", KEPT_SENT), ("dead", KEPT_DEAD)):
            yield "messages", _messages(state, now - kept)
        yield "groups", groups.prune
        if self.settings.keep_history_days:
            before = now - timedelta(days=self.settings.keep_history_days)
            yield "events", _events(before)
            yield "alerts", _alerts(before)
            yield "silences", _silences(before)


def _messages(state: str, before: datetime) -> Remove:
    c = alert_outbox.c
    # By its last attempt, not by when it was made: that stands in an index.
    return _oldest(alert_outbox, c.id, c.next_at, (c.state == state) & (c.next_at < before))


def _events(before: datetime) -> Remove:
    own, about = alert_event.c, alert_instance.c
    going_on = exists().where(
        about.fingerprint == own.fingerprint, about.episode == own.episode, about.state != "resolved"
    )
    return _oldest(alert_event, own.id, own.at, (own.at < before) & ~going_on)


def _alerts(before: datetime) -> Remove:
    """Alerts of which nothing else is left: no event, no message that waits, nobody who is to hear of their end."""
    own = alert_instance.c
    waits, known = (
        outbox.names(alert_outbox.c.payload, own.fingerprint),
        outbox.names(notify_group.c.told, own.fingerprint),
    )
    left = or_(
        exists().where(alert_event.c.fingerprint == own.fingerprint),
        exists().where(alert_outbox.c.state == "pending", waits),
        exists().where(notify_group.c.channel == EVENTS, notify_group.c.group_key == own.fingerprint),
        exists().where(notify_group.c.channel != EVENTS, known),
    )
    over = (own.state == "resolved") & (own.resolved_at < before)
    return _oldest(alert_instance, own.fingerprint, own.resolved_at, over & ~left)


def _silences(before: datetime) -> Remove:
    c = silence.c
    return _oldest(silence, c.id, c.ends_at, func.coalesce(c.ended_at, c.ends_at) < before)


def _oldest(table: Table, key: ColumnElement[Any], order: ColumnElement[Any], wanted: ColumnElement[bool]) -> Remove:
    """Return what removes the oldest of some rows.

    In two steps: in one, PostgreSQL looks for them again for each row while its statistics are old. What was found may
    change until it is locked, so the condition is asked twice.
    """

    def remove(connection: Connection) -> int:
        found = connection.execute(select(key).where(wanted).order_by(order).limit(AT_ONCE)).scalars().all()
        portions = (found[first : first + groups.AT_ONCE] for first in range(0, len(found), groups.AT_ONCE))
        return sum(connection.execute(delete(table).where(key.in_(names), wanted)).rowcount for names in portions)

    return remove


def _mark(connection: Connection, now: datetime) -> None:
    inserted = insert_into(service_state, connection.dialect.name).values(key=_MARK, value={}, updated_at=now)
    done = {"updated_at": inserted.excluded.updated_at}
    connection.execute(inserted.on_conflict_do_update(index_elements=["key"], set_=done))
