"""The day's alerts in one file, `reports/alerts/YYYY-MM-DD.json`: one entry for each thing alerted about."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from sqlalchemy import ColumnElement, Connection, select

from app.alerts.alert import RANK, SEVERITIES, Alert, Severity
from app.alerts.channel import Event, Notification, Told
from app.alerts.rules.rule_parts import Repeat
from app.core.own_tables import alert_event, alert_instance
from app.core.shared_json import update_json

HISTORY = 100
"""Changes of severity remembered for each alert: one that flaps all day must not grow the file without end."""


HEARD_FOR = timedelta(minutes=15)
"""What was last found this long before an alert begins in the database is that alert: rules wait up to ten minutes."""

Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """The severity from some instant on."""

    severity: Severity
    at: Instant


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """What the day knows of one alert; `message`, `value` and `threshold` are the latest."""

    fingerprint: str
    alertname: str
    type: str
    severity: Severity
    """The highest of the day."""
    first_at: Instant
    last_at: Instant
    count: int
    history: list[Change]
    message: str
    value: float | None
    threshold: float | None
    labels: dict[str, str]
    resolved_at: Instant | None = None
    """When it ended, as the history tells it; None while it goes on."""
    told: dict[str, Change] = {}
    """Target -> what it was told last while the database was away; empty once the history has the alert."""


Heard = Mapping[str, Mapping[str, Change]]
"""Target -> fingerprint -> what it was told without the database."""


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The file's content."""

    date: str
    alerts: list[Entry]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What recording told."""

    notifications: list[Notification]
    due: list[Notification]
    """Those of which people are to be told now: a repeat only where its time has come."""
    path: Path
    set_aside: Path | None
    """Where an unreadable summary of that day was moved to."""


def record(folder: Path, alerts: Sequence[Alert], at: datetime, repeat: Repeat | None = None) -> Recorded:
    """Enter `alerts` into the summary of the local day of `at` and return each with the event it is.

    `at` is aware, in the operator's zone. Processes take turns. Raises OutputUnwritable; the file is then as before.
    """
    notifications: list[Notification] = []
    due: list[Notification] = []

    def entered(known: dict[str, Entry]) -> None:
        _carry_over(known, {alert.fingerprint for alert in alerts}, folder, at)
        for alert in alerts:
            before = known.get(alert.fingerprint)
            notification = _entered(known, alert, at)
            notifications.append(notification)
            if before is None or notification.event != "repeat" or _repeat_is_due(before, at, repeat or Repeat()):
                due.append(notification)

    path = path_of(folder, at)
    set_aside = _update(path, entered, at)
    return Recorded(notifications=notifications, due=due, path=path, set_aside=set_aside)


def note_told(folder: Path, told: Mapping[str, Mapping[str, Severity]], at: datetime) -> None:
    """Note what targets were told at `at` without the database: target -> fingerprint -> level.

    The alerts stand in the day's file, see `record`. Raises OutputUnwritable; the file is then as before.
    """

    def noted(known: dict[str, Entry]) -> None:
        for target, levels in told.items():
            for fingerprint in levels.keys() & known.keys():
                entry = known[fingerprint]
                heard = {**entry.told, target: Change(severity=levels[fingerprint], at=at)}
                known[fingerprint] = msgspec.structs.replace(entry, told=heard)

    if any(told.values()):
        _update(path_of(folder, at), noted, at)


def heard(folder: Path, at: datetime) -> Heard:
    """Return what targets were told without the database of alerts that have gone on until just now.

    `at` is aware, in the operator's zone. What can't be read was told to nobody: better twice than not at all.
    """
    found: dict[str, dict[str, Change]] = {}
    for entry in told_lately(folder, at):
        for target, change in entry.told.items():
            found.setdefault(target, {})[entry.fingerprint] = change
    return found


def told_lately(folder: Path, at: datetime) -> list[Entry]:
    """Return the alerts that went on until just now and that somebody was told of without the database; see `heard`."""
    known = {**_read(folder, at - timedelta(days=1)), **_read(folder, at)}.values()
    return [one for one in known if one.told and one.resolved_at is None and abs(at - one.last_at) < HEARD_FOR]


def write(connection: Connection, folder: Path, at: datetime) -> Path:
    """Write the summary of the local day of `at` anew from the history, and return its file.

    What was told without the database that day, and only there, stays. `at` is aware, in the operator's zone. Raises
    OutputUnwritable; the file is then as before.
    """
    start = datetime.combine(at.date(), time(), at.tzinfo)
    found = _from_history(connection, start, datetime.combine(at.date() + timedelta(days=1), time(), at.tzinfo))
    path = path_of(folder, at)
    _update(path, lambda known: known.update(found), at)
    return path


def path_of(folder: Path, at: datetime) -> Path:
    """Return the file of the local day of `at`."""
    return folder / f"{at:%Y-%m-%d}.json"


def _update(path: Path, enter: Callable[[dict[str, Entry]], None], at: datetime) -> Path | None:
    def entered(summary: Summary | None) -> dict[str, Any]:
        known = {entry.fingerprint: entry for entry in summary.alerts} if summary else {}
        enter(known)
        return _document(path.stem, known)

    return update_json(path, _parsed, entered, at)


def _carry_over(known: dict[str, Entry], wanted: set[str], folder: Path, at: datetime) -> None:
    """Go on with what went on at midnight: a new day is no reason to tell it again."""
    if wanted - known.keys():
        yesterday = _read(folder, at - timedelta(days=1))
        wanted &= {name for name, entry in yesterday.items() if entry.resolved_at is None}
        known.update({name: yesterday[name] for name in wanted - known.keys()})


def _read(folder: Path, at: datetime) -> dict[str, Entry]:
    try:
        return {entry.fingerprint: entry for entry in _parsed(path_of(folder, at).read_bytes()).alerts}
    except (OSError, ValueError):
        return {}


def _repeat_is_due(before: Entry, at: datetime, repeat: Repeat) -> bool:
    """Tell whether a whole interval since the last change of severity has ended since the alert was last seen."""
    since = before.history[-1].at if before.history else before.first_at
    every = repeat.of(before.severity)
    return (at - since) // every > (before.last_at - since) // every


def _from_history(connection: Connection, start: datetime, end: datetime) -> dict[str, Entry]:
    columns: list[ColumnElement[Any]] = [alert_event.c[name] for name in ("at", "event", "level", "value", "message")]
    columns += [alert_instance.c[name] for name in ("rule", "alertname", "type", "threshold", "labels")]
    joined = alert_event.join(alert_instance, alert_event.c.fingerprint == alert_instance.c.fingerprint)
    query = select(*columns).select_from(joined).where(alert_event.c.at >= start, alert_event.c.at < end)
    found: dict[str, Entry] = {}
    for row in connection.execute(query.order_by(alert_event.c.at, alert_event.c.id)):
        at = row.at.astimezone(start.tzinfo)
        alert = Alert(
            type=row.type,
            alertname=row.alertname,
            message=row.message,
            severity=row.level,
            rule=row.rule,
            value=row.value,
            threshold=row.threshold,
            labels=row.labels,
        )
        before = found.get(alert.fingerprint)
        entry = _updated(before, alert, at) if before else _first(alert, at)
        ended = at if row.event == "resolved" else None
        found[alert.fingerprint] = msgspec.structs.replace(entry, resolved_at=ended)
    return found


def _parsed(content: bytes) -> Summary:
    """Return what a summary file says. Raises ValueError where it is damaged."""
    try:
        return msgspec.json.decode(content, type=Summary)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def unrecorded(alerts: Sequence[Alert], at: datetime) -> list[Notification]:
    """Return notifications for alerts whose day could not be read or written: better told twice than not at all."""
    return [_notification(alert, "firing", at, at, 1) for alert in alerts]


def _entered(known: dict[str, Entry], alert: Alert, at: datetime) -> Notification:
    before = known.get(alert.fingerprint)
    entry = _updated(before, alert, at) if before else _first(alert, at)
    known[alert.fingerprint] = entry
    if before is None or before.resolved_at is not None:
        return _notification(alert, "firing", at, at, 1)
    return _notification(alert, _event(before, alert), at, entry.first_at.astimezone(at.tzinfo), entry.count)


def _notification(alert: Alert, event: Event, at: datetime, fired_at: datetime, count: int) -> Notification:
    told = Told(
        alert=alert,
        status="firing",
        event=event,
        fired_at=fired_at,
        duration_s=(at - fired_at).total_seconds(),
        count=count,
    )
    key = f"{alert.fingerprint}:{at.isoformat()}"
    return Notification(
        kind="event", target="", status="firing", event=event, at=at, idempotency_key=key, alerts=(told,)
    )


def _event(before: Entry, alert: Alert) -> Event:
    return "escalated" if RANK[alert.severity] > RANK[before.severity] else "repeat"


def _first(alert: Alert, at: datetime) -> Entry:
    return Entry(
        fingerprint=alert.fingerprint,
        alertname=alert.alertname,
        type=alert.type,
        severity=alert.severity,
        first_at=at,
        last_at=at,
        count=1,
        history=[Change(severity=alert.severity, at=at)],
        message=alert.message,
        value=alert.value,
        threshold=alert.threshold,
        labels=dict(alert.labels),
    )


def _updated(entry: Entry, alert: Alert, at: datetime) -> Entry:
    changed = not entry.history or entry.history[-1].severity != alert.severity
    history = [*entry.history, Change(severity=alert.severity, at=at)] if changed else entry.history
    return msgspec.structs.replace(
        entry,
        severity=max(entry.severity, alert.severity, key=RANK.__getitem__),
        last_at=at,
        count=entry.count + 1,
        history=history[-HISTORY:],
        message=alert.message,
        value=alert.value,
        threshold=alert.threshold,
        resolved_at=None,
    )


def _document(day: str, known: dict[str, Entry]) -> dict[str, Any]:
    entries = sorted(known.values(), key=lambda entry: (entry.first_at, entry.fingerprint))
    return {
        "date": day,
        "alerts": msgspec.to_builtins(entries),
        "by_severity": {name: sum(entry.severity == name for entry in entries) for name in SEVERITIES},
    }
