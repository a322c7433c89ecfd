"""Alerts and notifications for tests of channels and delivery."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from app.alerts.alert import Alert
from app.alerts.channel import Notification, Told

FIRED = datetime(2026, 3, 10, 4, 0, tzinfo=UTC)
SHANGHAI = ZoneInfo("Asia/Shanghai")


def an_alert(**changed: Any) -> Alert:
    given: dict[str, Any] = {
        "type": "disk_usage",
        "alertname": "DiskUsageHigh",
        "message": "/数据 已用 95 %",
        "severity": "critical",
        "rule": "disk_usage_high",
        "value": 95.0,
        "threshold": 90.0,
        "labels": {"mount": "/数据"},
    }
    return Alert(**given | changed)


def told(*, after: timedelta = timedelta(hours=2, minutes=5), **changed: Any) -> Told:
    """An alert that fired at FIRED; `alert` may be a dict of what differs."""
    status = changed.get("status", "firing")
    given: dict[str, Any] = {
        "status": status,
        "event": status,
        "fired_at": FIRED,
        "resolved_at": FIRED + after if status == "resolved" else None,
        "duration_s": after.total_seconds(),
        "annotations": {"runbook_url": "https://runbook.example/disk"},
    }
    alert = changed.pop("alert", {})
    return Told(alert=alert if isinstance(alert, Alert) else an_alert(**alert), **given | changed)


def a_notification(*alerts: Told, **changed: Any) -> Notification:
    """A group message two hours and five minutes after FIRED, read in Shanghai."""
    alerts = alerts or (told(),)
    status = "firing" if any(one.status == "firing" for one in alerts) else "resolved"
    given: dict[str, Any] = {
        "kind": "group",
        "target": "ops",
        "group_key": "ops:DiskUsageHigh",
        "group_labels": {"alertname": "DiskUsageHigh"},
        "status": status,
        "event": alerts[0].event,
        "at": (FIRED + timedelta(hours=2, minutes=5)).astimezone(SHANGHAI),
        "idempotency_key": "ops-0123456789abcdef-1",
        "alerts": alerts,
    }
    return Notification(**given | changed)
