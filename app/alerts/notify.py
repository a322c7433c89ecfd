"""Send alerts: each to every channel, and no channel in the way of another."""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO
from zoneinfo import ZoneInfo

import structlog

from app.alerts.alert import SEVERITIES, Alert, parse_alerts
from app.alerts.channel import Channel, ChannelContext, DeliveryError, Notification
from app.alerts.channels import open_channel
from app.alerts.day_summary import record, unrecorded
from app.alerts.settings import AlertSettings
from app.core.clock import Clock
from app.core.errors import OutputUnwritable

_log = structlog.get_logger("gengfu.alerts")


def send_alerts(
    items: object,
    *,
    settings: AlertSettings,
    clock: Clock,
    zone: ZoneInfo,
    logs: Path,
    reports: Path,
    channels: Sequence[str] | None = None,
    stderr: TextIO | None = None,
) -> dict[str, Any]:
    """Tell people about a list of alert dicts (see `parse_alert`) and enter them into the day's summary.

    `logs` and `reports` are folders, made where absent; `channels` None means those of the settings, `stderr` None
    this process's own. Nothing is raised for a bad alert or a dead channel: the result says `sent` (alerts that
    reached a channel), `by_severity`, `refused` [{index, why}], `channels` {name: "ok" or the first error}, `summary`
    (its file), and `success`, which is true only if everything handed over reached at least one channel.
    """
    if not settings.enabled:
        return _nothing("alerts are switched off; set [alerts] enabled = true")
    alerts, refused = parse_alerts(items)
    notifications, summary = _recorded(alerts, reports, clock.now().astimezone(zone))
    context = ChannelContext(logs=logs, stderr=stderr or sys.stderr)
    reached: set[int] = set()
    told = {name: _send_all(name, context, notifications, reached) for name in channels or settings.channels}
    result = {
        "success": not refused and len(reached) == len(alerts),
        "sent": len(reached),
        "by_severity": _counts(notifications[index] for index in reached),
        "events": dict(Counter(notifications[index].event for index in reached)),
        "undelivered": [n.alert.to_dict() for index, n in enumerate(notifications) if index not in reached],
        "refused": [asdict(refusal) for refusal in refused],
        "channels": told,
        **summary,
    }
    _say(result)
    return result


def _nothing(why: str) -> dict[str, Any]:
    return {
        "success": True,
        "skipped": why,
        "sent": 0,
        "by_severity": _counts(()),
        "events": {},
        "undelivered": [],
        "refused": [],
        "channels": {},
    }


def _recorded(alerts: list[Alert], reports: Path, at: datetime) -> tuple[list[Notification], dict[str, Any]]:
    if not alerts:
        return [], {}
    try:
        recorded = record(reports, alerts, at)
    except OutputUnwritable as error:
        _log.error("alert_summary_failed", error=str(error))
        return unrecorded(alerts, at), {"summary_error": str(error)}
    told = {"summary": str(recorded.path)}
    if recorded.set_aside is not None:
        _log.error("alert_summary_set_aside", path=str(recorded.set_aside))
        told["summary_set_aside"] = str(recorded.set_aside)
    return recorded.notifications, told


def _send_all(name: str, context: ChannelContext, notifications: list[Notification], reached: set[int]) -> str:
    """Send all through one channel, add those it took to `reached`, and return "ok" or what went wrong first."""
    if not notifications:
        return "ok"
    try:
        channel = open_channel(name, context)
    except Exception as error:  # noqa: BLE001 - a broken channel file must not silence the other channels
        return _failed(name, error)
    errors = [_send(name, channel, notification) for notification in notifications]
    reached.update(index for index, error in enumerate(errors) if error is None)
    failures = [error for error in errors if error is not None]
    if not failures:
        return "ok"
    return failures[0] if len(failures) == 1 else f"{failures[0]} (and {len(failures) - 1} more)"


def _send(name: str, channel: Channel, notification: Notification) -> str | None:
    try:
        channel.send(notification)
    except Exception as error:  # noqa: BLE001 - one alert that a channel chokes on must not stop the rest
        return _failed(name, error)
    return None


def _failed(name: str, error: Exception) -> str:
    told = str(error) if isinstance(error, DeliveryError) else f"{type(error).__name__}: {error}"
    _log.error("alert_channel_failed", channel=name, error=told)
    return told


def _counts(notifications: Any) -> dict[str, int]:
    found = Counter(notification.alert.severity for notification in notifications)
    return {name: found[name] for name in SEVERITIES}


def _say(result: dict[str, Any]) -> None:
    if result["refused"]:
        _log.warning("alerts_refused", refused=result["refused"][:20], count=len(result["refused"]))
    if result["sent"]:
        _log.info("alerts_sent", sent=result["sent"], **result["by_severity"])
