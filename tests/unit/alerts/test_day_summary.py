import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from app.alerts.alert import Alert, Severity
from app.alerts.notices.day_summary import HEARD_FOR, HISTORY, Change, heard, note_told, record
from app.core.errors import OutputUnwritable

ZONE = ZoneInfo("Asia/Shanghai")
AT = datetime(2026, 3, 10, 12, 0, tzinfo=ZONE)


def alert(severity: Severity = "warning", mount: str = "/", value: float = 85.0) -> Alert:
    return Alert(
        type="disk_usage",
        alertname="DiskUsageHigh",
        message=f"{mount} 已用 {value} %",
        severity=severity,
        rule="disk_usage_high",
        value=value,
        threshold=80,
        labels={"mount": mount},
    )


def content(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "2026-03-10.json").read_text(encoding="utf-8"))
    return document


def test_an_alert_whose_severity_rises_stays_one_alert(tmp_path: Path) -> None:
    first = record(tmp_path, [alert("warning", value=85)], AT)
    second = record(tmp_path, [alert("critical", value=95)], AT + timedelta(hours=1))
    assert [n.event for n in (*first.notifications, *second.notifications)] == ["firing", "escalated"]
    (entry,) = content(tmp_path)["alerts"]
    assert (entry["severity"], entry["count"], entry["value"]) == ("critical", 2, 95)
    assert [change["severity"] for change in entry["history"]] == ["warning", "critical"]
    assert datetime.fromisoformat(entry["first_at"]) == AT
    assert datetime.fromisoformat(entry["last_at"]) == AT + timedelta(hours=1)
    assert content(tmp_path)["by_severity"] == {"critical": 1, "warning": 0, "error": 0}


def test_a_falling_severity_is_no_escalation_and_the_days_highest_stays(tmp_path: Path) -> None:
    record(tmp_path, [alert("critical")], AT)
    again = record(tmp_path, [alert("warning")], AT)
    back = record(tmp_path, [alert("critical")], AT)
    assert [n.event for n in (*again.notifications, *back.notifications)] == ["repeat", "repeat"]
    (entry,) = content(tmp_path)["alerts"]
    assert entry["severity"] == "critical"
    assert [change["severity"] for change in entry["history"]] == ["critical", "warning", "critical"]


def test_the_same_severity_again_is_a_repeat_without_history(tmp_path: Path) -> None:
    record(tmp_path, [alert()], AT)
    (again,) = record(tmp_path, [alert(value=86)], AT + timedelta(minutes=5)).notifications
    (told,) = again.alerts
    assert (again.event, told.count, told.fired_at) == ("repeat", 2, AT)
    (entry,) = content(tmp_path)["alerts"]
    assert len(entry["history"]) == 1
    assert "86" in entry["message"]


def test_one_call_may_hold_the_same_alert_twice(tmp_path: Path) -> None:
    events = [n.event for n in record(tmp_path, [alert("warning"), alert("critical")], AT).notifications]
    assert events == ["firing", "escalated"]


def test_alerts_about_different_things_are_entries_of_their_own(tmp_path: Path) -> None:
    record(tmp_path, [alert(mount="/"), alert(mount="/数据")], AT)
    assert {entry["labels"]["mount"] for entry in content(tmp_path)["alerts"]} == {"/", "/数据"}


LAST = datetime(2026, 3, 10, 23, 59, 59, 999999, tzinfo=ZONE)
MIDNIGHT = LAST + timedelta(microseconds=1)


def test_what_goes_on_at_local_midnight_stands_in_both_days_and_is_not_told_again(tmp_path: Path) -> None:
    record(tmp_path, [alert()], LAST)
    over_midnight = record(tmp_path, [alert()], MIDNIGHT)
    assert [one.event for one in over_midnight.notifications] == ["repeat"]
    assert over_midnight.due == []
    days = sorted(tmp_path.glob("*.json"))
    assert [path.name for path in days] == ["2026-03-10.json", "2026-03-11.json"]
    assert [len(json.loads(path.read_text())["alerts"]) for path in days] == [1, 1]


def test_a_repeat_is_due_when_its_interval_is_over_whatever_day_it_is(tmp_path: Path) -> None:
    record(tmp_path, [alert("critical")], LAST)
    four_hours = LAST + timedelta(hours=4)
    assert record(tmp_path, [alert("critical")], MIDNIGHT).due == []
    assert record(tmp_path, [alert("critical")], four_hours - timedelta(microseconds=1)).due == []
    assert [one.event for one in record(tmp_path, [alert("critical")], four_hours).due] == ["repeat"]


def test_what_gets_worse_at_midnight_is_told(tmp_path: Path) -> None:
    record(tmp_path, [alert()], LAST)
    assert [one.event for one in record(tmp_path, [alert("critical")], MIDNIGHT).due] == ["escalated"]


