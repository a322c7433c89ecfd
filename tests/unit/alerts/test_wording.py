from datetime import timedelta
from typing import Any

import pytest
from alert_messages import FIRED, a_notification, told

from app.alerts.alert import MESSAGE_CHARACTERS
from app.alerts.notices.outbox import OVERFLOW
from app.alerts.wire.wording import HELD_BACK, body, happened, said, span, title, trial


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-1, "0 s"), (0, "0 s"), (59.4, "59 s"), (59.6, "1 min"), (119, "1 min"), (3599, "59 min")),
        *((3600, "1 h"), (7500, "2 h 5 min"), (86399, "23 h 59 min"), (86400, "1 d"), (90000, "1 d 1 h")),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, ""),
        ({"event": "escalated"}, "now more severe"),
        ({"event": "eased"}, "now less severe"),
        ({"event": "repeat"}, "still so"),
        ({"event": "acked"}, "acknowledged"),
        ({"event": "silenced"}, "silenced"),
        ({"event": "flapping"}, "goes to and fro; told again when it settles"),
        ({"status": "resolved"}, ""),
        ({"status": "resolved", "event": "flapping"}, "goes to and fro; told again when it settles"),
    ],
)
def test_what_happened_is_told_in_a_few_words(changed: dict[str, Any], text: str) -> None:
    assert happened(told(**changed)) == text


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "over after 2 h 5 min; it was: /数据 已用 95 %"),
        ({"duration_s": None}, "over; it was: /数据 已用 95 %"),
        ({"reason": "now 40 %"}, "over after 2 h 5 min, now 40 %; it was: /数据 已用 95 %"),
        ({"event": "firing"}, "began and was over again after 2 h 5 min; it was: /数据 已用 95 %"),
    ],
)
def test_what_is_over_says_how_long_it_lasted_and_what_it_was(changed: dict[str, Any], text: str) -> None:
    assert said(told(status="resolved", **changed)) == text
    assert said(told(event="repeat")) == "/数据 已用 95 %"


def test_what_is_over_is_no_longer_than_a_message_may_be() -> None:
    assert len(said(told(status="resolved", alert={"message": "长" * MESSAGE_CHARACTERS}))) == MESSAGE_CHARACTERS


def test_the_title_names_the_worst_that_fires() -> None:
    over = told(status="resolved")
    warning, error = (told(alert={"severity": level, "alertname": level.title()}) for level in ("warning", "error"))
    assert title(a_notification(warning, error, over)) == "[ERROR] Warning, Error, DiskUsageHigh (3 alerts)"
    assert title(a_notification(over, over)) == "[RESOLVED] DiskUsageHigh (2 alerts)"


def test_a_message_that_is_all_about_ends_while_others_still_fire_says_so() -> None:
    """The group goes on firing, but nothing of what fires is in this message."""
    assert title(a_notification(told(status="resolved"), status="firing")) == "[FIRING] DiskUsageHigh"


def test_many_names_are_cut_and_those_left_out_are_counted() -> None:
    alerts = [told(alert={"alertname": name}) for name in ("A", "B", "C", "D", "A")]
    notification = a_notification(*alerts, left_out=9995)
    assert title(notification) == "[CRITICAL] A, B, C... (10000 alerts)"
    assert body(notification).endswith("\n\nand 9995 more")


def test_one_alert_is_told_without_its_name_which_the_title_says() -> None:
    assert body(a_notification()).splitlines() == [
        "/数据 已用 95 %",
        "mount=/数据",
        "since 2026-03-10 12:00:00+08:00",
        "https://runbook.example/disk",
    ]


def test_several_alerts_are_blocks_that_name_themselves() -> None:
    first, second = body(a_notification(told(), told(status="resolved"))).split("\n\n")
    assert first.startswith("CRITICAL DiskUsageHigh: /数据 已用 95 %\n")
    assert second.startswith("RESOLVED DiskUsageHigh: over after 2 h 5 min; it was: /数据 已用 95 %\nmount=")


def test_what_the_cap_held_back_says_why_it_comes_late() -> None:
    assert HELD_BACK == OVERFLOW
    why, first = body(a_notification(told(), group_key=OVERFLOW)).split("\n\n")
    assert "too many messages" in why
    assert first.startswith("CRITICAL DiskUsageHigh: ")


def test_annotations_stand_in_the_order_in_which_people_read() -> None:
    annotations = {"runbook_url": "https://r.example", "description": "为什么", "summary": "磁盘", "other": "no"}
    assert body(a_notification(told(annotations=annotations))).splitlines()[-3:] == [
        *("磁盘", "为什么", "https://r.example")
    ]


def test_a_trial_says_that_nothing_is_wrong_and_is_never_the_same_twice() -> None:
    first, second = (trial("ops", FIRED + timedelta(microseconds=n)) for n in range(2))
    assert (first.kind, title(first)) == ("test", "[TEST] GengfuTest")
    assert "Nothing is wrong" in body(first)
    assert first.idempotency_key != second.idempotency_key
