"""The day's alerts in one file, `reports/alerts/YYYY-MM-DD.json`: one entry for each thing alerted about."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from app.alerts.alert import RANK, SEVERITIES, Alert, Severity
from app.alerts.channel import Event, Notification
from app.core.shared_json import update_json

HISTORY = 100
"""Changes of severity remembered for each alert: one that flaps all day must not grow the file without end."""


class _Model(BaseModel):
    # NaN would be read here and refused by the writer.
    model_config = ConfigDict(allow_inf_nan=False)


class Change(_Model):
    """The severity from some instant on."""

    severity: Severity
    at: AwareDatetime


class Entry(_Model):
    """What the day knows of one alert; `message`, `value` and `threshold` are the latest."""

    fingerprint: str
    alertname: str
    type: str
    severity: Severity
    """The highest of the day."""
    first_at: AwareDatetime
    last_at: AwareDatetime
    count: int
    history: list[Change]
    message: str
    value: float | None
    threshold: float | None
    labels: dict[str, str]


class Summary(_Model):
    """The file's content."""

    date: str
    alerts: list[Entry]


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What recording told."""

    notifications: list[Notification]
    path: Path
    set_aside: Path | None
    """Where an unreadable summary of that day was moved to."""


def record(folder: Path, alerts: Sequence[Alert], at: datetime) -> Recorded:
    """Enter `alerts` into the summary of the local day of `at` and return each with the event it is.

    `at` is aware, in the operator's zone. Processes take turns. Raises OutputUnwritable; the file is then as before.
    """
    path = folder / f"{at:%Y-%m-%d}.json"
    notifications: list[Notification] = []

    def entered(summary: Summary | None) -> dict[str, Any]:
        known = {entry.fingerprint: entry for entry in summary.alerts} if summary else {}
        notifications.extend(_entered(known, alert, at) for alert in alerts)
        return _document(path.stem, known)

    set_aside = update_json(path, Summary.model_validate_json, entered, at)
    return Recorded(notifications=notifications, path=path, set_aside=set_aside)


def unrecorded(alerts: Sequence[Alert], at: datetime) -> list[Notification]:
    """Return notifications for alerts whose day could not be read or written: better told twice than not at all."""
    return [Notification(alert=alert, event="firing", at=at, fired_at=at, count=1) for alert in alerts]


def _entered(known: dict[str, Entry], alert: Alert, at: datetime) -> Notification:
    before = known.get(alert.fingerprint)
    entry = _updated(before, alert, at) if before else _first(alert, at)
    known[alert.fingerprint] = entry
    return Notification(
        alert=alert,
        event=_event(before, alert),
        at=at,
        fired_at=entry.first_at.astimezone(at.tzinfo),
        count=entry.count,
    )


def _event(before: Entry | None, alert: Alert) -> Event:
    if before is None:
        return "firing"
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
    return entry.model_copy(
        update={
            "severity": max(entry.severity, alert.severity, key=RANK.__getitem__),
            "last_at": at,
            "count": entry.count + 1,
            "history": history[-HISTORY:],
            "message": alert.message,
            "value": alert.value,
            "threshold": alert.threshold,
        }
    )


def _document(day: str, known: dict[str, Entry]) -> dict[str, Any]:
    entries = sorted(known.values(), key=lambda entry: (entry.first_at, entry.fingerprint))
    return {
        "date": day,
        "alerts": [entry.model_dump(mode="json") for entry in entries],
        "by_severity": {name: sum(entry.severity == name for entry in entries) for name in SEVERITIES},
    }
