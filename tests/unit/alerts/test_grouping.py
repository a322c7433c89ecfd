"""What makes alerts a group, and the message that tells of one."""

from datetime import timedelta
from typing import Any

import pytest
from alert_lab import NOON, ZONE, an_instance

from app.alerts.channel import Notification
from app.alerts.notices.decision import Decision, Mark
from app.alerts.notices.grouping import Group, Saying, compose, group_key, group_labels

HOUR = timedelta(hours=1)
GROUP = Group(target="ops", key="k", labels={"alertname": "Trouble"})


def saying(what: str = "a", event: Any = "firing", status: Any = "firing", **changed: Any) -> Saying:
    known = changed.pop("known", None)
    decision = Decision(event=event, status=status)
    return Saying(instance=an_instance(what, **changed), decision=decision, before=known, after=None)


def composed(*sayings: Saying, still_firing: bool = False) -> Notification:
    return compose(GROUP, sayings, NOON, ZONE, kind="group", idempotency_key="x", still_firing=still_firing)


def test_a_group_is_made_by_labels_and_what_every_alert_has() -> None:
    labels = group_labels(an_instance(labels={"component": "磁盘"}), ["alertname", "component", "severity", "host"])
    assert labels == {"alertname": "Trouble", "component": "磁盘", "severity": "warning", "host": ""}


def test_a_label_does_not_hide_what_every_alert_has() -> None:
    assert group_labels(an_instance(labels={"alertname": "x"}), ["alertname"]) == {"alertname": "Trouble"}


def test_other_values_are_another_group_however_they_are_written() -> None:
    tricky = [
        {"a": "x", "b": ""},
        {"a": "", "b": "x"},
        {"a": 'x",b="'},
        {"a": "x,b="},
        {"a": "x\n"},
        {"a": "x\\n"},
        {"a": "x" * 300},
        {"a": "x" * 301},
    ]
    keys = [group_key(labels) for labels in tricky]
    assert len(set(keys)) == len(tricky)
    assert all(len(key) <= 200 and key.isascii() for key in keys)
    assert group_key({"b": "2", "a": "1"}) == group_key({"a": "1", "b": "2"}) == '{a="1",b="2"}'


def test_a_message_tells_the_most_urgent_first() -> None:
    message = composed(
        saying("ended", "resolved", "resolved", level="critical", state="resolved", resolved_at=NOON),
        saying("old", "repeat"),
        saying("new", "firing"),
        saying("worse", "escalated", level="critical"),
        saying("bad", "firing", level="error"),
    )
    assert [one.alert.labels["what"] for one in message.alerts] == ["worse", "bad", "new", "old", "ended"]
    assert (message.event, message.status) == ("escalated", "firing")


def test_a_message_tells_of_twenty_alerts_and_counts_the_others() -> None:
    message = composed(*(saying(f"{number:02}", fired_at=NOON - number * HOUR) for number in range(23)))
    assert [one.alert.labels["what"] for one in message.alerts] == [f"{number:02}" for number in range(22, 2, -1)]
    assert message.left_out == 3


@pytest.mark.parametrize(("still_firing", "status"), [(True, "firing"), (False, "resolved")])
def test_a_group_is_over_when_nothing_of_it_fires(status: str, *, still_firing: bool) -> None:
    ended = saying("a", "resolved", "resolved", state="resolved", resolved_at=NOON)
    assert composed(ended, still_firing=still_firing).status == status


def test_times_are_those_of_the_readers_zone() -> None:
    ended = saying("a", "resolved", "resolved", state="resolved", resolved_at=NOON - timedelta(minutes=5))
    message = composed(ended)
    (told,) = message.alerts
    assert told.resolved_at is not None
    assert (
        f"{message.at:%H:%M%z} {told.fired_at:%H:%M%z} {told.resolved_at:%H:%M%z}" == "12:00+0800 11:00+0800 11:55+0800"
    )
    assert told.duration_s == 55 * 60


def test_what_goes_on_has_lasted_until_now_and_was_told_before() -> None:
    known = Mark(level="warning", at=NOON - HOUR, episode=1, count=3)
    (told,) = composed(saying("a", "repeat", known=known)).alerts
    assert (told.duration_s, told.count, told.resolved_at) == (3600, 4, None)


def test_the_end_of_what_has_come_again_already_has_its_times_from_what_is_known() -> None:
    known = Mark(level="critical", at=NOON - HOUR, episode=1)
    pending = saying("a", "resolved", "resolved", state="pending", fired_at=None, known=known)
    (told,) = composed(pending).alerts
    assert (told.fired_at, told.resolved_at, told.duration_s) == (NOON - HOUR, NOON, 3600)
    assert pending.level == "critical"


def test_a_message_is_read_as_it_was_written() -> None:
    message = composed(saying("a", labels={"mount": "/数据"}), saying("b", "repeat"))
    assert Notification.from_json(message.to_json()) == message
