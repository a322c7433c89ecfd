import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from alert_messages import a_notification, an_alert, told
from hypothesis import given
from hypothesis import strategies as st

from app.alerts.channel import Notification, Told

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
FIGURE = st.none() | st.floats(allow_nan=False, allow_infinity=False)
# Zones without summer time: an hour that comes twice has no one form.
ZONES = st.sampled_from([UTC, ZoneInfo("Asia/Shanghai"), timezone(timedelta(hours=-3.5))])
INSTANT = st.datetimes(min_value=datetime(2000, 1, 1), timezones=ZONES)  # noqa: DTZ001 - the zone is drawn too
ALERT = st.builds(
    an_alert,
    message=TEXT,
    alertname=TEXT,
    type=TEXT,
    rule=st.text("规则:/x", max_size=300),
    severity=st.sampled_from(["warning", "error", "critical"]),
    value=FIGURE,
    threshold=FIGURE,
    labels=st.dictionaries(TEXT, TEXT, max_size=4),
)
TOLD = st.builds(
    Told,
    alert=ALERT,
    status=st.sampled_from(["firing", "resolved"]),
    event=st.sampled_from(["firing", "escalated", "eased", "repeat", "resolved", "acked", "silenced", "flapping"]),
    fired_at=INSTANT,
    resolved_at=st.none() | INSTANT,
    duration_s=FIGURE,
    count=st.integers(1, 10**6),
    reason=TEXT,
    annotations=st.dictionaries(TEXT, TEXT, max_size=3),
)


@given(st.lists(TOLD, max_size=3), INSTANT, TEXT, st.integers(0, 10**6))
def test_a_payload_reads_back_as_what_it_was(alerts: list[Told], at: datetime, key: str, left_out: int) -> None:
    notification = Notification(
        kind="group",
        target="ops",
        group_key=key,
        group_labels={key: key},
        status="firing",
        event="firing",
        at=at,
        idempotency_key=key,
        alerts=tuple(alerts),
        left_out=left_out,
    )
    read = Notification.from_json(json.loads(json.dumps(notification.to_json())))
    assert read == notification
    assert [one.alert.fingerprint for one in read.alerts] == [one.alert.fingerprint for one in alerts]


def test_a_message_written_before_an_upgrade_can_still_be_sent() -> None:
    document = a_notification(told(status="resolved", reason="now 40 %")).to_json()
    del document["alerts"][0]["reason"]
    assert Notification.from_json(document) == a_notification(told(status="resolved"))


@pytest.mark.parametrize(
    "damage", [{"alerts": None}, {"alerts": [{}]}, {"at": "yesterday"}, {"at": 3}, {"kind": ...}, {"left_out": ...}]
)
def test_a_damaged_payload_is_an_error_that_can_be_put_aside(damage: dict[str, Any]) -> None:
    document = a_notification(told()).to_json() | damage
    document = {key: value for key, value in document.items() if value is not ...}
    with pytest.raises((KeyError, TypeError, ValueError)):
        Notification.from_json(document)
