"""Brings one target its messages, one after the other, and sees each marked before the next."""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection

from app.alerts.channel import Channel, DeliveryError, Notification
from app.alerts.delivery import target_state
from app.alerts.delivery.target_state import BROKEN_AFTER, LONGEST_PAUSE, TargetState, pause_after
from app.alerts.notices import groups, outbox
from app.alerts.notices.grouping import MOST_ALERTS, Group, headline
from app.alerts.notices.outbox import OutboxRow
from app.alerts.notices.recipients import Recipient
from app.alerts.notices.settling import as_known, given_up, got
from app.core.clock import Clock
from app.core.database import Database
from app.core.redaction import redact

_log = structlog.get_logger("gengfu.alerts")

LEASE = timedelta(seconds=60)
"""How long a message is ours; a channel gives up after a sixth of it."""
_ENOUGH = timedelta(seconds=20)
"""With less left of the lease no message is begun."""
MOST_AN_HOUR = 30
"""Messages that a target gets within an hour, critical ones apart; the rest is told in one."""
_HOUR = timedelta(hours=1)
_EVENTS_AT_ONCE = 100
_DIGEST_AT_ONCE = 500
_AWAY_AFTER = 2
"""Failures in a row after which it is the target that is away, not the message that is bad."""
_LONG_AWAY = timedelta(hours=1)
"""A target that has failed for so long will not take what has waited for half a day in the next minute."""
_DEADLINE_S = 15.0
_UNREADABLE = (LookupError, TypeError, ValueError, AttributeError)


@dataclass(kw_only=True)
class Tally:
    """What a courier did so far."""

    sent: int = 0
    failed: int = 0
    buried: int = 0


@dataclass(frozen=True, kw_only=True)
class _Load:
    """Rows that go out in one message."""

    rows: Sequence[OutboxRow]
    notification: Notification


@dataclass(frozen=True, kw_only=True)
class _Trouble:
    """Why a message did not get through."""

    why: str
    permanent: bool
    retry_after: timedelta | None = None


