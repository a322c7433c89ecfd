"""Puts what happened to alerts into the outbox, in the transaction in which it happened, and later what time brings.

Channels that take each transition by itself (`log_files`, `console`) get a row for each (see `event_rows`); the others
one message for a group of alerts, which `settle` makes anew whenever something happens, until it is sent.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from sqlalchemy import Connection

from app.alerts.life.instance import Instance, Transition
from app.alerts.notices import event_rows, groups, outbox, told_before
from app.alerts.notices.day_summary import Heard
from app.alerts.notices.decision import Decision
from app.alerts.notices.grouping import GROUP_WAIT, Group, Saying, compose, group_key
from app.alerts.notices.outbox import Draft, OutboxRow
from app.alerts.notices.outlook import View
from app.alerts.notices.recipients import Recipient, recipients
from app.alerts.notices.settling import Settled, settle
from app.alerts.settings import AlertSettings

DIGEST_AT = time(9, 0)
"""When everybody is told what is still open, by the clock on the wall."""

Labels = Mapping[str, Mapping[str, str]]
"""Group key -> the labels that make the group."""


@dataclass(frozen=True, kw_only=True)
class Flush:
    """What time brought."""

    looked_at: int = 0
    """Groups that were looked at again."""
    digests: int = 0
    buried: int = 0
    """Messages for targets that are gone that became dead letters."""


class Announcer:
    """Writes the outbox. Its methods are steps within a transaction of the caller and raise what that raises."""

    def __init__(
        self,
        settings: AlertSettings,
        zone: ZoneInfo,
        *,
        group_wait: timedelta = GROUP_WAIT,
        heard: Callable[[datetime], Heard] = lambda _at: {},
    ) -> None:
        """`zone` is the one in which people read times. Without a monitor nobody is there who could wait.

        `heard` returns what was told shortly before an instant while the database was away; see `day_summary.heard`.
        """
        self._settings = settings
        self._zone = zone
        self._group_wait = group_wait
        self._heard = heard

    def announce(self, connection: Connection, transitions: Sequence[Transition], at: datetime) -> None:
        """Put transitions into the outbox; the alerts they are about stand in the database already as they are now."""
        if not transitions or not self._settings.enabled:
            return
        view = View(connection, self._settings, at, self._group_wait)
        known = recipients(self._settings)
        single = [one for one in known if not one.grouped]
        fresh = told_before.may_be_heard(transitions)
        heard = self._heard(at) if fresh else {}
        told_before.enter_single(connection, single, fresh, heard)
        event_rows.announce(connection, view, single, transitions, self._zone)
        for recipient in _grouped(known):
            told_before.enter_grouped(connection, view, recipient, fresh, heard)
            self._settle(connection, view, recipient, _touched(view, recipient, transitions))

    def flush(self, connection: Connection, at: datetime) -> Flush:
        """Tell what only time brings: repeats, what a silence held back, the daily digest; bury what is too old."""
        if not self._settings.enabled:
            return Flush()
        view = View(connection, self._settings, at, self._group_wait)
        known = recipients(self._settings)
        due = groups.due(connection, at)
        single = [one for one in known if not one.grouped]
        event_rows.repeat(connection, view, single, due.get(event_rows.EVENTS, []), self._zone)
        targets = _grouped(known)
        for recipient in targets:
            found = groups.lock_known(connection, recipient.name, due.get(recipient.name, []))
            self._settle(connection, view, recipient, {key: group.labels for key, group in found.items()})
        _leave_alone(connection, due, {event_rows.EVENTS, *(one.name for one in targets)})
        return Flush(
            looked_at=sum(map(len, due.values())),
            digests=self._digests(connection, view, targets),
            buried=_bury_of_gone_targets(connection, self._settings, at),
        )

    def _settle(
        self,
        connection: Connection,
        view: View,
        recipient: Recipient,
        labels: Labels,
        settled_before: frozenset[str] = frozenset(),
    ) -> None:
        """Make the next message of each of these groups, and of those that alerts in them were told in before."""
        if not labels:
            return
        locked = groups.lock(connection, recipient.name, labels)
        rows = outbox.of_groups(connection, recipient.name, sorted(locked))
        members, moved = _members(view, recipient, locked, rows)
        settled = [_settled(group, members[key], view, recipient, rows.get(key, ())) for key, group in locked.items()]
        outbox.supersede(connection, [row_id for one in settled for row_id in one.replaced])
        outbox.enqueue(connection, [self._draft(one, view.at) for one in settled if one.sayings])
        groups.save(connection, [one.group for one in settled if one.group != locked[one.group.key]])
        # Two alerts that have changed places name each other's group for as long as messages of both are on their way.
        done = settled_before | set(locked)
        self._settle(connection, view, recipient, {key: moved[key] for key in moved if key not in done}, done)

    def _draft(self, settled: Settled, at: datetime) -> Draft:
        group = settled.group
        notification = compose(
            group,
            settled.sayings,
            at,
            self._zone,
            kind="group",
            idempotency_key=outbox.key_of("group", group.target, group.key, group.version),
            still_firing=settled.still_firing,
        )
        return Draft(
            notification=notification,
            level=settled.level,
            marks=settled.marks,
            at=at,
            send_at=settled.send_at,
            attempts=settled.attempts,
            last_error=settled.last_error,
        )

    def _digests(self, connection: Connection, view: View, targets: Iterable[Recipient]) -> int:
        """Write each target's digest of today, once, from nine o'clock on."""
        local = view.at.astimezone(self._zone)
        if local.time() < DIGEST_AT:
            return 0
        keys = {one.name: outbox.key_of("digest", one.name, local.date()) for one in targets}
        missing = outbox.unknown(connection, keys.values())
        if not missing:
            return 0
        alerts = view.open_alerts(None)
        drafts = [self._digest(view, one, alerts, keys[one.name]) for one in targets if keys[one.name] in missing]
        outbox.enqueue(connection, drafts)
        return sum(bool(draft.notification.alerts) for draft in drafts)

    def _digest(self, view: View, recipient: Recipient, alerts: Iterable[Instance], key: str) -> Draft:
        """Return a digest; one of nothing is written too, already sent: it keeps a later one of the day away."""
        began = datetime.combine(view.at.astimezone(self._zone).date(), DIGEST_AT, self._zone)
        open_now = [
            one
            for one in alerts
            if (one.fired_at or view.at) < began and view.wishes(recipient, one).wanted and not view.flags(one).quiet
        ]
        sayings = [Saying(instance=one, decision=_STILL_OPEN, before=None, after=None) for one in open_now]
        group = Group(target=recipient.name, key=outbox.DAILY, labels={})
        return Draft(
            notification=compose(group, sayings, view.at, self._zone, kind="digest", idempotency_key=key),
            level="warning",
            marks={},
            at=view.at,
            send_at=view.at,
            is_void=not sayings,
        )


_STILL_OPEN = Decision(event="repeat")


def _grouped(known: Iterable[Recipient]) -> list[Recipient]:
    """Return the targets in the order in which everybody locks their groups."""
    return sorted((one for one in known if one.grouped), key=lambda one: one.name)


def _touched(view: View, recipient: Recipient, transitions: Iterable[Transition]) -> Labels:
    """Return the groups that transitions concern: where severity makes groups, also the one that an alert has left."""
    found: dict[str, Mapping[str, str]] = {}
    for one in transitions:
        left = [replace(one.instance, level=one.before)] if one.before not in {None, one.instance.level} else []
        for instance in (one.instance, *left):
            labels = view.labels(recipient, instance)
            found.setdefault(group_key(labels), labels)
    return found


def _members(
    view: View, recipient: Recipient, locked: Mapping[str, Group], rows: Mapping[str, Sequence[OutboxRow]]
) -> tuple[dict[str, list[Instance]], Labels]:
    """Return the alerts of each group, and the groups of alerts that have moved since they were told.

    What is open is told where it belongs now; the end of what is over where its beginning was.
    """
    named = {
        key: {*group.told, *(name for row in rows.get(key, ()) for name in row.marks)} for key, group in locked.items()
    }
    found = {one.fingerprint: one for one in view.open_alerts(_alertnames(locked.values()))}
    found |= {one.fingerprint: one for one in view.alerts(set().union(*named.values()) - found.keys())}
    members: dict[str, list[Instance]] = {key: [] for key in locked}
    moved: dict[str, Mapping[str, str]] = {}
    for instance in found.values():
        labels = view.labels(recipient, instance)
        home = group_key(labels)
        if home in members and (instance.is_open or instance.fingerprint in named[home]):
            members[home].append(instance)
        for key in locked.keys() - {home}:
            if instance.fingerprint not in named[key]:
                continue
            if instance.is_open:
                moved |= {} if home in locked else {home: labels}
            else:
                members[key].append(instance)
    return members, moved


def _alertnames(locked: Iterable[Group]) -> set[str] | None:
    """Return the names of the groups' alerts; None where they may have any."""
    names = [group.labels.get("alertname") for group in locked]
    return None if None in names else {name for name in names if name is not None}


def _settled(
    group: Group, instances: Sequence[Instance], view: View, recipient: Recipient, rows: Iterable[OutboxRow]
) -> Settled:
    ours = [row for row in rows if row.kind == "group"]
    return settle(
        group,
        instances,
        view.outlook(recipient),
        view.at,
        waiting=[row.waiting for row in ours if row.lease_until is None],
        in_flight=[row.waiting for row in ours if row.lease_until is not None],
    )


def _leave_alone(connection: Connection, due: Mapping[str, list[str]], known: set[str]) -> None:
    """Look no more at groups of targets that are not in the settings; what waits for them becomes a dead letter."""
    for target, keys in due.items():
        if target not in known:
            left = groups.lock_known(connection, target, keys)
            groups.save(connection, [replace(group, next_at=None) for group in left.values()])


def _bury_of_gone_targets(connection: Connection, settings: AlertSettings, at: datetime) -> int:
    """Make dead letters of what waits in vain for a target that is not in the settings; couriers bury the others."""
    gone = [target for target in outbox.targets_overdue(connection, at) if target not in settings.channels]
    return sum(outbox.bury(connection, outbox.overdue(connection, target, at), at) for target in gone)
