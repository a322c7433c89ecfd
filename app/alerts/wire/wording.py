"""An alert in words, for people who read it on a phone: title, lines, and the message that tries a target out."""

from datetime import datetime

from app.alerts.alert import Alert, shortened
from app.alerts.channel import Event, Notification, Told
from app.alerts.text import visible

_EVENTS: dict[Event, str] = {
    "firing": "",
    "escalated": "now more severe",
    "eased": "now less severe",
    "repeat": "still so",
    "resolved": "",
    "acked": "acknowledged",
    "silenced": "silenced",
    "flapping": "goes to and fro; told again when it settles",
}
HELD_BACK = "overflow"
"""Group key of the message of what the cap on messages per hour held back."""
_HELD_BACK_SINCE = "There were too many messages within an hour; this happened meanwhile:"
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3600, 86400


def title(notification: Notification) -> str:
    """Return one line that says how bad it is, what it is, and of how many alerts."""
    names = list(dict.fromkeys(told.alert.alertname for told in notification.alerts))
    count = len(notification.alerts) + notification.left_out
    what = ", ".join(names[:3]) + ("..." if len(names) > 3 else "")  # noqa: PLR2004 - what fits on a phone
    number = f" ({count} alerts)" if count > 1 else ""
    return visible(f"[{_head(notification)}] {what}{number}")


def body(notification: Notification) -> str:
    """Return the alerts, a block each, separated by an empty line."""
    held_back = notification.group_key == HELD_BACK
    several = len(notification.alerts) > 1 or held_back
    blocks = [_HELD_BACK_SINCE] if held_back else []
    blocks += ["\n".join(_lines(told, notification.at, named=several)) for told in notification.alerts]
    if notification.left_out:
        blocks.append(f"and {notification.left_out} more")
    return "\n\n".join(blocks)


def said(told: Told) -> str:
    """Return what is to be known of an alert in one line: its message, or that it is over, since when, and what it was.

    Such as `over after 2 h 5 min, now 40 %; it was: /data is 95 % full`.
    """
    if told.status == "firing":
        return told.alert.message
    # One message for both, where there was no chance to tell of its beginning.
    how = "began and was over again" if told.event == "firing" else "over"
    after = f" after {span(told.duration_s)}" if told.duration_s is not None else ""
    reason = f", {told.reason}" if told.reason else ""
    return shortened(f"{how}{after}{reason}; it was: {told.alert.message}")


def happened(told: Told) -> str:
    """Return what happened to an alert in a few words; none where its beginning or end is all there is to say."""
    return _EVENTS[told.event]


def span(seconds: float) -> str:
    """Return a duration in its two largest units: `45 s`, `12 min`, `2 h 5 min`, `3 d 4 h`."""
    whole = max(round(seconds), 0)
    for unit, name, below, smaller in ((_DAY_S, "d", _HOUR_S, "h"), (_HOUR_S, "h", _MINUTE_S, "min")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {name} {rest} {smaller}" if rest else f"{whole // unit} {name}"
    return f"{whole // _MINUTE_S} min" if whole >= _MINUTE_S else f"{whole} s"


def trial(target: str, at: datetime) -> Notification:
    """Return the message that tries a target out; it says that nothing is wrong."""
    alert = Alert(
        type="test",
        alertname="GengfuTest",
        message=f"This is a test of the alert target {target}. Nothing is wrong.",
        severity="warning",
        rule="test",
    )
    return Notification(
        kind="test",
        target=target,
        group_key=f"{target}:test",
        status="firing",
        event="firing",
        at=at,
        idempotency_key=f"test-{at:%Y%m%dT%H%M%S.%fZ}",
        alerts=(Told(alert=alert, status="firing", event="firing", fired_at=at, duration_s=0.0),),
    )


def _head(notification: Notification) -> str:
    if notification.kind in {"test", "digest"}:
        return {"test": "TEST", "digest": "STILL OPEN"}[notification.kind]
    if notification.status == "resolved":
        return "RESOLVED"
    firing = [told.alert.severity for told in notification.alerts if told.status == "firing"]
    return max(firing, key=("warning", "error", "critical").index).upper() if firing else "FIRING"


def _lines(told: Told, at: datetime, *, named: bool) -> list[str]:
    alert = told.alert
    state = "RESOLVED" if told.status == "resolved" else alert.severity.upper()
    lines = [f"{state} {alert.alertname}: {said(told)}" if named else said(told)]
    if more := happened(told):
        lines.append(more)
    if alert.labels:
        lines.append(", ".join(f"{name}={value}" for name, value in sorted(alert.labels.items())))
    lines.append(f"since {told.fired_at.astimezone(at.tzinfo).isoformat(' ', 'seconds')}")
    lines += [text for key in ("summary", "description", "runbook_url") if (text := told.annotations.get(key, ""))]
    return [visible(line) for line in lines]