class Courier:
    """One target's. Raises the errors of `Database`."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        recipient: Recipient,
        open_target: Callable[[str], Channel],
        *,
        owner: str,
        checkpoint: Callable[[str], None],
    ) -> None:
        self.target = recipient.name
        self._recipient = recipient
        self._database = database
        self._clock = clock
        self._open_target = open_target
        self._owner = owner
        self._checkpoint = checkpoint
        self._channel: Channel | None = None

    def run(self, tally: Tally, deadline: float) -> None:
        """Send what is due until nothing is, the target is to be left alone, or it is `deadline` (monotonic)."""
        goes_on = True
        while goes_on and self._clock.monotonic() < deadline and (loads := self._take()):
            for number, load in enumerate(loads):
                if not goes_on or not self._in_time(load, deadline):
                    self._put_back(loads[number:])
                    return
                goes_on = self._send(load, tally)

    def _in_time(self, load: _Load, deadline: float) -> bool:
        """Tell whether there is time for another message: whoever waited too long finds it in other hands."""
        lease = load.rows[0].lease_until
        return lease is not None and lease - self._clock.now() >= _ENOUGH and self._clock.monotonic() < deadline

    def _take(self) -> list[_Load]:
        """Take the next messages; those of a target that groups come one at a time."""
        at = self._clock.now()
        until = at + LEASE
        with self._database.write(deadline_s=_DEADLINE_S) as connection:
            if target_state.load(connection, self.target).rests_at(at):
                return []
            if self._recipient.grouped:
                rows = self._next_message(connection, at, until)
                load = self._load(connection, self._readable(connection, rows))
                return [load] if load is not None else []
            rows = outbox.claim(connection, self.target, at, self._owner, until, limit=_EVENTS_AT_ONCE)
            return [_Load(rows=[row], notification=row.notification) for row in self._readable(connection, rows)]

    def _next_message(self, connection: Connection, at: datetime, until: datetime) -> list[OutboxRow]:
        """Take the rows of the next message. The last that an hour allows takes all that waits with it."""
        if crashed := outbox.claim_crashed_digest(connection, self.target, at, until):
            return crashed
        if rows := outbox.claim(connection, self.target, at, self._owner, until, exempt_only=True):
            return rows
        room = MOST_AN_HOUR - outbox.sent_since(connection, self.target, at - _HOUR)
        if room == 1:
            owner = f"{outbox.DIGEST_OWNER}{secrets.token_hex(8)}"
            rows = outbox.claim_for_digest(connection, self.target, at, owner, until, limit=_DIGEST_AT_ONCE)
        return rows or (outbox.claim(connection, self.target, at, self._owner, until) if room > 0 else [])

    def _readable(self, connection: Connection, rows: Sequence[OutboxRow]) -> list[OutboxRow]:
        """Return the rows that can be read; of one that can't nobody would ever be told."""
        bad = [row for row in rows if not _can_be_read(row)]
        if bad:
            outbox.mark(connection, bad, state="dead", lease_owner=None, last_error="the row can't be read")
            _log.error("alert_message_unreadable", target=self.target, rows=[row.id for row in bad])
        return [row for row in rows if row not in bad]

    def _load(self, connection: Connection, rows: Sequence[OutboxRow]) -> _Load | None:
        said = [self._as_known(connection, row) for row in rows]
        if not said:
            return None
        return _Load(rows=rows, notification=said[0] if len(said) == 1 else _in_one(said, self._clock.now()))

    def _as_known(self, connection: Connection, row: OutboxRow) -> Notification:
        if row.kind != "group":
            return row.notification
        return as_known(row.notification, groups.told(connection, self.target, row.group_key))

    def _send(self, load: _Load, tally: Tally) -> bool:
        """Send one message and mark it; False where the target is to be left alone for now."""
        self._checkpoint("taken")
        trouble = self._trouble_of(load.notification)
        self._checkpoint("sent")
        if trouble is None:
            self._note_success(load)
            tally.sent += 1
        else:
            tally.failed += 1
            state = self._note_failure(load, trouble, tally)
            tally.buried += self._bury_overdue(state)
            return state.paused_until is None
        self._checkpoint("marked")
        return True

    def _trouble_of(self, notification: Notification) -> _Trouble | None:
        try:
            self._channel = self._channel or self._open_target(self.target)
            self._channel.send(notification)
        except DeliveryError as error:
            after = timedelta(seconds=error.retry_after_s) if error.retry_after_s is not None else None
            return _Trouble(why=redact(str(error)), permanent=error.permanent, retry_after=after)
        except Exception as error:  # noqa: BLE001 - a bug in one channel must not silence the others
            # Only the kind: its text may hold the address, which receivers take for a password.
            return _Trouble(why=f"the channel failed: {type(error).__name__}", permanent=False)
        return None

    def _note_success(self, load: _Load) -> None:
        first, *others = load.rows
        with self._database.write(deadline_s=_DEADLINE_S) as connection:
            at = self._clock.now()
            locked = self._locked(connection, load)
            marked = set(outbox.mark(connection, [first], state="sent", sent_at=at))
            marked |= set(outbox.mark(connection, others, state="superseded", sent_at=at))
            for row in load.rows:
                if row.id in marked and row.group_key in locked:
                    locked[row.group_key] = got(locked[row.group_key], row.marks, at)
            groups.save(connection, locked.values())
            if target_state.load(connection, self.target).failures:
                target_state.forget(connection, self.target)
                _log.info("alert_target_works_again", target=self.target)

    def _note_failure(self, load: _Load, trouble: _Trouble, tally: Tally) -> TargetState:
        with self._database.write(deadline_s=_DEADLINE_S) as connection:
            at = self._clock.now()
            locked = self._locked(connection, load)
            for row in load.rows:
                if self._is_hopeless(connection, row, trouble):
                    outbox.mark(connection, [row], state="dead", lease_owner=None, last_error=trouble.why)
                    tally.buried += 1
                    if row.group_key in locked:
                        locked[row.group_key] = given_up(locked[row.group_key], row.marks, at)
                else:
                    values = {"attempts": row.attempts + 1, "last_error": trouble.why, "lease_owner": None}
                    outbox.mark(connection, [row], next_at=at + _pause(row.attempts + 1, trouble), **values)
            # What came behind it while it was on its way may now be told with it.
            groups.save(connection, [replace(group, next_at=at) for group in locked.values()])
            before = target_state.load(connection, self.target)
            state = _after(before, trouble, at)
            target_state.save(connection, self.target, state, at)
        if state.failures == 1 or (state.is_broken and not before.is_broken):
            _log.warning("alert_not_delivered", target=self.target, error=trouble.why, failures=state.failures)
        return state

    def _bury_overdue(self, state: TargetState) -> int:
        """Make dead letters of what waited too long, unless it was hardly tried: the machine may have been off."""
        at = self._clock.now()
        long_away = state.since is not None and state.since <= at - _LONG_AWAY
        with self._database.write(deadline_s=_DEADLINE_S) as connection:
            rows = outbox.overdue(connection, self.target, at)
            tried = [row for row in rows if long_away or row.attempts >= BROKEN_AFTER]
            return outbox.bury(connection, tried, at) if tried else 0

    def _is_hopeless(self, connection: Connection, row: OutboxRow, trouble: _Trouble) -> bool:
        """Tell whether it is the message that is refused: the target took others since it refused this one before."""
        if not trouble.permanent or row.last_error != trouble.why:
            return False
        return outbox.has_got_one_since(connection, self.target, row.next_at - LONGEST_PAUSE)

    def _locked(self, connection: Connection, load: _Load) -> dict[str, Group]:
        if not self._recipient.grouped:
            return {}
        return groups.lock_known(connection, self.target, {row.group_key for row in load.rows})

    def _put_back(self, loads: Sequence[_Load]) -> None:
        rows = [row for load in loads for row in load.rows]
        with self._database.write(deadline_s=_DEADLINE_S) as connection:
            outbox.mark(connection, rows, lease_owner=None)


