"""Alerts as Alertmanager writes them to webhooks (version 4), and as it takes them itself."""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from app.alerts.channel import Notification, Told
from app.alerts.wire.wording import said

_NEVER = "0001-01-01T00:00:00Z"
"""Go's zero time, as Alertmanager writes the end of what has not ended."""
_RAW = re.compile("[<>&]")


def webhook_document(notification: Notification) -> dict[str, Any]:
    """Return the body of a webhook message."""
    alerts = [_alert(told) for told in notification.alerts]
    return {
        "version": "4",
        "groupKey": notification.group_key,
        "truncatedAlerts": notification.left_out,
        "status": notification.status,
        "receiver": notification.target,
        "groupLabels": dict(notification.group_labels),
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": "",
        "alerts": alerts,
    }


def labels(told: Told) -> dict[str, str]:
    """Return an alert's labels with its name and severity among them."""
    return {**told.alert.labels, "alertname": told.alert.alertname, "severity": told.alert.severity}


def annotations(told: Told) -> dict[str, str]:
    """Return what people read about an alert: the rule's annotations, message, value, threshold, what happened."""
    alert = told.alert
    figures = {"value": alert.value, "threshold": alert.threshold}
    return {
        "summary": said(told),
        **told.annotations,
        "message": said(told),
        **{name: f"{figure:.10g}" for name, figure in figures.items() if figure is not None},
        "event": told.event,
    }


def instant(moment: datetime) -> str:
    """Return an instant as RFC 3339 in UTC, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_body(document: Any) -> bytes:
    """Return JSON in plain ASCII in which nothing acts, on a terminal or in a page that it gets pasted into."""
    text = json.dumps(document, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return _RAW.sub(lambda found: f"\\u{ord(found.group()):04x}", text).encode("ascii")


def _alert(told: Told) -> dict[str, Any]:
    return {
        "status": told.status,
        "labels": labels(told),
        "annotations": annotations(told),
        "startsAt": instant(told.fired_at),
        "endsAt": instant(told.resolved_at) if told.resolved_at else _NEVER,
        "generatorURL": "",
        "fingerprint": told.alert.fingerprint,
    }


def _common(tables: Sequence[Mapping[str, str]]) -> dict[str, str]:
    if not tables:
        return {}
    first, *others = tables
    return {name: value for name, value in first.items() if all(other.get(name) == value for other in others)}
