"""What a run found and what others hand over, on its way into files, console, webhook and the day's summary."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from receiver import Answer, Receiver, receiving
from sqlalchemy import select

from app.alerts.targets import TargetSettings
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.errors import BadArgument
from app.core.own_tables import alert_event, alert_outbox
from app.core.secret import Sealed
from app.execution.runner import Outcome, run_job
from app.schedule.runs import Origin
from app.schedule.signs import MONITOR, Signs
from app.settings import load
from app.watch.desk import AlertDesk
from app.watch.telling import acknowledge, hand_over, notify, try_target

SHELL = Origin(trigger="shell")
UNKNOWN = {"method": None, "hours_left": None, "full_at": None}
FULL = {"mount": "/数据", "free_gb": 3.2, "inodes_percent": 5.0, "forecast": UNKNOWN, "inode_forecast": None}


@pytest.fixture
def context(database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


@pytest.fixture
def webhook() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def alert(severity: str = "warning", kind: str = "failure_rate", **more: Any) -> dict[str, Any]:
    return {"type": kind, "message": "失败率 62.5 %", "severity": severity, **more}


def disk(percent: float) -> dict[str, Any]:
    return {"mounts": [{**FULL, "usage_percent": percent}], "errors": []}


def lines(context: Context, severity: str) -> list[dict[str, Any]]:
    path = context.settings.paths.logs / f"{severity}_alerts.log"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


def summary(context: Context) -> list[dict[str, Any]]:
    document = json.loads((context.settings.paths.alert_reports / "2026-03-10.json").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = document["alerts"]
    return found


def telling(context: Context, receiver: Receiver, **more: Any) -> Context:
    """The same installation with a webhook beside files and console."""
    target = TargetSettings(channel="webhook", url=Sealed(receiver.url), allow_private=True)
    alerts = msgspec.structs.replace(
        context.settings.alerts, channels=("log_files", "console", "ops"), targets={"ops": target}, **more
    )
    return replace(context, settings=msgspec.structs.replace(context.settings, alerts=alerts))


def told(receiver: Receiver) -> list[tuple[str, str]]:
    return [(got.json["status"], one["labels"]["severity"]) for got in receiver.got for one in got.json["alerts"]]


# Alerts that others hand over


def test_each_severity_goes_to_its_own_file_and_into_the_days_summary(context: Context) -> None:
    handed = [alert("critical", "a"), alert("warning", "b"), alert("error", "c"), alert("warning", "d")]
    result = notify(context, handed)
    assert (result["success"], result["sent"]) == (True, 4)
    assert result["by_severity"] == {"critical": 1, "warning": 2, "error": 1}
    assert result["channels"] == {"log_files": "ok", "console": "ok"}
    assert result["events"] == {"firing": 4}
    assert [line["type"] for line in lines(context, "critical")] == ["a"]
    assert sorted(line["type"] for line in lines(context, "warning")) == ["b", "d"]
    assert [line["type"] for line in lines(context, "error")] == ["c"]
    assert sorted(entry["type"] for entry in summary(context)) == ["a", "b", "c", "d"]


def test_a_line_has_its_keys_in_reading_order_and_local_time(context: Context) -> None:
    notify(
        context, [alert("critical", value=62.5, threshold=50, labels={"app": "回证"}, alertname="TaskFailureRateHigh")]
    )
    (line,) = lines(context, "critical")
    assert list(line) == [
        *("timestamp", "level", "event", "message", "alertname", "value", "threshold", "labels", "fingerprint"),
        *("fired_at", "duration_s", "type", "count"),
    ]
    assert line["timestamp"] == "2026-03-10T12:00:00.000+08:00"
    assert (line["level"], line["event"], line["value"]) == ("critical", "firing", 62.5)


def test_the_same_alert_again_is_known_and_told_nobody(context: Context, clock: ManualClock) -> None:
    notify(context, [alert()])
    clock.advance(timedelta(hours=1))
    again = notify(context, [alert()])
    assert (again["success"], again["sent"], again["events"]) == (True, 1, {})
    assert len(lines(context, "warning")) == 1


def test_an_alert_that_gets_worse_is_one_alert_told_at_once(context: Context) -> None:
    notify(context, [alert("warning")])
    assert notify(context, [alert("critical")])["events"] == {"escalated": 1}
    assert [line["event"] for line in lines(context, "critical")] == ["escalated"]
    assert [(entry["severity"], len(entry["history"])) for entry in summary(context)] == [("critical", 2)]


def test_an_application_that_says_no_more_of_an_alert_is_heard_for_a_day(context: Context, clock: ManualClock) -> None:
    notify(context, [alert()])
    clock.advance(timedelta(hours=23, minutes=59))
    AlertDesk(context).watch_pass()
    assert [line["event"] for line in lines(context, "warning")] == ["firing"]
    clock.advance(timedelta(minutes=1))
    AlertDesk(context).watch_pass()
    assert "resolved" in [line["event"] for line in lines(context, "warning")]


def test_malformed_alerts_are_refused_one_by_one_and_the_rest_is_taken(context: Context) -> None:
    result = notify(context, [alert(), "no dict", alert("fatal"), alert("error")])
    assert (result["success"], result["sent"]) == (False, 2)
    assert [refusal["index"] for refusal in result["refused"]] == [1, 2]
    assert "fatal" in result["refused"][1]["why"]
    assert len(lines(context, "warning")) == len(lines(context, "error")) == 1


@pytest.mark.parametrize("items", [None, "text", alert(), 7])
def test_what_is_no_list_is_refused_and_nothing_written(context: Context, items: object) -> None:
    result = notify(context, items)
    assert (result["success"], result["sent"], len(result["refused"])) == (False, 0, 1)
    assert not context.settings.paths.logs.exists()


def test_switched_off_alerts_say_so_and_write_nothing(context: Context) -> None:
    alerts = msgspec.structs.replace(context.settings.alerts, enabled=False)
    off = replace(context, settings=msgspec.structs.replace(context.settings, alerts=alerts))
    result = notify(off, [alert()])
    assert (result["success"], result["sent"]) == (True, 0)
    assert "switched off" in result["skipped"]
    assert hand_over(off, "disk-space-check", Outcome(result={}, observed={"disk": disk(99)})) == {"alerts": 0}
    assert not context.settings.paths.logs.exists()


def test_files_that_can_not_be_written_are_said_and_written_later(context: Context, clock: ManualClock) -> None:
    logs = context.settings.paths.logs
    logs.parent.mkdir(parents=True, exist_ok=True)
    logs.write_text("a file, no folder")
    result = notify(context, [alert("critical", "磁盘")])
    assert result["success"] is True
    assert "critical_alerts.log" in result["channels"]["log_files"]
    assert result["channels"]["console"] == "ok"
    logs.unlink()
    clock.advance(timedelta(minutes=1))
    AlertDesk(context).watch_pass()
    assert [line["type"] for line in lines(context, "critical")] == ["磁盘"]


# What runs find


def test_a_full_disk_that_a_job_finds_is_told_at_once_rises_and_ends(
    context: Context, webhook: Receiver, clock: ManualClock
) -> None:
    ours = telling(context, webhook)
    for percent, alerts in ((85, 1), (95, 1), (60, 0)):
        found = Outcome(result={"success": True}, observed={"disk": disk(percent)})
        done = run_job(ours, "disk-space-check", lambda _i, found=found: found, origin=SHELL, hand_over=hand_over)
        assert done.result == {"success": True, "alerts": alerts}
        record = ours.history.get(done.run_id)
        assert record is not None
        assert record.result == done.result
        clock.advance(timedelta(hours=1))
    assert [line["event"] for line in lines(ours, "warning")] == ["firing"]
    assert [line["event"] for line in lines(ours, "critical")] == ["escalated", "resolved"]
    assert told(webhook) == [("firing", "warning"), ("firing", "critical"), ("resolved", "critical")]


def test_what_a_job_no_longer_lists_is_over_and_another_jobs_alerts_are_not(
    context: Context, clock: ManualClock
) -> None:
    backlog = Outcome(result={}, alerts=[alert(kind="backlog")])
    hand_over(context, "check-pending-tasks", backlog)
    hand_over(context, "backup-database", Outcome(result={}, alerts=[alert("error", "backup")]))
    clock.advance(timedelta(minutes=10))
    assert hand_over(context, "check-pending-tasks", Outcome(result={}, alerts=[])) == {"alerts": 0}
    assert [line["event"] for line in lines(context, "warning")] == ["firing", "resolved"]
    assert [line["event"] for line in lines(context, "error")] == ["firing"]


def test_a_run_that_found_nothing_to_judge_ends_nothing(context: Context) -> None:
    hand_over(context, "backup-database", Outcome(result={}, alerts=[alert("error")]))
    assert hand_over(context, "backup-database", Outcome(result={})) == {}
    assert [line["event"] for line in lines(context, "error")] == ["firing"]


def test_a_run_whose_job_failed_ends_nothing(context: Context) -> None:
    hand_over(context, "disk-space-check", Outcome(result={}, observed={"disk": disk(95)}))

    def broken(_context: Context) -> Outcome:
        raise ZeroDivisionError

    done = run_job(context, "disk-space-check", broken, origin=SHELL, hand_over=hand_over)
    assert done.state == "failed"
    assert [line["event"] for line in lines(context, "critical")] == ["firing"]


def test_what_is_found_is_told_before_the_end_of_the_run_is_recorded(context: Context) -> None:
    """Killed in between, the run is done again; the other way round its alerts would be lost."""
    states = []

    def look(inner: Context, job: str, outcome: Outcome) -> dict[str, Any]:
        record = inner.history.get(inner.run_id)
        states.append(record.state if record else None)
        return hand_over(inner, job, outcome)

    found = Outcome(result={"success": True}, observed={"disk": disk(95)})
    run_job(context, "disk-space-check", lambda _i: found, origin=SHELL, hand_over=look)
    assert states == ["running"]


def test_a_hand_over_that_breaks_does_not_make_the_run_a_failed_one(context: Context) -> None:
    def broken(*_arguments: object) -> dict[str, Any]:
        raise ZeroDivisionError("redis://:geheim@h")

    done = run_job(context, "x", lambda _i: Outcome(result={"success": True}), origin=SHELL, hand_over=broken)
    assert done.state == "succeeded"
    assert "ZeroDivisionError" in done.result["alerts_error"]
    assert "geheim" not in json.dumps(done.result)


# Who sends


def test_where_a_monitor_watches_a_run_leaves_the_network_to_it(
    context: Context, webhook: Receiver, clock: ManualClock
) -> None:
    ours = telling(context, webhook)
    Signs(ours.database).leave(MONITOR, {"since": clock.now().isoformat()}, clock.now())
    result = notify(ours, [alert("critical")])
    assert result["channels"] == {"log_files": "ok", "console": "ok", "ops": "later"}
    assert (len(lines(ours, "critical")), told(webhook)) == (1, [])
    AlertDesk(ours).watch_pass()
    assert told(webhook) == [("firing", "critical")]


def test_where_no_monitor_watches_nothing_waits_for_its_group(
    context: Context, webhook: Receiver, clock: ManualClock
) -> None:
    ours = telling(context, webhook)
    Signs(ours.database).leave(MONITOR, {"since": clock.now().isoformat()}, clock.now() - timedelta(minutes=3))
    assert notify(ours, [alert("warning")])["channels"]["ops"] == "ok"
    assert told(webhook) == [("firing", "warning")]


def test_receiving_that_refuses_is_told_of_by_the_others(context: Context, webhook: Receiver) -> None:
    ours = telling(context, webhook)
    webhook.answers(Answer(code=404))
    result = notify(ours, [alert("critical")])
    assert "404" in result["channels"]["ops"]
    assert [line["alertname"] for line in lines(ours, "error")] == ["NotificationChannelBroken"]


def test_an_acknowledgement_stands_in_the_files_and_in_the_history(context: Context) -> None:
    notify(context, [alert("critical")])
    (line,) = lines(context, "critical")
    acknowledge(context, line["fingerprint"][:6], by="王五@值班", comment="在修", lasts=timedelta(hours=2))
    assert [line["event"] for line in lines(context, "critical")] == ["firing", "acked"]
    with context.database.read() as connection:
        (event,) = connection.execute(select(alert_event).where(alert_event.c.event == "acked")).all()
    assert (event.by_whom, event.comment) == ("王五@值班", "在修")


def test_a_target_is_tried_for_real_and_an_unknown_one_answered_with_the_nearest(
    context: Context, webhook: Receiver
) -> None:
    ours = telling(context, webhook)
    assert try_target(ours, "ops")
    assert len(webhook.got) == 1
    with pytest.raises(BadArgument, match='did you mean "ops"'):
        try_target(ours, "opps")
    with ours.database.read() as connection:
        assert connection.execute(select(alert_outbox)).first() is None


# Without a database


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Iterator[Context]:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:geheim@127.0.0.1:1/none")
    monkeypatch.setenv("GENGFU_GENERAL__TIMEZONE", "Asia/Shanghai")
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


def test_a_full_disk_is_told_while_the_database_is_away_and_once_only(away: Context, webhook: Receiver) -> None:
    ours = telling(away, webhook)
    found = Outcome(result={"success": True}, observed={"disk": disk(95)})
    for _ in range(3):
        assert hand_over(ours, "disk-space-check", found) == {"alerts": 1}
    assert [line["alertname"] for line in lines(ours, "critical")] == ["DiskUsageHigh"]
    assert told(webhook) == [("firing", "critical")]


def test_alerts_of_others_are_told_while_the_database_is_away(away: Context) -> None:
    result = notify(away, [alert("critical"), 7])
    assert (result["success"], result["sent"], result["events"]) == (False, 1, {"firing": 1})
    assert result["channels"] == {"log_files": "ok", "console": "ok"}
    assert len(lines(away, "critical")) == 1


def test_an_alert_that_reached_nobody_is_no_success_and_named(away: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    away.settings.paths.logs.parent.mkdir(parents=True, exist_ok=True)
    away.settings.paths.logs.write_text("a file, no folder")

    class BrokenPipe(io.StringIO):
        def write(self, _text: str, /) -> int:
            raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("sys.stderr", BrokenPipe())
    result = notify(away, [alert("critical", value=1)])
    assert result["success"] is False
    assert [(lost["type"], lost["value"]) for lost in result["undelivered"]] == [("failure_rate", 1)]
    assert Path(away.settings.paths.logs).read_text() == "a file, no folder"