def _can_be_read(row: OutboxRow) -> bool:
    try:
        return bool(row.notification.target) and row.marks is not None
    except _UNREADABLE:
        return False


def _in_one(said: Sequence[Notification], at: datetime) -> Notification:
    """Return the message that tells all of several."""
    alerts = [told for one in said for told in one.alerts]
    first = said[0]
    return Notification(
        kind="group",
        target=first.target,
        group_key=outbox.OVERFLOW,
        status="firing" if any(one.status == "firing" for one in said) else "resolved",
        event=headline([one.event for one in said]),
        at=at.astimezone(first.at.tzinfo),
        idempotency_key=outbox.key_of("overflow", *sorted(one.idempotency_key for one in said)),
        alerts=tuple(alerts[:MOST_ALERTS]),
        left_out=sum(one.left_out for one in said) + max(len(alerts) - MOST_ALERTS, 0),
    )


def _pause(attempts: int, trouble: _Trouble) -> timedelta:
    if trouble.permanent:
        return LONGEST_PAUSE
    return max(pause_after(attempts), trouble.retry_after or timedelta(0))


def _after(before: TargetState, trouble: _Trouble, at: datetime) -> TargetState:
    """Leave a target alone that asked for it, or that refused two messages in a row."""
    state = before.after_failure(at, trouble.why, permanent=trouble.permanent)
    if trouble.retry_after is not None:
        return replace(state, paused_until=at + trouble.retry_after)
    if state.failures >= _AWAY_AFTER:
        return replace(state, paused_until=at + _pause(state.failures, trouble))
    return state
