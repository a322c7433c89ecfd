"""What stands in the messages of webhook, alertmanager and heartbeat."""

import hashlib
import hmac
import io
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alert_messages import FIRED, a_notification, told
from receiver import Got, Receiver, receiving

from app.alerts.channel import Channel, ChannelContext, Notification
from app.alerts.channels import open_channel
from app.alerts.heartbeats import beat
from app.alerts.settings import AlertSettings
from app.alerts.targets import TargetSettings
from app.core.clock import ManualClock
from app.core.secret import Sealed


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def context(tmp_path: Path) -> ChannelContext:
    return ChannelContext(logs=tmp_path, stderr=io.StringIO(), clock=ManualClock(FIRED), target="ops")


def channel(name: str, receiver: Receiver, context: ChannelContext, path: str = "", **more: Any) -> Channel:
    return open_channel(name, context, TargetSettings(url=Sealed(receiver.url + path), allow_private=True, **more))


def sent(name: str, receiver: Receiver, context: ChannelContext, notification: Notification, **more: Any) -> Got:
    channel(name, receiver, context, **more).send(notification)
    return receiver.got[-1]


# Webhook


def test_a_webhook_has_the_body_of_alertmanager(receiver: Receiver, context: ChannelContext) -> None:
    firing, over = told(), told(status="resolved", alert={"labels": {"mount": "/b"}, "severity": "warning"})
    document = sent("webhook", receiver, context, a_notification(firing, over, left_out=2)).json
    first, second = document.pop("alerts")
    assert document == {
        "version": "4",
        "groupKey": "ops:DiskUsageHigh",
        "truncatedAlerts": 2,
        "status": "firing",
        "receiver": "ops",
        "groupLabels": {"alertname": "DiskUsageHigh"},
        "commonLabels": {"alertname": "DiskUsageHigh"},
        "commonAnnotations": {
            "runbook_url": "https://runbook.example/disk",
            "value": "95",
            "threshold": "90",
        },
        "externalURL": "",
    }
    assert first["labels"] == {"mount": "/数据", "alertname": "DiskUsageHigh", "severity": "critical"}
    said = [first["annotations"][name] for name in ("event", "message", "summary")]
    assert said == ["firing", "/数据 已用 95 %", "/数据 已用 95 %"]
    ended = "over after 2 h 5 min; it was: /数据 已用 95 %"
    assert (second["annotations"]["message"], second["annotations"]["summary"]) == (ended, ended)
    assert (first["status"], first["startsAt"], first["endsAt"]) == (
        "firing",
        "2026-03-10T04:00:00.000Z",
        "0001-01-01T00:00:00Z",
    )
    assert (second["status"], second["endsAt"]) == ("resolved", "2026-03-10T06:05:00.000Z")
    assert first["fingerprint"] == firing.alert.fingerprint != second["fingerprint"]


def test_labels_of_the_alert_do_not_stand_in_for_its_name_or_severity(
    receiver: Receiver, context: ChannelContext
) -> None:
    posing = told(alert={"labels": {"alertname": "Fine", "severity": "none"}})
    (alert,) = sent("webhook", receiver, context, a_notification(posing)).json["alerts"]
    assert alert["labels"] == {"alertname": "DiskUsageHigh", "severity": "critical"}


def test_the_rules_summary_wins_over_the_message(receiver: Receiver, context: ChannelContext) -> None:
    alert = told(annotations={"summary": "磁盘将满"})
    (found,) = sent("webhook", receiver, context, a_notification(alert)).json["alerts"]
    assert (found["annotations"]["summary"], found["annotations"]["message"]) == ("磁盘将满", "/数据 已用 95 %")


def test_a_second_attempt_has_the_same_key_and_the_same_body(receiver: Receiver, context: ChannelContext) -> None:
    webhook = channel("webhook", receiver, context)
    for _ in range(2):
        webhook.send(a_notification())
    first, second = receiver.got
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"] == "ops-0123456789abcdef-1"
    assert first.body == second.body


@pytest.mark.parametrize("key", ["密钥", "a\r\nX-Evil: 1", "x" * 201, "", "a b"])
def test_a_key_that_fits_no_header_is_hashed(receiver: Receiver, context: ChannelContext, key: str) -> None:
    got = sent("webhook", receiver, context, a_notification(idempotency_key=key))
    assert got.headers["idempotency-key"] == hashlib.sha256(key.encode()).hexdigest()
    assert "x-evil" not in got.headers


def test_the_signature_covers_time_and_body(receiver: Receiver, context: ChannelContext) -> None:
    got = sent("webhook", receiver, context, a_notification(), hmac_secret=Sealed("geheim"))
    moment, signature = (part.partition("=")[2] for part in got.headers["x-gengfu-signature"].split(","))
    assert int(moment) == FIRED.timestamp()
    expected = hmac.new(b"geheim", f"{moment}.".encode() + got.body, hashlib.sha256)
    assert signature == expected.hexdigest()


def test_without_a_secret_nothing_is_signed(receiver: Receiver, context: ChannelContext) -> None:
    assert "x-gengfu-signature" not in sent("webhook", receiver, context, a_notification()).headers