def test_what_nobody_found_again_is_not_carried_into_the_new_day(tmp_path: Path) -> None:
    record(tmp_path, [alert(mount="/"), alert(mount="/数据")], LAST)
    record(tmp_path, [alert(mount="/")], MIDNIGHT)
    (entry,) = json.loads((tmp_path / "2026-03-11.json").read_text())["alerts"]
    assert entry["labels"] == {"mount": "/"}


def test_a_damaged_day_before_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "2026-03-10.json").write_bytes(b"{")
    assert [one.event for one in record(tmp_path, [alert()], MIDNIGHT).due] == ["firing"]


# What was told without the database


def told_to(folder: Path, at: datetime) -> dict[str, list[str]]:
    return {target: [one.severity for one in known.values()] for target, known in heard(folder, at).items()}


def test_who_was_told_what_is_remembered_for_a_quarter_of_an_hour_after_it_was_last_found(tmp_path: Path) -> None:
    record(tmp_path, [alert()], AT)
    note_told(tmp_path, {"ops": {alert().fingerprint: "warning"}, "boss": {}}, AT)
    assert heard(tmp_path, AT) == {"ops": {alert().fingerprint: Change(severity="warning", at=AT)}}
    assert told_to(tmp_path, AT + HEARD_FOR - timedelta(seconds=1)) == {"ops": ["warning"]}
    assert told_to(tmp_path, AT + HEARD_FOR) == {}
    record(tmp_path, [alert()], AT + HEARD_FOR)
    assert told_to(tmp_path, AT + HEARD_FOR) == {"ops": ["warning"]}


def test_who_was_told_before_midnight_is_remembered_after_it(tmp_path: Path) -> None:
    record(tmp_path, [alert()], LAST)
    note_told(tmp_path, {"ops": {alert().fingerprint: "warning"}}, LAST)
    assert told_to(tmp_path, MIDNIGHT) == {"ops": ["warning"]}
    record(tmp_path, [alert()], MIDNIGHT)
    assert told_to(tmp_path, MIDNIGHT + HEARD_FOR - timedelta(seconds=1)) == {"ops": ["warning"]}


def test_a_target_is_remembered_with_the_last_that_it_was_told(tmp_path: Path) -> None:
    record(tmp_path, [alert()], AT)
    note_told(tmp_path, {"ops": {alert().fingerprint: "warning"}, "boss": {alert().fingerprint: "warning"}}, AT)
    later = AT + timedelta(minutes=1)
    record(tmp_path, [alert("critical")], later)
    note_told(tmp_path, {"ops": {alert().fingerprint: "critical"}}, later)
    assert told_to(tmp_path, later) == {"ops": ["critical"], "boss": ["warning"]}


def test_nothing_told_writes_nothing_and_nothing_there_is_nobody_told(tmp_path: Path) -> None:
    note_told(tmp_path, {"ops": {}}, AT)
    assert list(tmp_path.iterdir()) == []
    assert heard(tmp_path, AT) == {}


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b'{"date": "2026-03-10", "ale',
        b"\xff\xfe",
        b"[]",
        b'{"date": "2026-03-10", "alerts": [{}]}',
        (
            b'{"date": "2026-03-10", "alerts": [{"fingerprint":"f","alertname":"a","type":"t","severity":"warning",'
            b'"first_at":"2026-03-10T01:00:00","last_at":"2026-03-10T01:00:00","count":1,"history":[],"message":"m",'
            b'"value":NaN,"threshold":null,"labels":{}}]}'
        ),
    ],
    ids=["empty", "torn", "not utf-8", "a list", "an empty entry", "naive times and NaN"],
)
def test_a_damaged_summary_is_set_aside_whole_and_the_alert_recorded(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "2026-03-10.json").write_bytes(damage)
    recorded = record(tmp_path, [alert()], AT)
    assert recorded.set_aside == tmp_path / "2026-03-10.json.corrupt-20260310T120000"
    assert recorded.set_aside.read_bytes() == damage
    assert len(content(tmp_path)["alerts"]) == 1


def test_a_second_damaged_summary_does_not_replace_the_first(tmp_path: Path) -> None:
    for damage in (b"one", b"two"):
        (tmp_path / "2026-03-10.json").write_bytes(damage)
        record(tmp_path, [alert()], AT)
    assert sorted(path.read_bytes() for path in tmp_path.glob("*.corrupt-*")) == [b"one", b"two"]


def test_a_flapping_alert_does_not_grow_the_file_without_end(tmp_path: Path) -> None:
    flapping: list[Alert] = [alert("warning"), alert("critical")] * HISTORY
    record(tmp_path, flapping, AT)
    (entry,) = content(tmp_path)["alerts"]
    assert (len(entry["history"]), entry["count"]) == (HISTORY, 2 * HISTORY)


def test_a_folder_that_can_not_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(OutputUnwritable, match=r"reports/2026-03-10\.json"):
        record(tmp_path / "reports", [alert()], AT)
