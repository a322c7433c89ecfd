"""The monitor at the real desk: what it sees is told, and what is over is told as well."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import msgspec
import pytest
from alert_lab import Target
from receiver import Receiver, receiving

from app.alerts.targets import TargetSettings
from app.context import Context, make_context
from app.core.clock import ManualClock
from app.core.errors import DatabaseBusy, DatabaseRefused, DatabaseUnavailable
from app.core.secret import Sealed
from app.reporting.rollups import Rollups
from app.schedule.in_force import Schedules
from app.schedule.job_spec import JobSpec
from app.settings import load
from app.watch import monitor as monitor_module
from app.watch import telling
from app.watch.desk import AlertDesk
from app.watch.monitor import Monitor
from app.watch.watchman import Watchman, WorkerFacts

LOOK = timedelta(seconds=30)


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    answer: dict[str, Any] = {"status": "ok", "available": True, "queues": {"file": 3}}
    monkeypatch.setattr(monitor_module, "broker_facts", lambda _context: answer)
    monkeypatch.setattr(monitor_module, "resources", lambda _clock: {"cpu_percent": 5.0, "memory_percent": 50.0})
    monkeypatch.setattr(
        monitor_module, "measured_disks", lambda _context: {"mounts": [], "errors": [], "disk_info": None}
    )
    return answer


@pytest.fixture
def context(
    database_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, broker: dict[str, Any]
) -> Iterator[Context]:
    assert broker
    monkeypatch.setenv("DATABASE_URL", database_url)
    # Without disks their rules can't be judged, which would be told.
    off = ("disk_usage_high", "inode_usage_high", "disk_will_fill", "disk_check_errors")
    monkeypatch.setenv("GENGFU_ALERTS__RULES", json.dumps({name: {"enabled": False} for name in off}))
    made = make_context(load(), clock)
    yield made
    made.database.dispose()


def events(context: Context, level: str) -> list[tuple[str, str]]:
    path = context.settings.paths.logs / f"{level}_alerts.log"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
    return [(line["alertname"], line["event"]) for line in lines]


def looks(monitor: Monitor, clock: ManualClock, number: int) -> None:
    for _ in range(number):
        monitor.look()
        clock.advance(LOOK)


def test_a_broker_that_is_away_is_told_at_the_third_look_and_its_return_after_five_good_minutes(
    context: Context, broker: dict[str, Any], clock: ManualClock
) -> None:
    monitor = Monitor(context, AlertDesk(context))
    broker.update(status="critical", available=False, detail="拒绝连接", queues={})
    looks(monitor, clock, 2)
    assert events(context, "critical") == []
    looks(monitor, clock, 1)
    assert events(context, "critical") == [("BrokerDown", "firing")]
    broker.update(status="ok", available=True)
    looks(monitor, clock, 9)
    assert events(context, "critical") == [("BrokerDown", "firing")]
    looks(monitor, clock, 1)
    assert events(context, "critical") == [("BrokerDown", "firing"), ("BrokerDown", "resolved")]


def test_a_backlog_has_to_last(context: Context, broker: dict[str, Any], clock: ManualClock) -> None:
    monitor = Monitor(context, AlertDesk(context))
    broker["queues"] = {"file": 101}
    looks(monitor, clock, 20)
    assert events(context, "warning") == []
    looks(monitor, clock, 1)
    assert events(context, "warning") == [("QueueBacklog", "firing")]


def test_a_probe_that_breaks_is_told_and_is_well_again_by_itself(
    context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor(context, AlertDesk(context))
    with monkeypatch.context() as patch:
        patch.setattr(monitor_module, "resources", lambda _clock: 1 / 0)
        looks(monitor, clock, 3)
    assert events(context, "error") == [("MonitorBlind", "firing")]
    looks(monitor, clock, 1)
    assert events(context, "error") == [("MonitorBlind", "firing"), ("MonitorBlind", "resolved")]


def test_a_database_that_was_away_is_told_without_it_and_its_return_with_it(
    context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object, **_more: object) -> None:
        raise DatabaseUnavailable("数据库不在")

    monitor = Monitor(context, AlertDesk(context))
    with monkeypatch.context() as patch:
        for way in ("read", "write"):
            patch.setattr(f"app.core.database.Database.{way}", away)
        looks(monitor, clock, 5)
        assert events(context, "critical") == [("DatabaseDown", "firing")]
    looks(monitor, clock, 10)
    assert events(context, "critical") == [("DatabaseDown", "firing")]
    looks(monitor, clock, 4)
    assert events(context, "critical") == [("DatabaseDown", "firing"), ("DatabaseDown", "resolved")]


@pytest.fixture
def ops(monkeypatch: pytest.MonkeyPatch) -> Target:
    """A target of people beside the log files."""
    monkeypatch.setenv("GENGFU_ALERTS__CHANNELS", json.dumps(["log_files", "ops"]))
    plain = {"channel": "webhook", "url": "https://hooks.example/x"}
    monkeypatch.setenv("GENGFU_ALERTS__TARGETS", json.dumps({"ops": plain}))
    target, opened = Target("ops"), AlertDesk.open_target
    monkeypatch.setattr(AlertDesk, "open_target", lambda desk, name: target if name == "ops" else opened(desk, name))
    return target


def outage(monkeypatch: pytest.MonkeyPatch, clock: ManualClock, *watching: Monitor) -> None:
    """Two and a half minutes without a database, in which all watch."""

    def away(*_arguments: object, **_more: object) -> None:
        raise DatabaseUnavailable("数据库不在")

    with monkeypatch.context() as patch:
        for way in ("read", "write"):
            patch.setattr(f"app.core.database.Database.{way}", away)
        for _ in range(5):
            for monitor in watching:
                monitor.look()
            clock.advance(LOOK)


DOWN = [("firing", "DatabaseDown"), ("resolved", "DatabaseDown")]


def test_an_outage_is_told_once_to_each_target_whoever_told_it_and_whoever_enters_it(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (Monitor(context, AlertDesk(context)) for _ in range(2))
    looks(first, clock, 2)
    outage(monkeypatch, clock, first, second)
    assert ops.told() == DOWN[:1]
    for _ in range(14):
        second.look()
        first.rest()
        clock.advance(LOOK)
    assert ops.told() == DOWN
    assert events(context, "critical") == [(name, event) for event, name in DOWN]


def test_each_outage_of_a_day_is_told_while_it_lasts(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor(context, AlertDesk(context))
    for number in (1, 2):
        outage(monkeypatch, clock, monitor)
        assert ops.told() == [*DOWN * (number - 1), DOWN[0]]
        looks(monitor, clock, 14)
        assert ops.told() == DOWN * number
        clock.advance(timedelta(hours=1))


def test_an_outage_is_over_also_where_who_told_it_is_gone_and_who_is_left_has_hardly_seen_it(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    outage(monkeypatch, clock, Monitor(context, AlertDesk(context)))
    monitor = Monitor(context, AlertDesk(context))
    looks(monitor, clock, 14)
    assert ops.told() == DOWN
    assert events(context, "critical") == [(name, event) for event, name in DOWN]
    looks(monitor, clock, 14)
    assert ops.told() == DOWN


def test_a_disk_that_was_told_as_full_without_the_database_is_told_as_well_again_when_it_is_back(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = {name: {"enabled": rule.enabled} for name, rule in context.settings.alerts.rules.items()}
    monkeypatch.setenv("GENGFU_ALERTS__RULES", json.dumps(rules | {"disk_usage_high": {"enabled": True}}))
    found = {"mount": "/数据", "usage_percent": 95.0, "inodes_percent": None, "free_gb": 1.0}
    mounts = [found | {"forecast": None, "inode_forecast": None}]
    monkeypatch.setattr(Monitor, "_disks", lambda _self, **_how: {"mounts": mounts, "errors": []})
    with_disk = make_context(load(), clock)
    monitor = Monitor(with_disk, AlertDesk(with_disk))
    outage(monkeypatch, clock, monitor)
    story = [("firing", "DiskUsageHigh"), *DOWN[:1]]
    assert ops.told() == story
    found["usage_percent"] = mounts[0]["usage_percent"] = 20.0
    looks(monitor, clock, 30)
    with_disk.database.dispose()
    assert sorted(ops.told()) == sorted([*story, ("resolved", "DiskUsageHigh"), DOWN[1]])


def test_an_outage_in_the_hours_in_which_its_rule_is_quiet_is_told_when_they_are_over(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, ends = (f"{clock.now() + after:%H:%M}" for after in (timedelta(0), 6 * LOOK))
    hours = {"from": began, "to": ends, "timezone": "UTC"}
    rules: dict[str, Any] = {name: {"enabled": rule.enabled} for name, rule in context.settings.alerts.rules.items()}
    rules["database_down"] = {"mute_windows": [hours]}
    monkeypatch.setenv("GENGFU_ALERTS__RULES", json.dumps(rules))
    quiet = make_context(load(), clock)
    monitor = Monitor(quiet, AlertDesk(quiet))
    outage(monkeypatch, clock, monitor)
    assert (ops.told(), events(context, "critical")) == ([], [])
    outage(monkeypatch, clock, monitor)
    assert ops.told() == DOWN[:1]
    looks(monitor, clock, 14)
    quiet.database.dispose()
    assert ops.told() == DOWN


def no_writes(*_arguments: object, **_more: object) -> None:
    raise DatabaseRefused("只读")


def test_a_server_that_takes_no_writes_is_told_as_away_and_nobody_else_as_silent(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = WorkerFacts(name="夜班@vm", queues=("file",), still_s=lambda: 0.0)
    watch = Watchman(context, Monitor(context, AlertDesk(context)), owner="a", worker=worker)
    for writable, looked in ((True, 2), (False, 40), (True, 14)):
        with monkeypatch.context() as patch:
            if not writable:
                patch.setattr("app.core.database.Database.write", no_writes)
            for _ in range(looked):
                watch.turn()
                clock.advance(LOOK)
        if not writable:
            assert ops.told() == DOWN[:1]
    assert ops.told() == DOWN


def test_an_outage_whose_end_could_not_be_entered_at_first_is_entered_later(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitor = Monitor(context, AlertDesk(context))
    outage(monkeypatch, clock, monitor)
    with monkeypatch.context() as patch:
        patch.setattr("app.core.database.Database.write", no_writes)
        patch.setattr(Monitor, "_try_to_write", lambda _self: None)
        looks(monitor, clock, 1)
    looks(monitor, clock, 14)
    assert ops.told() == DOWN


def test_a_database_that_is_locked_for_a_look_makes_nothing_fire_before_its_time(
    ops: Target, context: Context, broker: dict[str, Any], clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_arguments: object, **_more: object) -> None:
        raise DatabaseBusy("locked")

    monitor = Monitor(context, AlertDesk(context))
    broker["queues"] = {"file": 101}
    looks(monitor, clock, 2)
    with monkeypatch.context() as patch:
        patch.setattr("app.core.database.Database.write", locked)
        looks(monitor, clock, 2)
    looks(monitor, clock, 2)
    assert (ops.told(), events(context, "warning"), events(context, "critical")) == ([], [], [])


def test_an_outage_over_midnight_is_told_once(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = clock.now().astimezone(context.zone)
    midnight = local.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    clock.advance(midnight - local - 4 * LOOK)
    monitor = Monitor(context, AlertDesk(context))
    outage(monkeypatch, clock, monitor)
    assert clock.now().astimezone(context.zone).date() == midnight.date()
    looks(monitor, clock, 14)
    assert ops.told() == DOWN
    assert events(context, "critical") == [(name, event) for event, name in DOWN]


def test_alerts_of_others_told_without_the_database_are_not_told_again_when_it_is_back(
    ops: Target, context: Context, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object, **_more: object) -> None:
        raise DatabaseUnavailable("数据库不在")

    found = [{"type": "printer", "message": "打印机缺纸", "severity": "critical"}]
    with monkeypatch.context() as patch:
        for way in ("read", "write"):
            patch.setattr(f"app.core.database.Database.{way}", away)
        assert telling.notify(context, found)["success"]
    clock.advance(LOOK)
    assert telling.notify(context, found)["success"]
    assert [event for event, _ in ops.told()] == ["firing"]


@pytest.mark.parametrize("unreadable", ["kein Verzeichnis", [{"type": "printer", "severity": "kritisch"}]])
def test_what_a_source_names_in_a_way_that_can_not_be_read_ends_nothing(context: Context, unreadable: object) -> None:
    desk = AlertDesk(context, at_once=True)
    found = [{"type": "printer", "message": "打印机缺纸", "severity": "critical"}]
    desk.assert_outside(found, source="night", complete=True)
    desk.assert_outside(unreadable, source="night", complete=True)
    assert events(context, "critical") == [("Printer", "firing")]
    desk.assert_outside([], source="night", complete=True)
    assert events(context, "critical") == [("Printer", "firing"), ("Printer", "resolved")]


def test_a_missing_report_is_told_and_its_end_when_it_is_counted(
    ops: Target, context: Context, clock: ManualClock
) -> None:
    now = clock.now()
    spec = JobSpec(
        name="generate-daily-statistics",
        task_name="t",
        cron="0 2 * * *",
        queue="receipt",
        priority=3,
        soft_time_limit=60,
        time_limit=120,
        timezone="UTC",
    )
    Schedules(context.database).take_up([spec], context.zone, {}, now - timedelta(hours=4))
    monitor = Monitor(context, AlertDesk(context))
    looks(monitor, clock, 3)
    assert ops.told() == [("firing", "ReportMissing")]
    (told,) = ops.got[0].alerts
    day = date.fromisoformat(told.alert.labels["date"])
    Rollups(database=context.database, zone=context.zone, clock=clock).store(day, {"total_tasks": 0})
    looks(monitor, clock, 14)
    assert ops.told() == [("firing", "ReportMissing"), ("resolved", "ReportMissing")]


# Signs of life for who watches from outside


@pytest.fixture
def outside() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def pinged(context: Context, outside: Receiver) -> list[str]:
    """What a service that waits for pings got of one pass."""
    target = TargetSettings(channel="heartbeat", url=Sealed(outside.url + "/ping"), allow_private=True)
    alerts = msgspec.structs.replace(context.settings.alerts, targets={"outside": target})
    desk = AlertDesk(replace(context, settings=msgspec.structs.replace(context.settings, alerts=alerts)))
    desk.watch_pass()
    assert desk._beating is not None
    desk._beating.join(10)
    return [got.path for got in outside.got]


def test_each_pass_pings_who_waits_for_signs_of_life(context: Context, outside: Receiver) -> None:
    assert pinged(context, outside) == ["/ping"]


def test_a_pass_without_a_database_pings_that_it_failed(
    context: Context, outside: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_arguments: object, **_more: object) -> None:
        raise DatabaseUnavailable("数据库不在")

    for way in ("read", "write"):
        monkeypatch.setattr(f"app.core.database.Database.{way}", away)
    assert pinged(context, outside) == ["/ping/fail"]