def test_own_headers_go_along_and_do_not_change_ours(receiver: Receiver, context: ChannelContext) -> None:
    headers = {"Authorization": Sealed("Bearer t"), "content-type": Sealed("text/html")}
    got = sent("webhook", receiver, context, a_notification(), headers=headers)
    assert (got.headers["authorization"], got.headers["content-type"]) == ("Bearer t", "application/json")


# Alertmanager


@pytest.mark.parametrize("path", ["", "/", "/api/v2/alerts", "/api/v2/alerts/"])
def test_alerts_are_pushed_where_alertmanager_takes_them(
    receiver: Receiver, context: ChannelContext, path: str
) -> None:
    channel("alertmanager", receiver, context, path).send(a_notification())
    assert receiver.got[0].path.rstrip("/") == "/api/v2/alerts"


def test_a_prefix_of_the_address_is_kept(receiver: Receiver, context: ChannelContext) -> None:
    channel("alertmanager", receiver, context, "/am/").send(a_notification())
    assert receiver.got[0].path == "/am/api/v2/alerts"


def test_what_fires_stands_until_after_the_next_repeat_and_what_is_over_is_over(
    receiver: Receiver, context: ChannelContext
) -> None:
    notification = a_notification(told(), told(status="resolved"))
    firing, over = sent("alertmanager", receiver, context, notification).json
    assert firing["startsAt"] == over["startsAt"] == "2026-03-10T04:00:00.000Z"
    assert firing["endsAt"] == "2026-03-11T07:05:00.000Z"
    assert over["endsAt"] == "2026-03-10T06:05:00.000Z"


def test_names_that_alertmanager_does_not_take_are_changed_and_stay_apart(
    receiver: Receiver, context: ChannelContext
) -> None:
    labels = {"a-b": "1", "a.b": "2", "1st": "3", "卷": "4", "ok_name": "5"}
    (alert,) = sent("alertmanager", receiver, context, a_notification(told(alert={"labels": labels}))).json
    ours = {"alertname": "DiskUsageHigh", "severity": "critical"}
    assert alert["labels"] == ours | {"a_b": "1", "a_b_2": "2", "_1st": "3", "_": "4", "ok_name": "5"}


def test_a_test_alert_ends_by_itself(receiver: Receiver, context: ChannelContext) -> None:
    channel("alertmanager", receiver, context).test()
    (alert,) = receiver.got[0].json
    assert (alert["startsAt"], alert["endsAt"]) == ("2026-03-10T04:00:00.000Z", "2026-03-10T04:01:00.000Z")


# Heartbeat


def test_what_fires_is_a_failure_and_that_all_is_well_is_not_for_one_message_to_say(
    receiver: Receiver, context: ChannelContext
) -> None:
    heartbeat = channel("heartbeat", receiver, context, "/ID")
    heartbeat.send(a_notification())
    heartbeat.send(a_notification(told(status="resolved")))
    assert [got.path for got in receiver.got] == ["/ID/fail"]
    assert "/数据 已用 95 %" in receiver.got[0].body.decode()


def heartbeats(receiver: Receiver, **changed: Any) -> AlertSettings:
    targets = {
        "watchdog": TargetSettings(
            channel="heartbeat", url=Sealed(f"{receiver.url}/ID"), allow_private=True, **changed
        ),
        "hook": TargetSettings(channel="webhook", url=Sealed(f"{receiver.url}/hook"), allow_private=True),
    }
    return AlertSettings(targets=targets)


def test_every_heartbeat_target_and_no_other_gets_each_sign_of_life(
    receiver: Receiver, context: ChannelContext
) -> None:
    settings = heartbeats(receiver)
    assert [beat(settings, context, signal) for signal in ("start", "success", "fail")] == [{}, {}, {}]
    assert [got.path for got in receiver.got] == ["/ID/start", "/ID", "/ID/fail"]


def test_one_that_hears_alerts_is_not_told_that_all_is_well_while_one_of_them_is_open(
    receiver: Receiver, context: ChannelContext
) -> None:
    settings = heartbeats(receiver, levels=("critical",))
    hears = AlertSettings(channels=("watchdog",), targets=settings.targets)
    for known, levels in ((hears, {"critical"}), (hears, {"warning"}), (settings, {"critical"})):
        beat(known, context, "success", open_levels=levels)  # type: ignore[arg-type]
    beat(hears, context, "start", open_levels={"critical"})
    assert [got.path for got in receiver.got] == ["/ID/fail", "/ID", "/ID", "/ID/start"]


def test_a_service_that_takes_no_sign_of_life_is_named_and_stops_nobody(
    receiver: Receiver, context: ChannelContext
) -> None:
    settings = heartbeats(receiver)
    with receiving() as gone:
        away = TargetSettings(channel="heartbeat", url=Sealed(gone.url), allow_private=True)
    both = AlertSettings(targets={"away": away, **settings.targets})
    assert list(beat(both, context, "success")) == ["away"]
    assert [got.path for got in receiver.got] == ["/ID"]


def test_times_are_those_of_the_alert_not_of_the_sending(receiver: Receiver, context: ChannelContext) -> None:
    late = a_notification(at=FIRED + timedelta(days=1))
    (alert,) = sent("webhook", receiver, context, late).json["alerts"]
    assert alert["startsAt"] == "2026-03-10T04:00:00.000Z"
